"""Datumaro's own format: JSON of items with annotations, a file per subset in the folder `annotations`.

A label, box, polygon or mask makes its class present. A label with the attribute `state` has the state that it says:
present, absent, unknown or unsure; `--columns state=NAME` names another attribute. Programs that do not know the
attribute take every label for present, also the absent and the unsure ones. What is not annotated is unknown, unless
the user declares the annotations complete.

Images have the names of the items, below the folder of the subset where `images` has one: Datumaro puts them there.
"""

import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.file_tree import file_tree
from partlabel.files import atomic_path
from partlabel.formats.annotation_tools import STATED, image_cells
from partlabel.formats.base import Format, Source
from partlabel.formats.folder import Folder, is_image
from partlabel.formats.json_text import lists
from partlabel.formats.listing import Listing
from partlabel.formats.new_folder import new_folder
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource

ANNOTATIONS, IMAGES, ATTRIBUTE = "annotations", "images", "state"
_STATES = STATED | {"unknown": (State.UNKNOWN, CellSource.IMPORT)}
_OTHER_MEDIA = ("point_cloud", "video", "video_frame")


class Datumaro(Format):
    """Items with annotations."""

    name = "datumaro"
    title = "Datumaro JSON"
    states = "a label's attribute state: present, absent, unknown or unsure; a label or shape without it is present"
    suffixes = (".json",)
    takes = frozenset({"file", "folder"})
    options = frozenset({"unlisted", "columns"})
    keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether the file, or the first one in `annotations`, has items and categories as Datumaro writes them."""
        if source.is_folder:
            files = _files(source.path)
            return bool(files) and self.sniff(Source(files[0]), options)
        text = source.ends
        own = '"dm_format_version"' in text or ('"label_id"' in text and '"items"' in text)
        return text.lstrip()[:1] == "{" and own and '"categories"' in text

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read one file, or all files of a folder in alphabetical order.

        Raises:
            LabelError: a file is not of this format; names the item.
            UsageError: `columns` names another role than the state.
        """
        if strange := set(options.roles) - {"state"}:
            raise UsageError(f"{source.path}: of {self.name} files --columns names the attribute of the state only, "
                             f"not {sorted(strange)[0]}; leave that out")  # fmt: skip
        files = _files(source.path) if source.is_folder else [source.path]
        if not files:
            raise LabelError(f"{source.path} has no {ANNOTATIONS}/SUBSET.json; give the folder in which that is")
        listing = Listing(source, options, self.name, unit="item")
        attribute = options.roles.get("state", ATTRIBUTE)
        folder = Folder(source.path)
        readers = [_Subset(listing, file, attribute) for file in files]
        for file, reader in zip(files, readers, strict=True):
            if source.is_folder:
                folder.check(file)
            reader.read()
        if "state" in options.roles and not any(reader.stated for reader in readers):
            raise LabelError(f"{source.path}: no label has the attribute {attribute!r}; leave --columns out")
        _note(listing, readers)
        return listing.finish()

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write one file where the name ends in .json, else a folder with the subset `default`.

        Raises:
            LabelError: the folder is there and not empty.
        """
        if path.suffix.casefold() == ".json":
            with atomic_path(path) as temporary:
                _write(table, temporary)
            return
        with new_folder(path) as folder:
            (folder / IMAGES).mkdir()
            (folder / ANNOTATIONS).mkdir()
            _write(table, folder / ANNOTATIONS / "default.json")


class _Subset:
    """One file, whose items may come before the labels that they number."""

    def __init__(self, listing: Listing, path: Path, attribute: str) -> None:
        self.listing, self.path, self.attribute = listing, path, attribute
        images = path.parent.parent / IMAGES / path.stem
        self._folder = f"{path.stem}/" if path.parent.name == ANNOTATIONS and images.is_dir() else ""
        self.stated = self.shapes = self.other_media = 0
        self._cells = tuple(array(kind) for kind in "iqbib")

    def read(self) -> None:
        """One pass over the file.

        Raises:
            LabelError: it is not of this format.
        """
        labels: list[int] | None = None
        items = False
        for key, found in lists(self.path, ("items",), whole=("categories",)):
            if key == "categories":
                labels = self._labels(found)
                continue
            items = True
            for number, item in enumerate(found, 1):
                self._item(item, number)
        if labels is None or not items:
            raise LabelError(f"{self.path} has no {'items' if labels else 'categories'}, which Datumaro writes")
        columns = np.asarray(labels, np.int64)
        rows, codes, states, records, sources = (np.asarray(values) for values in self._cells)
        wrong = np.flatnonzero((codes < 0) | (codes >= columns.size))
        if wrong.size:
            at = int(wrong[0])
            raise LabelError(
                f"{self.path}, item {records[at]}: label_id {codes[at]} is not one of the {columns.size} labels, which "
                f"count from 0"
            )
        self.listing.many(rows, columns[codes] if codes.size else codes, states, records, sources)

    def _labels(self, categories: Any) -> list[int]:
        listed = categories.get("label") if isinstance(categories, dict) else None
        listed = listed.get("labels") if isinstance(listed, dict) else None
        if not isinstance(listed, list):
            raise LabelError(f"{self.path}: categories has no label.labels; the items of such a file have no classes")
        names = [label.get("name") if isinstance(label, dict) else None for label in listed]
        seen: set[str] = set()
        for number, name in enumerate(names):
            if not isinstance(name, str) or name in seen or seen.add(name):  # type: ignore[func-returns-value]
                raise LabelError(f"{self.path}: label {number} is called {name!r}; each has a name of its own")
        return [self.listing.declare(name, number) for number, name in enumerate(names)]

    def _item(self, item: Any, number: int) -> None:
        if not isinstance(item, dict):
            raise self._wrong(number, "is no object with an id and annotations")
        if any(item.get(media) for media in _OTHER_MEDIA):
            self.other_media += 1
            return
        row = self.listing.image(self._image_name(item, number), number)
        annotations = item.get("annotations", [])
        if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
            raise self._wrong(number, "has annotations that are no list of objects")
        found: dict[tuple[int, State, CellSource], None] = {}
        for annotation in annotations:
            label = annotation.get("label_id")
            if label is None:
                continue
            if type(label) is not int or not -(1 << 63) <= label < 1 << 63:
                raise self._wrong(number, f"has the label_id {str(label)[:60]!r}, which is no number of a label")
            found[label, *self._stated(annotation, number)] = None
        for label, state, source in found:
            for values, value in zip(self._cells, (row, label, state, number, source), strict=True):
                values.append(value)

    def _image_name(self, item: Mapping[str, Any], number: int) -> str:
        image, id = item.get("image"), item.get("id")
        name = image.get("path") if isinstance(image, dict) else None
        if isinstance(name, str) and isinstance(id, str) and id:
            name = _relative(name, id)
        if not name:
            name = id
            if isinstance(name, str) and name and not (is_image(name) and image is None):
                name += ".jpg"  # as Datumaro itself does
        if not isinstance(name, str) or not name:
            raise self._wrong(number, "has neither an image with a path nor an id")
        return self._folder + name

    def _stated(self, annotation: Mapping[str, Any], number: int) -> tuple[State, CellSource]:
        if annotation.get("type") != "label":
            self.shapes += 1
            return STATED["present"]
        attributes = annotation.get("attributes")
        value = attributes.get(self.attribute) if isinstance(attributes, dict) else None
        if value is None:
            return STATED["present"]
        self.stated += 1
        if not isinstance(value, str) or value not in _STATES:
            raise self._wrong(
                number, f"has a label whose {self.attribute} is {str(value)[:60]!r}; write {', '.join(_STATES)}"
            )
        return _STATES[value]

    def _wrong(self, number: int, what: str) -> LabelError:
        return LabelError(f"{self.path}, item {number} {what}")


def _relative(path: str, id: str) -> str:
    """The id of the item with an ending, of an absolute path: Datumaro writes such of images that it did not copy."""
    absolute = path[:1] in {"/", "\\"} or path[1:2] == ":"
    bare, mark, ending = path.replace("\\", "/").rpartition(".")
    return f"{id}{mark}{ending}" if absolute and bare.endswith(f"/{id}") and "/" not in ending else path


def _files(folder: Path) -> list[Path]:
    """The files of the subsets."""
    names = file_tree(folder / ANNOTATIONS, deep=False).files
    return [folder / ANNOTATIONS / name for name in names if name.casefold().endswith(".json")]


def _note(listing: Listing, readers: list[_Subset]) -> None:
    if len(readers) > 1:
        listing.note(f"the subsets {', '.join(reader.path.stem for reader in readers)} were read together")
    if shapes := sum(reader.shapes for reader in readers):
        listing.note(f"{shapes:,} boxes and other shapes were read as present classes")
    if other := sum(reader.other_media for reader in readers):
        listing.note(f"{other:,} items are videos or point clouds and were left out")


def _items(table: LabelTable) -> Iterator[Mapping[str, Any]]:
    bare = [str(PurePosixPath(name).with_suffix("")) if is_image(name) else name for name in table.images]
    ids = bare if len(set(bare)) == len(bare) else table.images
    for id, one in zip(ids, image_cells(table), strict=True):
        labels = [
            {"id": 0, "type": "label", "attributes": {ATTRIBUTE: word}, "group": 0,
             "label_id": table.class_positions[name]}
            for name, word in one.words.items()
        ]  # fmt: skip
        yield {"id": id, "annotations": labels, "image": {"path": one.image}}


def _write(table: LabelTable, path: Path) -> None:
    labels = [{"name": name, "parent": "", "attributes": []} for name in table.classes]
    categories = {"label": {"labels": labels, "label_groups": [], "attributes": [ATTRIBUTE]}}
    head = json.dumps(
        {"dm_format_version": "1.0", "media_type": 2, "infos": {}, "categories": categories}, ensure_ascii=False
    )
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f'{head[:-1]}, "items": [')
        for number, item in enumerate(_items(table)):
            stream.write((",\n" if number else "\n") + json.dumps(item, ensure_ascii=False))
        stream.write("]}\n")
