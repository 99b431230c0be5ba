"""YOLO: a folder of images and, for each, a text file with a line per object, in the layouts of its programs.

The label file of an image has its name and the ending .txt; it is in `labels` in place of `images` where the path has
such a folder, as in `images/train/a.jpg` and `labels/train/a.txt` or `train/images` and `train/labels`, else beside
the image. Lines are boxes or polygons: the number of a class, then at least four numbers. What has a line is present.
An image with an empty file was looked at; one without a file may never have been, and stays unknown also where
`--unlisted absent` declares the labels complete. Names of classes are in data.yaml, obj.names or classes.txt.

Images are named relative to the folder. Label files whose image is not there are read too: the image has the name that
train.txt, val.txt, valid.txt or test.txt lists, else one with .jpg.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from partlabel.errors import LabelError
from partlabel.file_tree import file_tree
from partlabel.formats.base import Format, Source
from partlabel.formats.folder import Folder, has_any, is_image
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading
from partlabel.labels import State

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLITS = ("train.txt", "val.txt", "valid.txt", "test.txt")
_LISTS = ("obj.names", "classes.txt", "labels/classes.txt")
_IMAGES, _LABELS = "images", "labels"


class Yolo(Format):
    """Text files with a line per object."""

    name = "yolo"
    title = "YOLO folder"
    states = (
        "an object of the class is present; the rest is unknown, or absent with --unlisted absent; not written, since "
        "a table knows no boxes"
    )
    suffixes = ()
    takes = frozenset({"folder"})
    writes = False
    options = frozenset({"unlisted"})

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it has names of classes where YOLO has them; for classes.txt, a folder of labels as well."""
        root = source.path
        if any((root / name).is_file() for name in (*_YAML, "obj.names")):
            return True
        return (root / "classes.txt").is_file() and (root / _LABELS).is_dir() and has_any(root / _LABELS, ".txt")

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the label file of every image.

        Raises:
            LabelError: there are no names of classes, or a line of a label file cannot be read; names file and line.
        """
        root, folder = source.path, Folder(source.path)
        listing = Listing(source, options, self.name, unit="file")
        columns = {
            id: listing.declare(name, number) for number, (id, name) in enumerate(_class_names(folder).items(), 1)
        }
        found = _pairs(file_tree(root).files, folder)
        if not found.labels:
            raise LabelError(f"{root} has no label files; they are in {_LABELS}, or beside the images, and end in .txt")
        for number, (image, label) in enumerate(sorted({**found.images, **found.guessed}.items()), 1):
            row = listing.image(image, number)
            if label is None:
                listing.nobody_looked(row)
                continue
            for id in _objects(root / label, folder, columns):
                listing.cell(row, columns[id], State.PRESENT, number)
        _note(listing, found)
        return listing.finish()


class _Found(NamedTuple):
    """Images with their label files, those that label files without an image stand for, all label files, and the
    number of other images.
    """

    images: Mapping[str, str | None]
    guessed: Mapping[str, str]
    labels: frozenset[str]
    others: int


def _pairs(names: Iterable[str], folder: Folder) -> _Found:
    names = list(names)
    every = [name for name in names if is_image(name)]
    texts = [name for name in names if name.endswith(".txt") and name not in _LISTS]
    apart = [name for name in texts if _LABELS in PurePosixPath(name).parts[:-1]]
    images = [name for name in every if not apart or _IMAGES in PurePosixPath(name).parts[:-1]]
    expected = {image: _label_of(image) for image in images}
    known = {*expected.values()}
    labels = frozenset(apart or (name for name in texts if "/" in name or name in known))
    without = sorted(labels - known)
    listed = _listed(folder) if without else {}
    return _Found(
        {image: label if label in labels else None for image, label in expected.items()},
        {listed.get(label, _image_of(label)): label for label in without},
        labels,
        len(every) - len(images),
    )


def _listed(folder: Folder) -> Mapping[str, str]:
    """Images by their label files, as lists of splits name them: relative to the folder, or to `data` for Darknet."""
    found: dict[str, str] = {}
    for name in _SPLITS:
        for _, line in folder.lines(folder.root / name) if (folder.root / name).is_file() else ():
            image = line.removeprefix("./").removeprefix("data/")
            if is_image(image):
                found[_label_of(image)] = image
    return found


def _label_of(image: str) -> str:
    return str(PurePosixPath(*_swapped(image, _IMAGES, _LABELS)).with_suffix(".txt"))


def _image_of(label: str) -> str:
    return str(PurePosixPath(*_swapped(label, _LABELS, _IMAGES)).with_suffix(".jpg"))


def _swapped(name: str, one: str, other: str) -> list[str]:
    """The parts of a path with the last folder `one` called `other`."""
    parts = list(PurePosixPath(name).parts)
    at = [number for number, part in enumerate(parts[:-1]) if part == one]
    if at:
        parts[at[-1]] = other
    return parts


def _objects(path: Path, folder: Folder, columns: Mapping[int, int]) -> set[int]:
    """The numbers of the classes that a label file has objects of."""
    found: set[int] = set()
    for number, line in folder.lines(path):
        id, *place = line.split()
        if len(place) == 5:
            raise LabelError(
                f"{path}, line {number} has six numbers: the last is a confidence, as in what a model predicted; "
                f"labels have no such"
            )
        if len(place) < 4 or not all(map(_is_number, place)):
            raise LabelError(
                f"{path}, line {number}: {line[:80]!r} is no object: the number of a class, then the numbers of a box "
                f"or polygon"
            )
        if not id.isdecimal() or len(id) > 9 or int(id) not in columns:
            raise LabelError(
                f"{path}, line {number}: {id[:40]!r} is none of the {len(columns)} classes, which count from 0"
            )
        found.add(int(id))
    return found


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False


def _note(listing: Listing, found: _Found) -> None:
    if guessed := len(found.guessed):
        listing.note(f"{guessed:,} label files have no image there; where no list names it, it is taken to end in .jpg")
    if found.others:
        listing.note(f"{found.others:,} images are in no folder {_IMAGES!r} and were left out")
    if unlooked := sum(label is None for label in found.images.values()):
        listing.note(f"{unlooked:,} images have no label file, and stay unknown")


def _class_names(folder: Folder) -> Mapping[int, str]:
    """Names of classes by number, in the order of the file."""
    root = folder.root
    for name in _YAML:
        if (root / name).is_file():
            return _from_yaml(root / name, folder)
    for name in _LISTS:
        if (root / name).is_file():
            lines = dict(folder.lines(root / name))
            if [*lines] != [*range(1, len(lines) + 1)]:
                raise LabelError(f"{root / name} has an empty line between names, which would shift their numbers")
            return _distinct({number - 1: line for number, line in lines.items()}, root / name)
    raise LabelError(f"{root} has no names of classes; put {_YAML[0]}, {_LISTS[0]} or {_LISTS[1]} there")


def _from_yaml(path: Path, folder: Folder) -> Mapping[int, str]:
    """Every scalar is taken as text, so that the classes `no` and `1` have the names that stand there."""
    text = folder.text(path)
    try:
        content: Any = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LabelError(f"{path} is no YAML ({' '.join(str(error).split())[:200]}); correct it") from error
    names = content.get("names") if isinstance(content, dict) else None
    by_number: Any = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(by_number, dict) or not by_number:
        raise LabelError(f"{path} has no names of classes; write names: and below it '0: cat', '1: dog' and so on")
    for number in by_number:
        if not str(number).isdecimal() or len(str(number)) > 9:
            raise LabelError(f"{path}: names has {str(number)[:40]!r} where the number of a class should be")
    count = content.get("nc")
    if count is not None and count != str(len(by_number)):
        shown = count[:40] if isinstance(count, str) else "a list"  # which aliases may have made endless
        raise LabelError(f"{path} has nc: {shown} and {len(by_number)} names; correct one of them")
    return _distinct({int(number): name for number, name in by_number.items()}, path)


def _distinct(names: Mapping[int, Any], path: Path) -> Mapping[int, str]:
    seen: set[str] = set()
    for number, name in names.items():
        if not isinstance(name, str) or not name:
            raise LabelError(f"{path}: the name of class {number} is no text; write one")
        if name in seen:
            raise LabelError(f"{path}: two classes are called {name!r}; rename one")
        seen.add(name)
    return names
