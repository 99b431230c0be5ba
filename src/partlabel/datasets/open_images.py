"""Open Images V3 (5,000 trainable classes) and V6: image-level labels that people verified.

What the files state: a person confirmed a label (confidence 1) or denied it (confidence 0); whatever nobody was asked
is unknown. A label that was both confirmed and denied is unknown. V3 also has labels that a classifier gave, each with
its confidence; they are read by name only (`labels`), are present from `min_confidence` on and unknown below, and carry
the source `recovered`: no held-out cell and no truth is made of them.

Images stand in the order in which the label file first names them, as in the code of IMCL; classes in the order of the
list of trainable classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from partlabel.datasets.base import Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.datasets.open_images_labels import (
    Cells,
    described,
    image_ids,
    joined_table,
    read_labels,
    settled,
)
from partlabel.errors import UsageError
from partlabel.labels import LabelTable, Source
from partlabel.progress import Tick

_UNANNOTATED = Option(
    "unannotated",
    "drop",
    {
        "drop": "images without a label of these classes are left out",
        "listed": "images that the label file lists, if with other classes only, are kept (code of IMCL)",
        "keep": "all images of the split's list of images are kept",
    },
)
_SPLIT = Option("split", "train", {name: f"the official {name} images" for name in ("train", "validation", "test")})
_NAMES = Option(
    "names",
    "mid",
    {
        "mid": "classes are called as in the files, /m/...",
        "description": "by their description, with /m/... if it is shared",
    },
)


class _OpenImages(Dataset):
    """What the versions share."""

    version = 2
    trainable: ClassVar[str]
    descriptions: ClassVar[str]

    def human(self, root: Path, split: str) -> Path:
        """File of the labels that people verified."""
        raise NotImplementedError

    def machine(self, root: Path, split: str) -> Path:
        """File of the labels that a classifier gave."""
        raise NotImplementedError

    def images(self, root: Path, split: str) -> Path:
        """List of the images of a split."""
        raise NotImplementedError

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """Labels as chosen, classes, and what the options need beside them."""
        split, labels = options["split"], options.get("labels", "human")
        found = [self.human(root, split)] if labels in {"human", "both"} else []
        found += [self.machine(root, split)] if labels in {"machine", "both"} else []
        found += [root / self.trainable]
        found += [root / self.descriptions] if options["names"] == "description" else []
        return found + ([self.images(root, split)] if options["unannotated"] == "keep" else [])

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """The label files in blocks, one after the other."""
        paths = self.sources(root, options)
        classes = read_lines(root / self.trainable)
        check_unique(classes, root / self.trainable)
        labels = options.get("labels", "human")
        found: list[tuple[Cells, Source]] = []
        if labels in {"human", "both"}:
            found.append((settled(read_labels(paths[0], classes, None, tick), len(classes)), Source.HUMAN))
        if labels in {"machine", "both"}:
            least = _confidence(self.name, options["min_confidence"])
            path = self.machine(root, options["split"])
            found.append((settled(read_labels(path, classes, least, tick), len(classes)), Source.RECOVERED))
        listed = list(dict.fromkeys(name for cells, _ in found for name in cells.images))
        if options["unannotated"] == "keep":
            listed = list(dict.fromkeys((*image_ids(self.images(root, options["split"])), *listed)))
        table = joined_table(listed, classes, found)
        if options["unannotated"] == "drop":
            table = table.select_images(np.flatnonzero(np.diff(table.row_starts)))
        names = classes if options["names"] == "mid" else described(root / self.descriptions, classes)
        return LabelTable.from_cells(
            [f"{options['split']}/{image}.jpg" for image in table.images], names, *table.cells()
        )


class OpenImagesV3(_OpenImages):
    """Version 3 of November 2017, on which IMCL and SR report."""

    name = "open_images_v3"
    title = "Open Images V3, 5,000 trainable classes"
    states = "present and absent: confirmed and denied by a person; unknown: nobody was asked, or answers differ"
    trainable, descriptions = "classes-trainable.txt", "class-descriptions.csv"
    files = (
        ("SPLIT/annotations-human.csv", "ImageID,Source,LabelName,Confidence: 1 confirmed, 0 denied"),
        ("SPLIT/annotations-machine.csv", "the same from a classifier (labels=machine, labels=both)"),
        ("classes-trainable.txt", "the trainable classes, one a line"),
        ("class-descriptions.csv", "their descriptions (names=description)"),
        ("SPLIT/images.csv", "all images of the split (unannotated=keep)"),
        ("SPLIT/ID.jpg", "the images"),
    )
    options = (
        _SPLIT,
        Option(
            "labels",
            "human",
            {
                "human": "labels that people confirmed or denied",
                "machine": "labels that a classifier gave",
                "both": "the same where no person answered, beside those of people",
            },
        ),
        Option("min_confidence", "0.5", help="from which confidence on a classifier's label is present"),
        _UNANNOTATED,
        _NAMES,
    )
    classes = 5000
    published = (
        Published(41_620, {"split": "validation", "unannotated": "keep"}, "section 4.1 of IMCL"),
        Published(125_436, {"split": "test", "unannotated": "keep"}, "section 4.1 of IMCL"),
    )

    def root(self, folder: Path) -> Path:
        """The folder 2017_11 that the archives unpack to, also where the folder above it is given."""
        return folder / "2017_11" if (folder / "2017_11").is_dir() else folder

    def human(self, root: Path, split: str) -> Path:
        """Of the archive of human annotations."""
        return root / split / "annotations-human.csv"

    def machine(self, root: Path, split: str) -> Path:
        """Of the archive of machine annotations."""
        return root / split / "annotations-machine.csv"

    def images(self, root: Path, split: str) -> Path:
        """Of the archive of images."""
        return root / split / "images.csv"


class OpenImagesV6(_OpenImages):
    """Version 6 of 2020."""

    name = "open_images_v6"
    title = "Open Images V6, trainable classes"
    states = OpenImagesV3.states
    trainable, descriptions = "oidv6-classes-trainable.txt", "oidv6-class-descriptions.csv"
    files = (
        ("oidv6-train-annotations-human-imagelabels.csv", "ImageID,Source,LabelName,Confidence: 1 confirmed, 0 denied"),
        ("validation-annotations-human-imagelabels.csv", "the same, and test-annotations-human-imagelabels.csv"),
        ("oidv6-classes-trainable.txt", "the trainable classes, one a line"),
        ("oidv6-class-descriptions.csv", "their descriptions (names=description)"),
        ("oidv6-train-images-with-labels-with-rotation.csv", "all images of a split (unannotated=keep)"),
        ("validation-images-with-rotation.csv", "the same, and test-images-with-rotation.csv"),
        ("SPLIT/ID.jpg", "the images"),
    )
    options = (_SPLIT, _UNANNOTATED, _NAMES)
    classes = 9605

    def human(self, root: Path, split: str) -> Path:
        """Named apart for the training split."""
        return root / f"{'oidv6-train' if split == 'train' else split}-annotations-human-imagelabels.csv"

    def images(self, root: Path, split: str) -> Path:
        """Named apart for the training split."""
        return root / (
            "oidv6-train-images-with-labels-with-rotation.csv"
            if split == "train"
            else f"{split}-images-with-rotation.csv"
        )


def _confidence(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UsageError(f"{name}: min_confidence {text!r} is not a number from 0 to 1")
    return value
