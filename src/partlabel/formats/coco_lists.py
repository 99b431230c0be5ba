"""The lists images, categories and annotations, which COCO and LVIS share: read in one pass, in any order."""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from partlabel.errors import LabelError
from partlabel.files import atomic_path
from partlabel.formats.collect import Integers
from partlabel.formats.json_text import lists
from partlabel.formats.listing import Listing
from partlabel.labels import IntArray, LabelTable, State
from partlabel.progress import Tick

KEYS = ("images", "annotations", "categories")
_UNDEFINED = -1
_LVIS_IMAGE = re.compile(r'"(neg|not_exhaustive)_category_ids"\s*:')
_LVIS_CATEGORY = re.compile(r'"synset"\s*:'), re.compile(r'"frequency"\s*:')


class Annotated(NamedTuple):
    """Cells with an annotation, each once: rows, columns, the first annotation, and whether all of it is crowd."""

    rows: IntArray
    columns: IntArray
    first: IntArray
    crowd: Integers


class Ids:
    """Numbers of images or categories by their ids, which annotations may use before the list defines them.

    Args:
        what: what they are the ids of.
        key: of the list that defines them.
    """

    def __init__(self, what: str, key: str) -> None:
        self.what, self.key = what, key
        self._codes: dict[int | str, int] = {}
        self._defined = array("q")

    def code(self, id: Any, place: Callable[[], str]) -> int:
        """A number for an id.

        Raises:
            LabelError: it is no id.
        """
        if type(id) is not int and type(id) is not str:
            raise LabelError(f"{place()}: the id of its {self.what} is {_shown(id)}; ids are whole numbers or texts")
        code = self._codes.get(id)
        if code is None:
            code = self._codes[id] = len(self._codes)
            self._defined.append(_UNDEFINED)
        return code

    def define(self, id: Any, index: int, place: Callable[[], str]) -> None:
        """Say which row or column an id stands for.

        Raises:
            LabelError: it stands for another one.
        """
        code = self.code(id, place)
        if self._defined[code] != _UNDEFINED:
            raise LabelError(f"{place()}: the id {id!r} is that of an earlier {self.what}; give each one an id")
        self._defined[code] = index

    def indices(self, codes: "array[int]", place: Callable[[int], str]) -> IntArray:
        """Rows or columns of these numbers; `place` names file and entry of a position in `codes`.

        Raises:
            LabelError: an id is not defined.
        """
        wanted = np.asarray(codes, np.int64)
        indices = np.asarray(self._defined, np.int64)[wanted] if wanted.size else wanted
        missing = np.flatnonzero(indices == _UNDEFINED)
        if missing.size:
            id = list(self._codes)[wanted[missing[0]]]
            others = f" ({missing.size:,} entries name such)" if missing.size > 1 else ""
            raise LabelError(
                f"{place(int(missing[0]))}: {self.what} {id!r} is not in the list {self.key!r}{others}; add it, or "
                f"leave the entry out"
            )
        return indices


class Instances:
    """What a file of instances lists. `read` fills the listing with images and classes; `annotated` tells the cells.

    Args:
        listing: where images, classes and notes go.
        image_name: the name of an image from its entry and the place of that entry.
        see_image: is told the row, the entry and its number for each image.
    """

    def __init__(
        self,
        listing: Listing,
        image_name: Callable[[Mapping[str, Any], str], Any],
        see_image: Callable[[int, Mapping[str, Any], int], None] | None = None,
    ) -> None:
        self._listing, self._image_name, self._see_image = listing, image_name, see_image
        self.images, self.categories = Ids("image", "images"), Ids("category", "categories")
        self.keys: set[str] = set()
        self.image_count = 0
        self._image_of, self._category_of, self._crowd, self._ids = array("q"), array("q"), array("b"), array("q")

    def read(self, path: Path, tick: Tick) -> None:
        """One pass over the file; `tick` is told how far it is.

        Raises:
            LabelError: it is no complete file of this kind; names the entry.
        """
        readers = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        for key, found in lists(path, KEYS, tick=tick):
            self.keys.add(key)
            readers[key](found)
        for key in ("images", "categories"):
            if key not in self.keys:
                raise LabelError(f"{path} has no list {key!r}, which a file of instances has")

    def annotated(self) -> Annotated:
        """The cells that have an annotation.

        Raises:
            LabelError: an annotation is of an image or a category that is not listed.
        """
        rows = self.images.indices(self._image_of, lambda at: self.place("annotations", at + 1))
        columns = self.categories.indices(self._category_of, lambda at: self.place("annotations", at + 1))
        _, first, group = np.unique(
            rows * max(len(self._listing.names.columns), 1) + columns, return_index=True, return_inverse=True
        )
        crowd = np.ones(first.size, np.int8)
        np.minimum.at(crowd, group, np.asarray(self._crowd, np.int8))
        self._note(int(crowd.sum()), first.size)
        return Annotated(rows[first], columns[first], first + 1, crowd)

    def place(self, key: str, record: int) -> str:
        """File and entry of a list, for messages."""
        return f"{self._listing.path}, entry {record} of {key!r}"

    def _note(self, crowd: int, cells: int) -> None:
        if crowd:
            self._listing.note(
                f"{crowd:,} of {cells:,} present cells rest on regions of a crowd alone (iscrowd): a group is there, "
                f"its members are not counted"
            )
        repeated = len(self._ids) - np.unique(np.asarray(self._ids, np.int64)).size
        if repeated:
            self._listing.note(f"{repeated:,} annotations have the id of another annotation; all of them are read")

    def _images(self, found: Iterator[Any]) -> None:
        for record, entry in enumerate(found, 1):
            place = self.place("images", record)
            row = self._listing.image(self._image_name(_object(entry, place), place), record)
            self.images.define(entry.get("id"), row, lambda: place)  # noqa: B023  # called at once
            self.image_count += 1
            if self._see_image is not None:
                self._see_image(row, entry, record)

    def _categories(self, found: Iterator[Any]) -> None:
        for record, entry in enumerate(found, 1):
            place = self.place("categories", record)
            before = len(self._listing.names.columns)
            column = self._listing.declare(_object(entry, place).get("name"), record)
            if column < before:
                raise LabelError(f"{place}: an earlier category is called {entry['name']!r} too; rename one of them")
            self.categories.define(entry.get("id"), column, lambda: place)  # noqa: B023  # called at once

    def _annotations(self, found: Iterator[Any]) -> None:
        for record, entry in enumerate(found, 1):
            try:
                image, category = entry["image_id"], entry["category_id"]
            except (TypeError, KeyError, IndexError):
                raise self._no_instance(entry, self.place("annotations", record)) from None
            place = lambda: self.place("annotations", record)  # noqa: B023, E731  # called at once
            self._image_of.append(self.images.code(image, place))
            self._category_of.append(self.categories.code(category, place))
            self._crowd.append(bool(entry.get("iscrowd")))
            id = entry.get("id")
            if type(id) is int and -(1 << 63) <= id < 1 << 63:
                self._ids.append(id)

    def _no_instance(self, entry: Any, place: str) -> LabelError:
        if not isinstance(entry, dict):
            return LabelError(f"{place} is {_shown(entry)}; an annotation is an object with image_id and category_id")
        if "image_id" not in entry:
            return LabelError(f"{place} has no 'image_id'; say which image it is of")
        if "segments_info" in entry:
            return LabelError(f"{place} is a panoptic one, which are not read; give the file of instances")
        if "caption" in entry:
            return LabelError(
                f"{place} is a caption, and captions name no classes (it has no 'category_id'); give the file of "
                f"instances of the same images"
            )
        return LabelError(f"{place} has no 'category_id'; say which category it is of")


def is_lvis(text: str) -> bool:
    """Whether a part of a file has what LVIS adds to images or categories."""
    return bool(_LVIS_IMAGE.search(text)) or all(key.search(text) for key in _LVIS_CATEGORY)


def write_lists(path: Path, images: Iterable[Mapping[str, Any]], table: LabelTable) -> None:
    """Write a file of instances: an annotation without a box per present cell; ids count from 1."""
    cells = table.cells()
    present = cells.states == State.PRESENT
    pairs = zip((cells.image_index[present] + 1).tolist(), (cells.class_index[present] + 1).tolist(), strict=True)
    annotations: Iterable[Mapping[str, Any]] = (
        {"id": number, "image_id": image, "category_id": category, "iscrowd": 0}
        for number, (image, category) in enumerate(pairs, 1)
    )
    categories: Iterable[Mapping[str, Any]] = (
        {"id": number, "name": name} for number, name in enumerate(table.classes, 1)
    )
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        opening = "{"
        for key, found in zip(KEYS, (images, annotations, categories), strict=True):
            stream.write(f'{opening}"{key}": [')
            for number, entry in enumerate(found):
                stream.write((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False))
            opening = "],\n"
        stream.write("]}\n")


def _object(entry: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise LabelError(f"{place} is {_shown(entry)} and no object")
    return entry


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:60]
