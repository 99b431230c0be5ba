"""NUS-WIDE (Chua et al., CIVR 2009): 81 concepts, judged for every image.

What the files state: one file a concept, with 1 or 0 for each image of a list, so that no cell is unknown. Many images
have none of the 81 concepts; the papers disagree on whether they count (161,789 / 107,859 with them, 125,449 / 83,898
without).

Other selections circulate as lists of names with the numbers of their concepts, for images fetched anew (119,103 of
them in the lists of Hill and SPLC): `nus_wide_list` reads those.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partlabel.datasets.base import Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick
from partlabel.wording import amount

_SPLITS = {"train": "the official training images", "test": "the official test images"}


class NusWide(Dataset):
    """The official lists and ground truth."""

    name = "nus_wide"
    title = "NUS-WIDE, 81 concepts"
    states = "present and absent: 1 and 0 in the file of the concept; no cell is unknown"
    files = (
        ("Concepts81.txt", "the concepts, one a line (also in ConceptsList/)"),
        ("ImageList/TrainImagelist.txt", "the images of a split, and TestImagelist.txt"),
        ("ImageList/Imagelist.txt", "all images (order=all)"),
        ("Groundtruth/TrainTestLabels/Labels_CONCEPT_Train.txt", "1 or 0 for each image, and _Test.txt"),
        ("Groundtruth/AllLabels/Labels_CONCEPT.txt", "1 or 0 for each of all images (order=all)"),
        ("Flickr/FOLDER/NAME.jpg", "the images"),
    )
    options = (
        Option("split", "train", _SPLITS),
        Option(
            "unannotated",
            "keep",
            {
                "keep": "images without any of the concepts are kept, all absent",
                "drop": "they are left out (code of CSL)",
            },
        ),
        Option(
            "order",
            "split",
            {
                "split": "images as the list of the split has them, labels of TrainTestLabels",
                "all": "images as the list of all images has them, labels of AllLabels (code of CSL)",
            },
        ),
    )
    classes = 81
    published = (
        Published(161_789, {"split": "train", "unannotated": "keep"}, "the official split"),
        Published(107_859, {"split": "test", "unannotated": "keep"}, "the official split"),
        Published(125_449, {"split": "train", "unannotated": "drop"}, "Table 1 of CSL"),
        Published(83_898, {"split": "test", "unannotated": "drop"}, "Table 1 of CSL"),
    )

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """The list of the split, the concepts, their files, and what `order=all` needs beside them."""
        split, lists = options["split"].capitalize(), root / "ImageList"
        concepts = _concepts_path(root)
        names = read_lines(concepts) if concepts.is_file() else []
        truth = root / "Groundtruth"
        if options["order"] == "split":
            labels = [truth / "TrainTestLabels" / f"Labels_{name}_{split}.txt" for name in names]
            return [lists / f"{split}Imagelist.txt", concepts, *labels]
        others = [lists / "TestImagelist.txt", lists / "Imagelist.txt"]
        return [
            lists / f"{split}Imagelist.txt",
            concepts,
            *(truth / "AllLabels" / f"Labels_{name}.txt" for name in names),
            *others,
        ]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """One file of ground truth after the other."""
        split = options["split"].capitalize()
        listing, concepts, *others = self.sources(root, options)
        names = _images(listing)
        classes = read_lines(concepts)
        check_unique(classes, concepts)
        listed, chosen, list_of_labels = names, np.ones(len(names), bool), listing
        if options["order"] == "all":
            *others, test, everything = others
            wanted = set(names) if split == "Test" else set(names) - set(_images(test))
            listed, list_of_labels = _images(everything), everything
            if lacking := wanted - set(listed):
                raise LabelError(f"{everything} lacks {min(lacking)!r}, which {listing} lists; unpack both again")
            chosen = np.asarray([name in wanted for name in listed])
        rows: list[NDArray[np.int64]] = []
        for column, path in enumerate(others):
            rows.append(np.flatnonzero(_zeros_and_ones(path, len(listed), list_of_labels)[chosen]))
            tick(column + 1, len(others))
        kept = [name for name, take in zip(listed, chosen, strict=True) if take]
        columns = np.repeat(np.arange(len(classes)), [len(found) for found in rows])
        present = np.concatenate(rows)
        table = LabelTable.from_cells(
            [f"Flickr/{name}" for name in kept],
            classes,
            present,
            columns,
            np.full(present.size, State.PRESENT, np.int8),
            background=State.ABSENT,
        )
        return table.select_images(np.unique(present)) if options["unannotated"] == "drop" else table


class NusWideList(Dataset):
    """A list of image names with the numbers of their concepts, as the code of ASL, Hill and SPLC has them."""

    name = "nus_wide_list"
    title = "NUS-WIDE, a list of images with concept numbers"
    states = (
        "present: the number of the concept stands in the line of the image; everything else is unknown, or absent "
        "with unlisted=absent, which is right for complete lists and not for those with dropped or single positives"
    )
    files = (
        ("Concepts81.txt", "the concepts, one a line (also in ConceptsList/), counted from 0"),
        ("images/NAME", "the images"),
    )
    options = (
        Option("list", "", help="file with a line NAME,NUMBER NUMBER for each image; must be given"),
        Option(
            "unlisted",
            "unknown",
            {"unknown": "concepts that a line does not list are unknown", "absent": "they are absent"},
        ),
    )

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """The list and the concepts."""
        if not options["list"]:
            raise UsageError(f"{self.name} reads a list that you name: {self.name}:DIR,list=FILE")
        return [Path(options["list"]), _concepts_path(root)]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """One line after the other."""
        listing, concepts = self.sources(root, options)
        classes = read_lines(concepts)
        check_unique(classes, concepts)
        lines = read_lines(listing)
        names: list[str] = []
        rows: list[int] = []
        columns: list[int] = []
        for row, line in enumerate(lines):
            name, comma, numbers = line.partition(",")
            found = numbers.split()
            if not (name and comma) or not all(one.isdecimal() and int(one) < len(classes) for one in found):
                raise LabelError(
                    f"{listing}, line {row + 1}: {line!r} is not NAME,NUMBER NUMBER with numbers below "
                    f"{len(classes)}, as many as {concepts} has; give the list as it was published"
                )
            names.append(f"images/{name}")
            rows += [row] * len(found)
            columns += map(int, found)
        check_unique(names, listing)
        tick(1, 1)
        background = State.ABSENT if options["unlisted"] == "absent" else State.UNKNOWN
        return LabelTable.from_cells(names, classes, rows, columns, [State.PRESENT] * len(rows), background=background)


def _concepts_path(root: Path) -> Path:
    inner = root / "ConceptsList" / "Concepts81.txt"
    return inner if inner.is_file() else root / "Concepts81.txt"


def _images(path: Path) -> list[str]:
    names = [line.replace("\\", "/") for line in read_lines(path)]
    check_unique(names, path)
    return names


def _zeros_and_ones(path: Path, count: int, listing: Path) -> NDArray[np.bool_]:
    """The judgements of one concept, bool `[count]`, for the images of a list."""
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    values = raw[~np.isin(raw, np.frombuffer(b" \t\r\n", np.uint8))]
    if values.size != count or not np.isin(values, (ord("0"), ord("1"))).all():
        raise LabelError(
            f"{path} does not hold a 0 or 1 for each of the {amount(count, 'image')} in {listing} (but "
            f"{amount(values.size, 'character')}); unpack both again"
        )
    ones: NDArray[np.bool_] = values == ord("1")
    return ones
