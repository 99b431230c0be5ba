"""Sends predictions to a project with label-studio-sdk, to a server that only listens; prints what it would have got.

Arguments: the predictions, the labelling configuration of the project.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from label_studio_sdk import LabelStudio, PredictionRequest
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue

predictions = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
interface = LabelInterface(Path(sys.argv[2]).read_text(encoding="utf-8"))
for prediction in predictions:
    assert interface.validate_prediction(prediction, return_errors=True) == []
    PredictionValue(**{key: value for key, value in prediction.items() if key != "task"})
sent = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        sent.extend(["POST", self.path, body])
        answer = json.dumps({"created": len(body)}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = LabelStudio(
    base_url=f"http://127.0.0.1:{server.server_port}", api_key="a-key-of-forty-characters-or-so-1234567890"
)
created = client.projects.import_predictions(id=3, request=[PredictionRequest(**one) for one in predictions])
server.shutdown()
assert created.created == len(predictions)
wrong = {**predictions[0], "result": [{**predictions[0]["result"][0], "value": {"choices": ["no such class"]}}]}
print(
    json.dumps(
        {
            "tasks": [one["task"] for one in predictions],
            "wrong": interface.validate_prediction(wrong, return_errors=True),
            "sent": sent,
        }
    )
)
