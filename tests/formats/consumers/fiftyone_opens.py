"""Loads a dataset, accepts and rejects suggestions, exports it again, also the present labels by themselves.

Arguments: the dataset, the folder of images, where to export.
"""

import json
import sys
from pathlib import Path

from without_mongodb import use_memory

use_memory()
import fiftyone as fo  # noqa: E402

dataset_dir, images, out = sys.argv[1:]

dataset = fo.Dataset.from_dir(dataset_dir=dataset_dir, dataset_type=fo.types.FiftyOneDataset, rel_dir=images)


def shown(labels: fo.Classifications | None) -> list | None:
    return None if labels is None else [[label.label, label.confidence] for label in labels.classifications]


seen = {
    "classes": dataset.default_classes,
    "schema": sorted(dataset.get_field_schema(embedded_doc_type=fo.Classifications)),
    "paths": [Path(sample.filepath).relative_to(images).as_posix() for sample in dataset],
    "samples": [[shown(sample[field]) for field in ("present", "absent", "unsure", "suggested")] for sample in dataset],
    "counts": [dataset.count_values(f"{field}.classifications.label") for field in ("present", "absent", "unsure")],
}

verdicts = iter(["accepted", "rejected"])
for sample in dataset:
    for label in sample.suggested.classifications if sample.suggested else []:
        label.tags.append(next(verdicts))
    sample.save()
dataset.export(export_dir=f"{out}/whole", dataset_type=fo.types.FiftyOneDataset, export_media=False, rel_dir=images)
dataset.export(
    export_dir=f"{out}/simple",
    dataset_type=fo.types.FiftyOneImageClassificationDataset,
    label_field="present",
    classes=dataset.default_classes,
    export_media=False,
    rel_dir=images,
)
print(json.dumps(seen))
