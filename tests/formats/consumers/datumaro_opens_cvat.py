"""Opens CVAT XML with datumaro, with an empty image for each name; prints what arrived. Arguments: the file, a folder.

The labels beside the file are taken by the models of cvat-sdk, as its client sends them when a task is made.
"""

import json
import shutil
import sys
from pathlib import Path

from cvat_sdk.models import AttributeRequest, PatchedLabelRequest
from datumaro import Dataset
from datumaro.components.annotation import AnnotationType
from defusedxml import ElementTree
from PIL import Image

path, folder = map(Path, sys.argv[1:])
for image in ElementTree.parse(path).getroot().iter("image"):
    target = folder / "images" / image.get("name")
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(target, "JPEG")
shutil.copy(path, folder / "annotations.xml")
dataset = Dataset.import_from(str(folder), "cvat")
categories = dataset.categories()[AnnotationType.label]

raw = json.loads(path.with_name(f"{path.stem}.labels.json").read_text(encoding="utf-8"))
sent = [
    PatchedLabelRequest(**{**label, "attributes": [AttributeRequest(**one) for one in label["attributes"]]})
    for label in raw
]

print(
    json.dumps(
        {
            "labels": [category.name for category in categories.items],
            "attributes": sorted({name for category in categories.items for name in category.attributes}),
            "images": {
                item.id: [[categories[one.label].name, one.attributes] for one in item.annotations] for item in dataset
            },
            "sent": [[label.name, label.type, label.attributes[0]["values"]] for label in sent],
        }
    )
)
