"""Validates tasks and their labelling configuration with label-studio-sdk; prints what it found.

Arguments: the tasks, the configuration.
"""

import json
import sys
from pathlib import Path

from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue

tasks = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
interface = LabelInterface(Path(sys.argv[2]).read_text(encoding="utf-8"))
interface.validate()
for task in tasks:
    # validate_task of the SDK checks annotations without passing them, so that each is checked on its own
    assert interface.validate_task({"data": task["data"]})
    for annotation in task["annotations"]:
        assert interface.validate_prediction(annotation, return_errors=True) == []
        assert interface.validate_annotation(annotation)
    for prediction in task["predictions"]:
        assert interface.validate_prediction(prediction, return_errors=True) == []
        PredictionValue(**prediction)


def chosen(results: list) -> dict:
    return {item["from_name"]: item["value"]["choices"] for result in results for item in result["result"]}


print(
    json.dumps(
        {
            "classes": {control.name: list(control.labels) for control in interface.controls},
            "wrong": interface.validate_annotation(
                {"result": [{**tasks[0]["annotations"][0]["result"][0], "value": {"choices": ["no such class"]}}]}
            ),
            "tasks": [
                [task["data"]["image"], chosen(task["annotations"]), chosen(task["predictions"])] for task in tasks
            ],
        }
    )
)
