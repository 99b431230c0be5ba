"""Data sets of a few images in the layout of their makers, written by the tests themselves."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from partlabel.datasets.spec import parse
from partlabel.labels import LabelTable

Read = Callable[..., LabelTable]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_voc(
    devkit: Path, year: str, split: str, boxes: Mapping[str, Sequence[tuple[str, int]]], order: Sequence[str]
) -> Path:
    """VOC: boxes are (class, difficult) of each image."""
    folder = devkit / f"VOC{year}"
    write(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name}\n" for name in order))
    for name in order:
        objects = "".join(
            f"<object><name>{cls}</name><pose>Left</pose><difficult>{difficult}</difficult>"
            "<part><name>head</name></part></object>"
            for cls, difficult in boxes[name]
        )
        write(folder / "Annotations" / f"{name}.xml", f"<annotation><folder>x</folder>{objects}</annotation>")
    return folder


def write_coco(
    folder: Path, split: str, images: Sequence[int], marks: Sequence[tuple[int, int]], classes: Mapping[int, str]
) -> Path:
    """COCO: marks are (image, category), in the order of the annotations."""
    content: dict[str, Any] = {
        "info": {"year": 2014},
        "images": [{"id": one, "file_name": f"COCO_{split}2014_{one:012d}.jpg", "height": 4} for one in images],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "segmentation": [[1, 2, 3]], "iscrowd": 0}
            for number, (image, category) in enumerate(marks)
        ],
        "categories": [{"id": key, "name": name, "supercategory": "thing"} for key, name in classes.items()],
    }
    return write(folder / "annotations" / f"instances_{split}2014.json", json.dumps(content))


@pytest.fixture
def read() -> Read:
    """Read `NAME:DIR,...` without cache and counts."""

    def read_one(text: str) -> LabelTable:
        spec = parse(text)
        assert spec is not None
        spec.sources()
        return spec.dataset.read(spec.root, spec.options, lambda done, total: None)

    return read_one
