"""PASCAL VOC: a folder of lists, one per class and split, and of annotations with boxes (Everingham et al., IJCV 2010).

`ImageSets/Main/SPLIT.txt` lists images by name without ending, `ImageSets/Main/CLASS_SPLIT.txt` says of each whether
the class is there: 1 is present, -1 absent, and 0 is not to be decided (difficult objects alone), which is unknown.
Where there are no lists of classes, `Annotations/NAME.xml` is read: a box that is not difficult makes its class
present, difficult boxes alone leave it unknown, and of other classes nothing is known unless the user declares the
annotations complete. Of several splits `trainval` is read, or all where there is no such, or the one of
`--where split=NAME`.

Images are named `JPEGImages/NAME.jpg`, or with the ending that the file there has, or the annotation where there is no
such file; where the folder has no `JPEGImages`, they are `NAME.jpg`. A listed name that has the ending of an image
keeps it. Classes come in the order of `labelmap.txt`, which Datumaro and CVAT write, else in alphabetical order.
Unknown cells are written as 0.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np

from partlabel.errors import LabelError
from partlabel.formats.base import Format, Source
from partlabel.formats.folder import has_any, is_image
from partlabel.formats.new_folder import new_folder
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.formats.voc_folder import IMAGES, LABEL_MAP, MAIN, read_folder
from partlabel.labels import LabelTable

_SPLIT = "trainval"
_ROWS_AT_ONCE = 1000


class Voc(Format):
    """Lists of images per class, or annotations with boxes."""

    name = "voc"
    title = "PASCAL VOC folder"
    states = "lists of classes: 1 is present, -1 absent, 0 unknown; boxes alone: a box that is not difficult is present"
    suffixes = ()
    takes = frozenset({"folder"})
    options = frozenset({"unlisted", "where"})

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it has lists in ImageSets/Main, or annotations in XML."""
        return has_any(source.path / MAIN, ".txt") or has_any(source.path / "Annotations", ".xml")

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the lists of classes, or the annotations where there are none.

        Raises:
            LabelError: a line or an annotation cannot be read; names file and line.
        """
        return read_folder(source, options, self.name)

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write the lists, in which every cell is spelt out, and a label map for the order of the classes.

        Raises:
            LabelError: the folder is there and not empty, or a name would be changed: an image without an ending, or
                whose name has outer white space; a class with a slash, a colon, a line break or outer white space.
        """
        inside = all(name.startswith(f"{IMAGES}/") for name in table.images)
        listed = [_listed(name.removeprefix(f"{IMAGES}/") if inside else name, path) for name in table.images]
        for name in table.classes:
            _check_class(name, path)
        with new_folder(path) as folder:
            main = folder / MAIN
            main.mkdir(parents=True)
            if inside:
                (folder / IMAGES).mkdir()
            _write(folder / LABEL_MAP, lambda out: out.writelines(f"{name}:::\n" for name in table.classes))
            _write(main / f"{_SPLIT}.txt", lambda out: out.writelines(f"{name}\n" for name in listed))
            for column, name in enumerate(table.classes):
                _write_class(main / f"{name}_{_SPLIT}.txt", path, table, column, listed)


def _write_class(file: Path, target: Path, table: LabelTable, column: int, listed: list[str]) -> None:
    def states(out: TextIO) -> None:
        for start in range(0, len(table), _ROWS_AT_ONCE):
            rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(table)))
            for row, state in zip(rows, table.states_at(rows, np.full(rows.size, column)), strict=True):
                out.write(f"{listed[row]} {state:2d}\n")

    try:
        _write(file, states)
    except FileExistsError as error:
        raise LabelError(
            f"{target}: the list of class {table.classes[column]!r} would have the file name of another class; rename "
            f"one of them"
        ) from error


def _write(file: Path, put: Callable[[TextIO], None]) -> None:
    with file.open("x", encoding="utf-8", newline="\n") as out:
        put(out)


def _listed(name: str, path: Path) -> str:
    """An image as it is listed: without `.jpg`, unless what is left would have the ending of an image again."""
    bare = name.removesuffix(".jpg")
    if not is_image(name):
        raise LabelError(
            f"{path}: the image {name!r} has no ending of an image, and would be read as {name + '.jpg'!r}; rename it"
        )
    listed = name if is_image(bare) else bare
    if listed != listed.strip() or not listed or listed[0] == "#" or "\n" in listed or "\r" in listed:
        raise LabelError(f"{path}: the name of the image {name!r} cannot stand in a line of a list; rename it")
    return listed


def _check_class(name: str, path: Path) -> None:
    if name != name.strip() or name[0] == "#" or any(mark in name for mark in "/\\:\n\r"):
        raise LabelError(
            f"{path}: class {name!r} cannot be the name of a file and stand in a label map: it has a slash, a colon, a "
            f"line break, outer white space or '#' in front; rename it"
        )
