"""Opens an instances file with pycocotools and prints which categories are in which image."""

import contextlib
import json
import os
import sys

from pycocotools.coco import COCO

with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
    coco = COCO(sys.argv[1])
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    images = {image["id"]: image["file_name"] for image in coco.loadImgs(coco.getImgIds())}
    crowds = len(coco.getAnnIds(iscrowd=True))
seen = {name: [] for name in images.values()}
for id, name in images.items():
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[id])):
        assert coco.getImgIds(catIds=[annotation["category_id"]])
        seen[name].append(names[annotation["category_id"]])
print(json.dumps({"images": seen, "classes": list(names.values()), "crowds": crowds}))
