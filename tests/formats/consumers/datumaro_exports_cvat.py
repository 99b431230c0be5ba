"""Exports two images with labels in the format of CVAT with datumaro. Argument: a folder."""

import json
import sys
from pathlib import Path

import numpy as np
from datumaro import Bbox, Dataset, DatasetItem, Image, Label

pixels = Image.from_numpy(np.zeros((3, 4, 3), np.uint8))
items = [
    DatasetItem("a", subset="train", media=pixels, annotations=[Label(1), Bbox(0, 0, 2, 2, label=0)]),
    DatasetItem("sub/b", subset="train", media=pixels, annotations=[]),
]
dataset = Dataset.from_iterable(items, categories=["dog", "cat", "owl"])
dataset.export(sys.argv[1], "cvat", save_media=False)
print(json.dumps([str(path) for path in sorted(Path(sys.argv[1]).rglob("*.xml"))]))
