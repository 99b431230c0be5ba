"""Imports a folder with Datumaro in a given format and prints the labels of every annotation, and its attributes.

With a third argument, exports the dataset there in the same format.
"""

import json
import logging
import sys

from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset

logging.disable(logging.CRITICAL)
dataset = Dataset.import_from(sys.argv[1], sys.argv[2])
names = [label.name for label in dataset.categories()[AnnotationType.label].items]
seen = {
    item.id: [[names[annotation.label], annotation.type.name, annotation.attributes] for annotation in item.annotations]
    for item in dataset
}
if len(sys.argv) > 3:
    dataset.export(sys.argv[3], sys.argv[2], save_media=False)
print(json.dumps({"items": seen, "classes": names}, default=str))
