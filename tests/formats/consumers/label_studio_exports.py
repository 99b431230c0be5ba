"""Exports tasks as JSON-MIN with the converter of label-studio-sdk. Arguments: tasks, configuration, folder."""

import json
import sys
from pathlib import Path

from label_studio_sdk.converter import Converter

given, config, folder = sys.argv[1:]
tasks = json.loads(Path(given).read_text(encoding="utf-8"))
for number, task in enumerate(tasks, 1):  # what the server adds when tasks are imported
    task["id"] = number
    for annotation in task["annotations"]:
        annotation |= {"id": number, "completed_by": 1, "was_cancelled": False, "created_at": "2026-01-01T00:00:00Z"}
stored = Path(given).with_suffix(".stored.json")
stored.write_text(json.dumps(tasks), encoding="utf-8")
converter = Converter(Path(config).read_text(encoding="utf-8"), project_dir=None)
converter.convert_to_json_min(str(stored), folder, is_dir=False)
print(json.dumps(str(Path(folder) / "result.json")))
