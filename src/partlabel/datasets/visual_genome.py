"""Visual Genome (Krishna et al., IJCV 2017) with 200 or 500 classes, from the lists that SSGRL and SST released.

What the files state: which of the 200 or 500 most frequent categories an image has. Regions were described freely,
nobody was asked about the other categories: they are unknown, unless `unlisted=absent` says what the public code and
the papers do. Classes are numbered in the files; a file of names can be given.

Both numbers of classes share the lists of images, and images stand in the order of these lists, as in the public code.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from partlabel.datasets.base import OWN, Dataset, Option, Options, check_unique, read_json, read_lines
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick

_FOLDERS = (".", "ssgrl_partition", "vg")


class _VisualGenome(Dataset):
    """What the numbers of classes share."""

    count: ClassVar[int]
    states = (
        "present: the category is listed for the image; everything else is unknown, or absent with unlisted=absent "
        "(the papers and their code)"
    )
    options = (
        Option("split", "train", {"train": "train_list_500.txt", "test": "test_list_500.txt"}),
        Option(
            "unlisted",
            "unknown",
            {
                "unknown": "categories that are not listed for an image are unknown",
                "absent": "they are absent (SSGRL, SST, SARB, SR)",
            },
        ),
        Option("names", "", help="a file with the name of one class a line; without it they are numbers"),
    )

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """The list of the split and the categories of all images; the names if given."""
        index = f"vg_category_{self.count}_labels_index.json"
        names = [Path(options["names"])] if options["names"] else []
        return [_found(root, f"{options['split']}_list_500.txt"), _found(root, index), *names]

    def layout(self, root: Path) -> str:
        """The second image folder: an image is looked for there."""
        return str([(root / name).stat().st_mtime_ns for name in ("VG_100K", "VG_100K_2") if (root / name).is_dir()])

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """Look up the categories of each listed image."""
        listing, index, *names = self.sources(root, options)
        images = read_lines(listing)
        check_unique(images, listing)
        categories = read_json(index)
        classes = read_lines(names[0], OWN) if names else [str(number) for number in range(self.count)]
        if len(classes) != self.count:
            raise LabelError(f"{names[0]} names {len(classes)} classes, not {self.count}; give one name a line")
        if names:
            check_unique(classes, names[0], OWN)
        rows: list[int] = []
        columns: list[int] = []
        for row, image in enumerate(images):
            numbers = categories.get(image) if isinstance(categories, dict) else None
            if not isinstance(numbers, list) or not all(
                type(number) is int and 0 <= number < self.count for number in numbers
            ):
                raise LabelError(
                    f"{index} has no list of numbers below {self.count} for {image!r}, which {listing} lists; the "
                    "files do not belong together, or one is altered"
                )
            rows += [row] * len(numbers)
            columns += numbers
        second = _second_folder(root)
        tick(1, 1)
        return LabelTable.from_cells(
            [f"{'VG_100K_2' if image in second else 'VG_100K'}/{image}" for image in images],
            classes,
            rows,
            columns,
            [State.PRESENT] * len(rows),
            background=State.ABSENT if options["unlisted"] == "absent" else State.UNKNOWN,
        )


def _files(count: int) -> tuple[tuple[str, str], ...]:
    return (
        ("train_list_500.txt", "the training images, one a line, and test_list_500.txt (also in ssgrl_partition/)"),
        (f"vg_category_{count}_labels_index.json", "the categories of each image, by its name"),
        ("VG_100K/NAME.jpg", "the images, or VG_100K_2/NAME.jpg"),
    )


class VisualGenome200(_VisualGenome):
    """VG-200."""

    name, count, classes = "vg200", 200, 200
    title = "Visual Genome, 200 classes"
    files = _files(200)


class VisualGenome500(_VisualGenome):
    """VG-500."""

    name, count, classes = "vg500", 500, 500
    title = "Visual Genome, 500 classes"
    files = _files(500)


def _found(root: Path, name: str) -> Path:
    """The file in the folder or in one of those that the code of the papers keeps it in."""
    return next((root / folder / name for folder in _FOLDERS if (root / folder / name).is_file()), root / name)


def _second_folder(root: Path) -> set[str]:
    """Images that are in VG_100K_2 and not in VG_100K, as the makers give them out."""
    if not (root / "VG_100K_2").is_dir():
        return set()
    first = set(os.listdir(root / "VG_100K")) if (root / "VG_100K").is_dir() else set()
    return set(os.listdir(root / "VG_100K_2")) - first
