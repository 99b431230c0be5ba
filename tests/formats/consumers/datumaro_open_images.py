"""Open Images by datumaro: `read FOLDER` prints the scores of labels, `write FOLDER` has datumaro write a data set."""

import json
import sys

import numpy as np
from datumaro.components.annotation import Label
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

verb, folder = sys.argv[1:]
if verb == "read":
    dataset = Dataset.import_from(folder, "open_images")
    labels = dataset.categories()[next(iter(dataset.categories()))]
    found = {item.id: {labels[one.label].name: one.attributes["score"] for one in item.annotations} for item in dataset}
    print(json.dumps(found))
else:
    picture = Image.from_numpy(np.zeros((4, 4, 3), np.uint8))
    said = {"a": {0: 1.0, 1: 0.0}, "b": {1: 1.0, 2: 0.7}}
    items = [
        DatasetItem(
            id=name,
            subset="train",
            media=picture,
            annotations=[Label(label, attributes={"score": score}) for label, score in scores.items()],
        )
        for name, scores in said.items()
    ]
    Dataset.from_iterable(items, categories=["cat", "dog", "sea"]).export(folder, "open_images", save_media=False)
    print("null")
