"""Long files as batches of text columns, whether they are CSV or Parquet."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from partlabel.errors import LabelError
from partlabel.formats.base import Source
from partlabel.formats.header import Columns, columns_of, listed, plain, renamings
from partlabel.formats.options import ReadOptions
from partlabel.formats.text import TextFile, even_records, lines_of

ROLES = ("image", "class", "state", "source")
FEATURES = b"huggingface"  # what `datasets` keeps in the metadata of a schema
_BLOCK_BYTES = 1 << 26  # large, because each name is looked up once a block; also the longest possible cell
_MEGABYTE = 1_000_000
_BLOCK_ROWS = 1 << 18
# A complete table of 5,000 classes, compressed, comes to 400 rows per byte; a file of 1 kB must not fill the memory.
_ROWS_PER_BYTE, _ROWS_AT_LEAST = 1_000, 5_000_000


class CsvFile:
    """A long CSV as record batches whose columns are text named by position."""

    unit, first_record = "line", 1

    def __init__(self, source: Source, options: ReadOptions) -> None:
        self.text: TextFile = source.text
        self._tick = source.tick
        self.encoding = self.text.encoding
        self.columns = source.columns(options)
        self.roles = roles_of(self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The columns that have a role; the header is no row of them."""
        if self.text.quoted:
            # Arrow forgives a broken quote and may swallow the rows up to the next one; the strict reader does not.
            self._check_records()
        wanted = [f"f{column}" for column in sorted({*self.roles.values(), *self.columns.where.values()})]
        try:
            file, size = pa.OSFile(str(self.text.content)), self.text.content.stat().st_size
            reader = pa.csv.open_csv(
                self._stream(file),
                read_options=pa.csv.ReadOptions(
                    autogenerate_column_names=True, block_size=_BLOCK_BYTES, skip_rows=self.text.preamble
                ),
                parse_options=pa.csv.ParseOptions(newlines_in_values=self.text.quoted, delimiter=self.text.delimiter),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
                ),
            )
            header = 1
            for batch in reader:
                yield batch.slice(header)
                header = 0
                self._tick(min(file.tell(), size) // _MEGABYTE, size // _MEGABYTE)
        except pa.ArrowInvalid as error:
            self._check_records()
            raise LabelError(f"{self.text.path} cannot be read as CSV: {error}") from error

    def name(self, column: int) -> str:
        """Name in the batches of the column at this position of the file."""
        return f"f{column}"

    def lines(self, records: Iterable[int]) -> Mapping[int, int]:
        """Where each record stands in the file, in `unit`, counted from 1."""
        return lines_of(self.text, records)

    def _stream(self, file: pa.NativeFile) -> pa.NativeFile:
        return file if self.text.codec != "utf-16" else pa.transcoding_input_stream(file, "utf-16", "utf-8")

    def _check_records(self) -> None:
        for _ in even_records(self.text):
            pass


class ParquetFile:
    """A long Parquet file as record batches of text."""

    unit, first_record, encoding = "row", 0, "Parquet"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        with parquet_errors(path):
            schema = pa.parquet.read_schema(path)
            names = schema.names
        self.columns = columns_of(path, names, options.where, options.ignore, options.roles)
        self.roles = _parquet_roles(self.columns)
        self.names = [names[column] for column in sorted({*self.roles.values(), *self.columns.where.values()})]
        self.all_names = names
        if wrong := next((name for name in self.names if names.count(name) > 1), None):
            raise LabelError(f"{path} has the column {wrong!r} more than once; rename one")
        with parquet_errors(path):
            # Text stays in dictionaries: a value that is repeated a million times is held once.
            text = [name for name in self.names if pa.types.is_string(schema.field(name).type) and "." not in name]
            self.file = pa.parquet.ParquetFile(path, read_dictionary=text)
        rows, size = self.file.metadata.num_rows, path.stat().st_size
        if rows > max(_ROWS_AT_LEAST, size * _ROWS_PER_BYTE):
            raise LabelError(
                f"{path} announces {rows:,} rows in {size:,} bytes, which no label file does; write it anew"
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The columns that have a role."""
        with parquet_errors(self.columns.path):
            for batch in self.file.iter_batches(_BLOCK_ROWS, columns=self.names):
                yield pa.record_batch([_as_text(batch.column(name)) for name in self.names], names=self.names)

    def name(self, column: int) -> str:
        """Name in the batches of the column at this position of the file."""
        return str(self.all_names[column])

    def lines(self, records: Iterable[int]) -> Mapping[int, int]:
        """Where each record stands in the file, in `unit`, counted from 1."""
        return {record: record + 1 for record in records}


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow says about damaged or odd files into a sentence.

    Raises:
        LabelError: a file is not what its name says, or a column is neither text nor numbers.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} cannot be read as Parquet: a text in it is not UTF-8; write it anew") from error
    except (pa.ArrowException, OSError) as error:
        raise LabelError(f"{path} cannot be read as Parquet text and numbers: {str(error)[:300]}") from error


def roles_of(columns: Columns) -> dict[str, int]:
    """Position of each column of `ROLES`; the source may be missing."""
    roles = {role: columns.required(role) for role in ROLES[:3]}
    source = columns.named("source")
    return roles if source is None else {**roles, "source": source}


def _parquet_roles(columns: Columns) -> dict[str, int]:
    """`roles_of`, with advice for the other shapes that labels have in Parquet."""
    missing = [role for role in ROLES[:3] if (columns.image() if role == "image" else columns.named(role)) is None]
    if not missing:
        return roles_of(columns)
    if "image" in missing:
        advice = renamings(columns.names, ROLES[:3]) or "say which column holds the image names: --columns image=NAME"
    elif {"present", "absent"} & {plain(name) for name in columns.names}:
        advice = "lists of names are read from JSON Lines: pandas' to_json(orient='records', lines=True) writes them"
    else:
        advice = (
            renamings(columns.names, ROLES[:3])
            or "one column per class is read from CSV, which pandas' to_csv(index=False) writes"
        )
    raise LabelError(
        f"{columns.path} has no column named {' and '.join(missing)} (columns: {listed(columns.names)}); Parquet is "
        f"read with one row per cell, in the columns image, class and state; {advice}"
    )


def _as_text(column: pa.Array) -> pa.Array:
    """A column as text, in its dictionary where it has one; null is the empty text.

    Raises:
        pyarrow.ArrowInvalid: a text is not UTF-8.
        pyarrow.ArrowNotImplementedError: the values are neither text nor numbers.
    """
    if pa.types.is_dictionary(column.type):
        values, indices = column.dictionary.cast(pa.string()), column.indices.cast(pa.int64())
        values.validate(full=True)
        if indices.null_count or values.null_count:
            indices = pa.compute.fill_null(indices, len(values))
            values = pa.concat_arrays([pa.compute.fill_null(values, ""), pa.array([""])])
        return pa.DictionaryArray.from_arrays(indices, values)
    text = pa.compute.fill_null(column.cast(pa.string()), "")
    text.validate(full=True)
    return text


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def holds_lists(path: Path) -> bool:
    """Whether a Parquet file has a column of lists, or comes from `datasets`, and has no row for each cell."""
    try:
        schema = pa.parquet.read_schema(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return False
    if {"class", "state"} <= {name.strip().casefold() for name in schema.names}:
        return False
    return FEATURES in (schema.metadata or {}) or any(is_list(field.type) for field in schema)
