"""Long files as batches of text columns, whether they are CSV or Parquet."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from partlabel.errors import LabelError
from partlabel.formats.header import Columns, columns_of
from partlabel.formats.reading import ReadOptions
from partlabel.formats.text import TextFile, even_records, examine, lines_of

ROLES = ("image", "class", "state", "source")
_BLOCK_BYTES = 1 << 26  # large, because each name is looked up once a block; also the longest possible cell
_BLOCK_ROWS = 1 << 18


class CsvFile:
    """A long CSV as record batches whose columns are text named by position."""

    unit, first_record = "line", 1

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.text: TextFile = examine(path)
        self.encoding = self.text.encoding
        self.columns = columns_of(path, next(even_records(self.text))[1], options)
        self.roles = roles_of(self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The columns that have a role; the header is no row of them."""
        if self.text.quoted:
            # Arrow forgives a broken quote and may swallow the rows up to the next one; the strict reader does not.
            self._check_records()
        wanted = [f"f{column}" for column in sorted({*self.roles.values(), *self.columns.where.values()})]
        try:
            reader = pa.csv.open_csv(
                self._stream(),
                read_options=pa.csv.ReadOptions(autogenerate_column_names=True, block_size=_BLOCK_BYTES),
                parse_options=pa.csv.ParseOptions(newlines_in_values=self.text.quoted),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
                ),
            )
            header = 1
            for batch in reader:
                yield batch.slice(header)
                header = 0
        except pa.ArrowInvalid as error:
            self._check_records()
            raise LabelError(f"{self.text.path} cannot be read as CSV: {error}") from error

    def name(self, column: int) -> str:
        """Name in the batches of the column at this position of the file."""
        return f"f{column}"

    def lines(self, records: Iterable[int]) -> Mapping[int, int]:
        """Where each record stands in the file, in `unit`, counted from 1."""
        return lines_of(self.text, records)

    def _stream(self) -> pa.NativeFile:
        stream = pa.OSFile(str(self.text.path))
        return stream if self.text.codec != "utf-16" else pa.transcoding_input_stream(stream, "utf-16", "utf-8")

    def _check_records(self) -> None:
        for _ in even_records(self.text):
            pass


class ParquetFile:
    """A long Parquet file as record batches of text."""

    unit, first_record, encoding = "row", 0, "Parquet"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        try:
            self.file = pa.parquet.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise LabelError(f"{path} cannot be read as Parquet: {error}") from error
        self.columns = columns_of(path, self.file.schema_arrow.names, options)
        self.roles = roles_of(self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The columns that have a role."""
        wanted = [self.name(column) for column in sorted({*self.roles.values(), *self.columns.where.values()})]
        try:
            for batch in self.file.iter_batches(_BLOCK_ROWS, columns=wanted):
                yield pa.record_batch([_as_text(batch.column(name)) for name in wanted], names=wanted)
        except (pa.ArrowException, OSError) as error:
            raise LabelError(f"{self.columns.path} cannot be read as Parquet text and numbers: {error}") from error

    def name(self, column: int) -> str:
        """Name in the batches of the column at this position of the file."""
        return self.columns.names[column]

    def lines(self, records: Iterable[int]) -> Mapping[int, int]:
        """Where each record stands in the file, in `unit`, counted from 1."""
        return {record: record + 1 for record in records}


def roles_of(columns: Columns) -> dict[str, int]:
    """Position of each column of `ROLES`; the source may be missing."""
    roles = {role: columns.required(role) for role in ROLES[:3]}
    source = columns.named("source")
    return roles if source is None else {**roles, "source": source}


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return pa.compute.fill_null(column.cast(pa.string()), "")
