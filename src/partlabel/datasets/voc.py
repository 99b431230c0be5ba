"""PASCAL VOC 2007 and 2012 (Everingham et al., IJCV 2010 and 2015): 20 classes, from the boxes of the detection task.

What the files state: every object of the 20 classes is boxed, so that a class without a box is absent. Boxes may be
marked difficult; a class that has difficult boxes only is left to the reader (the makers leave it out of the
evaluation), and the option `difficult` says what becomes of it.

Images stand in the order of the list of the split, classes in alphabetical order, as in all public code of the papers.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from partlabel.datasets.base import Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

_DIFFICULT = Option(
    "difficult",
    "unknown",
    {
        "unknown": "a class with difficult boxes only is unknown, in training and test",
        "absent": "it is absent in training and test (code of SST, SARB, PU-MLC and DualCoOp)",
        "ignored": "it is absent in training and unknown in the test (code of CSL)",
    },
)


class _Voc(Dataset):
    """What the years share."""

    year: ClassVar[str]
    test: ClassVar[str]
    states = (
        "present: a box of the class that is not difficult; absent: no box; a class with difficult boxes only is "
        "unknown, or what `difficult` says"
    )
    classes = 20

    def root(self, folder: Path) -> Path:
        """The folder of the year, also where the folder above it is given."""
        return folder / f"VOC{self.year}" if (folder / f"VOC{self.year}").is_dir() else folder

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """The list of the split, and an annotation for each image in it."""
        listing = root / "ImageSets" / "Main" / f"{options['split']}.txt"
        if not listing.is_file():
            raise LabelError(
                f"{self.name}: {listing} does not exist; expected is {self.files[0][0]}, the images of a split"
            )
        return [listing, *(root / "Annotations" / f"{name}.xml" for name in _listed(listing))]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """One annotation after the other."""
        annotations = self.sources(root, options)[1:]
        ignored = options["difficult"] == "ignored" and options["split"] == self.test
        rows: list[int] = []
        columns: list[int] = []
        states: list[int] = []
        for row, path in enumerate(annotations):
            objects = _objects(path)
            for name, easy in objects.items():
                if easy or options["difficult"] == "unknown" or ignored:
                    rows.append(row)
                    columns.append(CLASSES.index(name))
                    states.append(State.PRESENT if easy else State.UNKNOWN)
            tick(row + 1, len(annotations))
        names = [f"JPEGImages/{path.stem}.jpg" for path in annotations]
        return LabelTable.from_cells(names, CLASSES, rows, columns, states, background=State.ABSENT)


def _files(year: str) -> tuple[tuple[str, str], ...]:
    return (
        (f"VOC{year}/ImageSets/Main/SPLIT.txt", "the images of a split, one a line"),
        (f"VOC{year}/Annotations/NAME.xml", "the boxes of an image"),
        (f"VOC{year}/JPEGImages/NAME.jpg", "the images"),
    )


class Voc2007(_Voc):
    """VOC 2007, whose test annotations are public; trainval and test are unpacked into one folder."""

    name, year, test = "voc2007", "2007", "test"
    title = "PASCAL VOC 2007"
    files = _files("2007")
    options = (
        Option(
            "split", "trainval", {name: f"ImageSets/Main/{name}.txt" for name in ("trainval", "train", "val", "test")}
        ),
        _DIFFICULT,
    )
    published = (
        Published(5011, {"split": "trainval"}, "Table 1 of CSL"),
        Published(4952, {"split": "test"}, "Table 1 of CSL"),
    )


class Voc2012(_Voc):
    """VOC 2012. Its test annotations are not public: val serves as test, and `difficult=ignored` treats it so."""

    name, year, test = "voc2012", "2012", "val"
    title = "PASCAL VOC 2012"
    files = _files("2012")
    options = (
        Option("split", "train", {name: f"ImageSets/Main/{name}.txt" for name in ("train", "val", "trainval")}),
        _DIFFICULT,
    )
    published = (
        Published(5717, {"split": "train"}, "the lists of SCPNet's code"),
        Published(5823, {"split": "val"}, "the lists of SCPNet's code"),
    )


def _listed(path: Path) -> list[str]:
    names = [line.split()[0] for line in read_lines(path)]
    check_unique(names, path)
    if wrong := next((name for name in names if "/" in name or "\\" in name), None):
        raise LabelError(f"{path} lists {wrong!r}, which is no name of an image; unpack the official file again")
    return names


def _objects(path: Path) -> dict[str, bool]:
    """The classes that an annotation has boxes of, and whether one of these is not difficult."""
    try:
        root = parse(path).getroot()
    except (ParseError, DefusedXmlException, UnicodeError, LookupError) as error:
        raise LabelError(f"{path} is no VOC annotation ({error}); unpack the official file again") from error
    except OSError as error:
        raise LabelError(f"{path} cannot be read ({error.strerror}); unpack the official file again") from error
    if root is None or root.tag != "annotation":  # a page of a server, say, would make every class absent
        raise LabelError(f"{path} is no VOC annotation (it has no <annotation>); unpack the official file again")
    boxes = root.findall("object")
    objects: Iterable[tuple[str, str]] = (
        ((box.findtext("name") or "").strip().lower(), (box.findtext("difficult") or "0").strip()) for box in boxes
    )
    easy: dict[str, bool] = {}
    for name, difficult in objects:
        if name not in CLASSES:
            raise LabelError(f"{path} has a box of {name!r}, which is no class of VOC; unpack the official file again")
        easy[name] = easy.get(name, False) or difficult != "1"
    return easy
