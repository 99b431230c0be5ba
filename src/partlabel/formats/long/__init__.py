"""Long files, CSV or Parquet: one row per cell, with the columns image, class, state and perhaps source.

Three kinds of row are no cells:

- a row with an image and no class declares the image, which may have no cells;
- a row with a class and no image declares the class, and so its place in the order;
- a row with the image `*` states what the unlisted cells of its class are: `*,cat,absent` declares the class complete.

The format keeps everything that a table holds. In Parquet a null is an empty value, a number counts as its shortest
text (1.0 is `1`), and line numbers are row numbers.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from partlabel.errors import LabelError
from partlabel.files import atomic_path
from partlabel.formats.base import Format, Source
from partlabel.formats.collect import in_order, settle
from partlabel.formats.header import csv_format, refuse_misspelt
from partlabel.formats.long.files import ROLES, CsvFile, ParquetFile, holds_lists
from partlabel.formats.long.rows import EVERY_IMAGE, EVERY_IMAGE_INDEX, NO_NAME, LongRows
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, Tally, WriteOptions
from partlabel.formats.text import DELIMITED, name_cell, quote, refuse_outer_space
from partlabel.labels import IntArray, LabelTable, State
from partlabel.labels import Source as CellSource

_BLOCK_IMAGES = 1 << 13
_EMPTY = 2  # of a state; the sources have -1


class Long(Format):
    """One row per cell."""

    name = "long"
    title = "CSV or Parquet with one row per label"
    states = "the words present, absent, unknown, or --codes"
    suffixes = (*DELIMITED, ".parquet")
    read_only = DELIMITED[1:]
    options = frozenset({"codes", "unlisted", "where", "ignore", "columns"})
    written_with = frozenset({"codes"})
    keeps_sources = keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it is Parquet without lists, or a CSV whose header has an image column, class and state."""
        if source.suffix == ".parquet":
            return not holds_lists(source.path)
        return csv_format(source.columns(options)) == self.name

    def read(self, source: Source, options: ReadOptions, *, trusted: bool = False) -> Reading:
        """Read a long CSV, or Parquet where the name ends so.

        Columns other than image, class, state, source and those of `where` are ignored and reported. `where` does not
        apply to declarations of classes. `trusted` takes every text as a name, as in a file that `write` made.

        Raises:
            LabelError: a value has no code, a row has another width, a class is not among the given ones, cells
                conflict, and the like; names file, line and column.
        """
        path = source.path
        file = ParquetFile(path, options) if source.suffix == ".parquet" else CsvFile(source, options)
        tally = Tally(path=path, format=self.name, encoding=file.encoding, where=options.where)
        tally.notes += filter(None, [] if source.suffix == ".parquet" else [source.text.note])
        tally.ignored_columns = file.columns.others(file.roles.values())
        refuse_misspelt(path, tally.ignored_columns, ROLES, options.ignore)
        rows = LongRows(file, options, tally, trusted=trusted)
        first = file.first_record
        for batch in file.batches():
            rows.add(batch, first)
            first += batch.num_rows
        rows.note_skipped()
        tally.rows_read = first - file.first_record
        rows.uncoded.check(tally.rows_read, 0, lambda record: file.lines([record])[record])
        images = rows.take_images()
        tally.check_any(len(images), len(rows.classes.columns))
        background = np.full(len(rows.classes.columns), options.background, np.int8)
        for column, state in rows.declared.items():
            background[column] = state
        settled = settle(path, images, rows.classes.columns, background, rows.cells, options, file.lines)
        return Reading(settled.table, tally.report(settled.duplicates, settled.conflicts))

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write all that the table holds, as Parquet where the name ends so, else as CSV.

        Raises:
            LabelError: an image is named `*`, which stands for every image; in CSV, a class has outer white space.
        """
        if EVERY_IMAGE in table.image_positions:
            raise LabelError(
                f"{path}: an image is named '*', which stands for every image in a long file; rename it or write JSONL"
            )
        if path.suffix.casefold() != ".parquet":
            refuse_outer_space(table.classes, path)
        states = {int(state): options.codes.text(state.name.lower()) for state in State} | {_EMPTY: ""}
        sources = {int(source): source.name.lower() for source in CellSource} | {-1: ""}
        with atomic_path(path) as temporary:
            if path.suffix.casefold() == ".parquet":
                _write_parquet(table, temporary, states, sources)
            else:
                _write_csv(table, temporary, states, sources)


class _Block(NamedTuple):
    """Rows to write: indices with -1 for no name, and -2 for every image; state 2 and source -1 are empty."""

    image: IntArray
    class_index: IntArray
    state: IntArray
    source: IntArray


def _blocks(table: LabelTable) -> Iterator[_Block]:
    """All rows in the order of the images; classes are declared first where their order would be lost otherwise."""
    complete = bool((table.background == State.ABSENT).any())
    every = np.arange(len(table.classes))
    if complete or not in_order(table.class_index, len(table.classes)):
        state = table.background.astype(np.int64) if complete else np.full(every.size, _EMPTY)
        yield _Block(
            np.full(every.size, EVERY_IMAGE_INDEX if complete else NO_NAME), every, state, np.full(every.size, -1)
        )
    for start in range(0, len(table), _BLOCK_IMAGES):
        starts = table.row_starts[start : start + _BLOCK_IMAGES + 1]
        listed = np.diff(starts)
        image = np.repeat(np.arange(start, start + listed.size), np.maximum(listed, 1))
        is_cell = np.repeat(listed > 0, np.maximum(listed, 1))
        block = _Block(image, np.full(image.size, NO_NAME), np.full(image.size, _EMPTY), np.full(image.size, -1))
        here = slice(starts[0], starts[-1])
        block.class_index[is_cell] = table.class_index[here]
        block.state[is_cell] = table.states[here]
        block.source[is_cell] = table.sources[here]
        yield block


def _write_csv(table: LabelTable, path: Path, states: Mapping[int, str], sources: Mapping[int, str]) -> None:
    # The last two names are what the indices -2 and -1 find.
    images = [*map(name_cell, table.images), EVERY_IMAGE, ""]
    classes = [*map(name_cell, table.classes), ""]
    ends = {(state, source): f"{quote(states[state])},{sources[source]}" for state in states for source in sources}
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(ROLES) + "\n")
        for block in _blocks(table):
            rows = zip(*(column.tolist() for column in block), strict=True)
            stream.writelines(f"{images[i]},{classes[c]},{ends[state, source]}\n" for i, c, state, source in rows)


def _write_parquet(table: LabelTable, path: Path, states: Mapping[int, str], sources: Mapping[int, str]) -> None:
    names = (
        pa.array([*table.images, EVERY_IMAGE, ""]),
        pa.array([*table.classes, ""]),
        pa.array([states[state] for state in (0, 1, 2, -1)]),
        pa.array([sources[source] for source in (*range(len(CellSource)), -1)]),
    )
    schema = pa.schema([(role, pa.string()) for role in ROLES])
    with pa.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in _blocks(table):
            columns = [name.take(pa.array(index % len(name))) for name, index in zip(names, block, strict=True)]
            writer.write_table(pa.table(columns, schema=schema))
