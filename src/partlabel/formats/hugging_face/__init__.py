"""Data sets of Hugging Face: an image folder with metadata, Parquet files, or the folder that `save_to_disk` wrote.

A table is written as Parquet with the columns file_name, present, absent and unsure. The latter three are lists of
`ClassLabel`, whose names keep all classes and their order, and which `datasets` shows as the feature of the column. All
three are always there, so that the files of a data set have the same columns. In a folder the file is called
metadata.parquet, which makes the folder an image folder once the images lie in it.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from partlabel.errors import LabelError
from partlabel.files import atomic_path
from partlabel.formats.annotation_tools import STATED
from partlabel.formats.base import Format, Source
from partlabel.formats.hugging_face.columns import FILE_NAME, ClassColumn, class_names, roles_of
from partlabel.formats.hugging_face.shards import INFO, METADATA, SPLITS, Row, Shard, shards
from partlabel.formats.image_tree import some_entries
from partlabel.formats.listing import Listing
from partlabel.formats.long.files import FEATURES, holds_lists
from partlabel.formats.new_folder import new_folder
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import LabelTable

_BLOCK_CELLS = 1 << 22
_SPLIT, _SPLIT_FOLDERS = "split", frozenset({"train", "test", "validation", "valid", "val", "dev"})


class HuggingFace(Format):
    """A data set of Hugging Face."""

    name = "hugging_face"
    title = "Hugging Face data set (image folder with metadata, Parquet, save_to_disk)"
    states = "lists present, absent and unsure, or one of tags; what is in none of them is unknown"
    suffixes = (".parquet",)
    takes = frozenset({"file", "folder"})
    options = frozenset({"unlisted", "columns", "where"})
    keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it is Parquet with lists, or a folder with metadata or tables of `datasets` among its entries."""
        if not source.is_folder:
            return source.suffix == ".parquet" and holds_lists(source.path)
        entries = some_entries(source.path)
        folders = islice((entry for entry in entries if entry.is_dir(follow_symlinks=False)), 5)
        below = [entry.name for folder in folders for entry in some_entries(Path(folder.path))]
        names = {*below, *(entry.name for entry in entries)}
        if names & {*METADATA, SPLITS}:
            return True
        return any(name.endswith(".parquet") for name in names) or (
            INFO in names and any(name.endswith(".arrow") for name in names)
        )

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read all tables of the data set; `where` may choose a split.

        A list that is null says that nobody looked; an empty one, that there is nothing.

        Raises:
            LabelError: a table is damaged, a column is missing, a number stands for no class, two splits hold one
                image, and the like; names the file and the row.
        """
        if wrong := next((name for name in options.where if name != _SPLIT), None):
            raise LabelError(f"{source.path}: --where chooses a split here (split=train), not {wrong!r}")
        found, tree = shards(source)
        listing = Listing(source, options, self.name, "row", "Hugging Face")
        for sentence in tree.notes() if tree else ():
            listing.note(sentence)
        reader = _Reader(listing)
        for shard in found:
            reader.read(shard)
        reader.note(len(found))
        return listing.finish(reader.count)

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write Parquet where the name ends so, else a new folder with metadata.parquet.

        Of sources, unsure alone is kept.

        Raises:
            LabelError: the folder is not empty.
        """
        if path.suffix.casefold() == ".parquet":
            with atomic_path(path) as temporary:
                _write(table, temporary)
            return
        with new_folder(path, "name a new folder, and copy its file beside the images from there") as folder:
            _write(table, folder / METADATA[-1])


class _Reader:
    """Reads one table after the other into a listing."""

    def __init__(self, listing: Listing) -> None:
        self.listing, self.count = listing, 0
        self._splits: dict[str, int] = {}
        self._split_of: dict[str, str] = {}

    def read(self, shard: Shard) -> None:
        """Read a table."""
        roles = roles_of(shard, self.listing.options.roles)
        for column in roles.classes.values():
            for name in column.classes or ():
                self.listing.declare(name, self.count)
        wanted = list(dict.fromkeys([roles.image, *(column.name for column in roles.classes.values())]))
        for number, row in enumerate(shard.rows(wanted), 1):
            self.count += 1
            place = f"{shard.path}, row {number}"
            name = row[roles.image]
            if not isinstance(name, str) or not name:
                raise LabelError(
                    f"{place}, column {roles.image!r}: {str(name)[:60]!r} is no name of an image; say with "
                    f"--columns image=NAME which column holds them"
                )
            split = shard.split or _split_in(name)
            if not self.listing.tally.keeps({_SPLIT: split} if self.listing.options.where else {}):
                continue
            self._splits[split] = self._splits.get(split, 0) + 1
            self._check_split(shard.folder + name, split, place)
            self._add(self.listing.image(shard.folder + name, self.count), row, roles.classes, place)

    def note(self, tables: int) -> None:
        """Say which splits were read."""
        if len(self._splits) > 1:
            shown = ", ".join(f"{split or 'no split'} ({count:,})" for split, count in self._splits.items())
            self.listing.note(f"all splits of {tables} files together: {shown}; --where split=NAME chooses one")

    def _add(self, image: int, row: Row, columns: Mapping[str, ClassColumn], place: str) -> None:
        looked = False
        for role, column in columns.items():
            names = class_names(row[column.name], column, place)
            looked |= names is not None
            state, source = STATED[role]
            for name in dict.fromkeys(names or ()):
                self.listing.cell(image, self.listing.declare(name, self.count), state, self.count, source)
        if not looked:
            self.listing.nobody_looked(image)

    def _check_split(self, name: str, split: str, place: str) -> None:
        if self._split_of.setdefault(name, split) != split:
            raise LabelError(
                f"{place}: the image {name!r} is in the split {self._split_of[name]!r}, too; read one of them with "
                f"--where split={split}"
            )


def _split_in(name: str) -> str:
    """The split that the first folder of a name is called by."""
    first, slash, _ = name.partition("/")
    return first if slash and first in _SPLIT_FOLDERS else ""


def _write(table: LabelTable, path: Path) -> None:
    labels = {"feature": {"names": list(table.classes), "_type": "ClassLabel"}, "_type": "Sequence"}
    features = {FILE_NAME: {"dtype": "string", "_type": "Value"}, **dict.fromkeys(STATED, labels)}
    metadata = {FEATURES: json.dumps({"info": {"features": features}}).encode()}
    lists = pa.list_(pa.int64())
    schema = pa.schema([(FILE_NAME, pa.string()), *((role, lists) for role in STATED)], metadata=metadata)
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for batch in _blocks(table, schema):
            writer.write_batch(batch)


def _blocks(table: LabelTable, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    at_once = max(_BLOCK_CELLS // len(table.classes), 1)
    for start in range(0, len(table), at_once):
        images = table.images[start : start + at_once]
        rows = np.arange(start, start + len(images))
        states, undecided = table.rows(rows), table.open_rows(rows)
        columns = [pa.array(images, pa.string())]
        untouched = pa.array(undecided.all(axis=1))  # null, because an empty list says more
        for wanted, _ in STATED.values():
            row, column = np.nonzero((states == wanted) & ~undecided)
            offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(images)))])
            lists = pa.array(offsets, pa.int32()), pa.array(column, pa.int64())
            columns.append(pa.ListArray.from_arrays(*lists, mask=untouched))
        yield pa.record_batch(columns, schema=schema)
