"""The tables of a Hugging Face data set: metadata of an image folder, Parquet files, or what `save_to_disk` wrote."""

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from partlabel.errors import LabelError
from partlabel.formats.base import Source
from partlabel.formats.hugging_face.footer import most_values
from partlabel.formats.image_tree import ImageTree, image_tree
from partlabel.formats.json_text import parse_line, read_json
from partlabel.formats.long.files import FEATURES, is_list, parquet_errors
from partlabel.formats.text import cell_name, even_records, examine

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
INFO, SPLITS = "dataset_info.json", "dataset_dict.json"
_SHARD_NAME = re.compile(r"(?:(.+)-)?\d{5}-of-\d{5}(-\w+)?")
_BLOCK_ROWS = 1 << 13
_VALUES_PER_BYTE, _VALUES_AT_LEAST = 1_000, 5_000_000  # a file of some kB must not fill the memory
Row = dict[str, Any]


class Shard(ABC):
    """A table.

    Args:
        path: the file.
        folder: what the names of its images begin with, as it lies in this folder; empty or with `/` at the end.
        split: the split that it holds, empty where nothing says so.

    Attributes:
        names: the columns.
        lists: the columns that hold lists.
        pictures: the columns that hold pictures, which have names inside.
        features: what `datasets` knows of each column.
    """

    names: Sequence[str]
    lists: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()
    features: Mapping[str, Any] = {}

    def __init__(self, path: Path, folder: str, split: str) -> None:
        self.path, self.folder, self.split = path, folder, split

    @abstractmethod
    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """The rows, with these columns; None where a row has no value.

        Raises:
            LabelError: the file is damaged.
        """


class _Csv(Shard):
    def __init__(self, path: Path, folder: str, split: str) -> None:
        super().__init__(path, folder, split)
        self._records = even_records(Source(path).text)
        self.names = [cell_name(name.strip()) for name in next(self._records)[1]]
        if len(set(self.names)) < len(self.names):
            raise LabelError(f"{path} has a column twice in its header; rename one")

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        at = {name: self.names.index(name) for name in wanted}
        for _, cells in self._records:
            yield {name: cell_name(cells[spot]) for name, spot in at.items()}


class _JsonLines(Shard):
    def __init__(self, path: Path, folder: str, split: str) -> None:
        super().__init__(path, folder, split)
        self._rows: list[Row] = []
        keys: dict[str, bool] = {}
        text = examine(path)
        with path.open(encoding=text.codec) as stream:
            for line, raw in enumerate(stream, 1):
                if raw.strip():
                    self._rows.append(row := parse_line(raw, f"{path}, line {line}"))
                    for key, value in row.items():
                        keys[key] = keys.get(key, False) or isinstance(value, list)
        self.names = [*keys]
        self.lists = frozenset(key for key, is_list in keys.items() if is_list)

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        return ({name: row.get(name) for name in wanted} for row in self._rows)


class _Arrow(Shard):
    """A table of Arrow, whose schema says what the columns hold."""

    schema: pa.Schema

    def _take_schema(self, schema: pa.Schema, features: Mapping[str, Any] | None = None) -> None:
        self.schema, self.names = schema, schema.names
        if twice := next((name for name in self.names if self.names.count(name) > 1), None):
            raise LabelError(f"{self.path} has the column {twice!r} more than once; rename one")
        self.lists = frozenset(field.name for field in schema if is_list(field.type))
        self.pictures = frozenset(field.name for field in schema if _is_picture(field.type))
        self.features = features_of(schema, self.path) if features is None else features

    @abstractmethod
    def _batches(self, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows by blocks, with these columns, of pictures only the path."""

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        with parquet_errors(self.path):
            for batch in self._batches(wanted):
                columns = {}
                for name in wanted:
                    column = batch.column(name)
                    column.validate(full=True)
                    columns[name] = (column.field("path") if name in self.pictures else column).to_pylist()
                for values in zip(*columns.values(), strict=True):
                    yield dict(zip(columns, values, strict=True))


class ParquetShard(_Arrow):
    """A Parquet file."""

    def __init__(self, path: Path, folder: str, split: str) -> None:
        super().__init__(path, folder, split)
        with parquet_errors(path):
            self._file = pa.parquet.ParquetFile(path)
            values = max(most_values(path), self._file.metadata.num_rows)
            self._take_schema(self._file.schema_arrow)
        size = path.stat().st_size
        if values > max(_VALUES_AT_LEAST, size * _VALUES_PER_BYTE):
            raise LabelError(
                f"{path} announces {values:,} values in {size:,} bytes, which no label file does; write it anew"
            )

    def _batches(self, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        columns = [f"{name}.path" if name in self.pictures else name for name in wanted]
        yield from self._file.iter_batches(_BLOCK_ROWS, columns=columns)


class _Stream(_Arrow):
    """A file of `save_to_disk`."""

    def __init__(self, path: Path, folder: str, split: str) -> None:
        super().__init__(path, folder, split)
        info = path.parent / INFO
        features = None
        if info.is_file():
            said = read_json(info)
            features = _mapping(said.get("features") if isinstance(said, dict) else None, info)
        with parquet_errors(path), pa.memory_map(str(path)) as file:
            self._take_schema(pa.ipc.open_stream(file).schema, features)

    def _batches(self, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(self.path)) as file:
            for batch in pa.ipc.open_stream(file):
                for start in range(0, batch.num_rows, _BLOCK_ROWS):
                    yield batch.slice(start, _BLOCK_ROWS)


def shards(source: Source) -> tuple[list[Shard], ImageTree | None]:
    """The tables of a file or folder, sorted by name, and what was listed to find them.

    Raises:
        LabelError: there is none, or one is damaged.
    """
    if not source.is_folder:
        return [ParquetShard(source.path, "", "")], None
    tree = image_tree(source.path, {".csv", ".jsonl", ".parquet", ".arrow"})
    metadata = [name for name in tree.files if name.rpartition("/")[2] in METADATA]
    tables = [name for name in tree.files if name.endswith((".parquet", ".arrow"))]
    chosen = metadata or [name for name in tables if not name.rpartition("/")[2].startswith("cache-")]
    if not chosen:
        raise LabelError(
            f"{source.path} holds no table of a Hugging Face data set: {', '.join(METADATA)} beside the images, "
            f"Parquet files, or what save_to_disk wrote"
        )
    return [_shard(source.path, name, is_metadata=bool(metadata)) for name in chosen], tree


def _shard(root: Path, name: str, *, is_metadata: bool) -> Shard:
    folder, _, file = name.rpartition("/")
    inside = f"{folder}/" if folder and is_metadata else ""
    stem, suffix = os.path.splitext(file)
    if suffix.casefold() == ".parquet" and not is_metadata:
        numbered = _SHARD_NAME.fullmatch(stem)
        return ParquetShard(root / name, "", (numbered[1] or "") if numbered else stem)
    split = folder.partition("/")[0]
    kinds: dict[str, Callable[[Path, str, str], Shard]] = {
        ".csv": _Csv,
        ".jsonl": _JsonLines,
        ".parquet": ParquetShard,
        ".arrow": _Stream,
    }
    return kinds[suffix.casefold()](root / name, inside, split)


def features_of(schema: pa.Schema, path: Path) -> Mapping[str, Any]:
    """What `datasets` wrote of the columns into the metadata of a schema.

    Raises:
        LabelError: it is damaged.
    """
    written = (schema.metadata or {}).get(FEATURES)
    if written is None:
        return {}
    try:
        said = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{path}: the features of datasets in its schema are no JSON; write it anew") from error
    info = said.get("info") if isinstance(said, dict) else None
    return _mapping(info.get("features") if isinstance(info, dict) else None, path)


def _mapping(features: Any, path: Path) -> Mapping[str, Any]:
    if features is None:
        return {}
    if not isinstance(features, dict):
        raise LabelError(f"{path}: the features are no mapping from columns to what they hold; write it anew")
    return features


def _is_picture(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"})
