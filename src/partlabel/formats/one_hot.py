"""One-hot CSV: one row per image, one column per class; values are states.

Every cell is listed, so this format has no background; of sources it keeps unsure alone.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.files import atomic_path
from partlabel.formats.base import Format, Source
from partlabel.formats.codes import UNSURE, WORDS
from partlabel.formats.collect import CellList, ImageRows, refuse_no_class, settle
from partlabel.formats.header import Columns, closest, columns_of, csv_format
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, Tally, WriteOptions
from partlabel.formats.text import DELIMITED, cell_name, even_records, name_cell, quote, refuse_outer_space
from partlabel.formats.uncoded import Uncoded
from partlabel.labels import Int8Array, IntArray, LabelTable, State
from partlabel.labels import Source as CellSource

_BLOCK = 1024  # rows at once; bounds the dense part
_NO_CODE, _UNSURE = 9, 2
_WORD = {State.PRESENT: "present", State.ABSENT: "absent", State.UNKNOWN: "unknown", _UNSURE: UNSURE}
_CODE = {word: code for code, word in _WORD.items()}


class OneHotCsv(Format):
    """One row per image, one column per class."""

    name = "one_hot_csv"
    title = "CSV with one column per tag"
    states = "a value in each cell, by --codes: present, absent, unknown or unsure"
    suffixes = DELIMITED
    read_only = DELIMITED[1:]
    options = frozenset({"codes", "unlisted", "where", "ignore", "columns"})
    written_with = frozenset({"codes"})
    keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether the header has an image column and none of class, state, present, absent."""
        return csv_format(source.columns(options)) == self.name

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read a one-hot CSV; the image column is the first named image, file, filename or path, else the first column.

        Raises:
            LabelError: a value has no code, a row has another width, a column is unnamed or twice there, rows conflict,
                and the like; names file, line and column.
            UsageError: `unlisted` is absent, which has no meaning where every cell is listed.
        """
        path = source.path
        if options.unlisted != "unknown":
            raise UsageError(
                f"{path}: a one-hot file lists every cell, so --unlisted absent has nothing to declare; say what an "
                f"empty cell means with --codes, for example '=absent'"
            )
        columns = source.columns(options)
        image = columns.image()
        image = columns.free[0] if image is None and columns.free else image
        if image is None:
            raise LabelError(f"{path} has no column left for the image names; leave fewer out")
        chosen = _class_columns(columns, image, options)
        tally = Tally(path=path, format=self.name, encoding=source.text.encoding, where=options.where)
        tally.ignored_columns = columns.others([image, *chosen])
        tally.notes += filter(None, [source.text.note])
        cells, images, uncoded = CellList(), ImageRows(path), Uncoded(path, options.code_map)
        rows = even_records(source.text)
        next(rows)
        kept = _rows(rows, columns, image, tally)
        while block := list(islice(kept, _BLOCK)):
            _add_block(block, columns, image, chosen, images, cells, uncoded)
        uncoded.check(tally.rows_read, len(chosen))
        tally.check_any(len(images.rows), len(chosen))
        classes = [columns.names[column] for column in chosen]
        settled = settle(path, images.rows, classes, State.UNKNOWN, cells, options, lambda lines: {n: n for n in lines})
        return Reading(settled.table, tally.report(images.duplicates(), settled.conflicts))

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write every cell, in the values of `codes` or as words. Of sources, unsure alone is kept.

        Raises:
            LabelError: class names would change or make the header look like another format.
        """
        refuse_outer_space(table.classes, path)
        header = ["image", *table.classes]
        if csv_format(columns_of(path, header)) != self.name:
            raise LabelError(
                f"{path}: classes named class, state, present or absent would make the header look like another "
                f"format; write the long format or JSONL"
            )
        words = {word: quote(options.codes.text(word)) for word in WORDS}
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.write(",".join(map(name_cell, header)) + "\n")
            for start in range(0, len(table), _BLOCK):
                index = np.arange(start, min(start + _BLOCK, len(table)))
                states = table.rows(index)
                states[(states == State.UNKNOWN) & ~table.open_rows(index)] = _UNSURE
                for row, codes in zip(index, states.tolist(), strict=True):
                    stream.write(",".join([name_cell(table.images[row]), *(words[_WORD[code]] for code in codes)]))
                    stream.write("\n")


def _class_columns(columns: Columns, image: int, options: ReadOptions) -> list[int]:
    free = [column for column in columns.free if column != image]
    wanted = None if options.classes is None else [name.strip() for name in options.classes]
    positions: dict[str, int] = {}
    for column in free:
        name = columns.names[column]
        if wanted is not None and name not in wanted:
            continue
        if not name:
            raise LabelError(
                f"{columns.path}: column {column + 1} has no name (row numbers, or a trailing comma?); name it, or "
                f"leave it out with --ignore ''"
            )
        if name in positions:
            raise LabelError(
                f"{columns.path}: class {name!r} is in column {positions[name] + 1} and {column + 1}; rename one"
            )
        if wanted is None and re.fullmatch(r"Unnamed: \d+", name):
            raise LabelError(
                f"{columns.path}: column {column + 1} is {name!r}, which a program wrote for a column without a name "
                f"(row numbers?); rename it, or leave it out with --ignore '{name}'"
            )
        if wanted is None:
            refuse_no_class(name, partial(_column_place, columns.path, column))
        positions[name] = column
    for name in wanted or ():
        if name not in positions:
            raise LabelError(f"{columns.path} has no class {name!r}; {closest(name, [columns.names[c] for c in free])}")
    return list(positions.values()) if wanted is None else [positions[name] for name in wanted]


def _column_place(path: Path, column: int) -> str:
    return f"{path}, header of column {column + 1}"


def _rows(
    rows: Iterator[tuple[int, list[str]]], columns: Columns, image: int, tally: Tally
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in rows:
        tally.rows_read += 1
        if not cells[image]:
            if any(cell.strip() for cell in cells):
                raise LabelError(f"{tally.path}, line {line}: column {columns.names[image]!r} is empty; name the image")
            tally.skip(line, "all cells are empty")
        elif tally.keeps({name: cells[column] for name, column in columns.where.items()}):
            yield line, cells


class _Numbers(dict[str, int]):
    """A number for each distinct value, in order of first appearance."""

    def __missing__(self, value: str) -> int:
        self[value] = number = len(self)
        return number


def _add_block(
    block: list[tuple[int, list[str]]],
    columns: Columns,
    image: int,
    chosen: list[int],
    images: ImageRows,
    cells: CellList,
    uncoded: Uncoded,
) -> None:
    numbers = _Numbers()
    values = np.array([[numbers[row[column]] for column in chosen] for _, row in block], np.int64)
    found = [uncoded.codes.word(value) for value in numbers]
    dense = np.array([_NO_CODE if word is None else int(_CODE[word]) for word in found], np.int8)[values]
    rows = np.array([images.row(cell_name(row[image]), line) for line, row in block], np.int64)
    lines = np.array([line for line, _ in block], np.int64)
    if (dense == _NO_CODE).any():
        _note_uncoded(values, dense, list(numbers), lines, [columns.names[column] for column in chosen], uncoded)
        return
    place_of, class_index = np.nonzero(dense)
    states = dense[place_of, class_index]
    sources = np.where(states == _UNSURE, CellSource.UNSURE, CellSource.IMPORT)
    cells.add(rows[place_of], class_index, np.where(states == _UNSURE, 0, states), lines[place_of], sources)


def _note_uncoded(
    values: IntArray, dense: Int8Array, distinct: list[str], lines: IntArray, classes: list[str], uncoded: Uncoded
) -> None:
    place, column = np.nonzero(dense == _NO_CODE)
    keys, first, counts = np.unique(
        column * len(distinct) + values[place, column], return_index=True, return_counts=True
    )
    for key, at, count in zip(keys.tolist(), first.tolist(), counts.tolist(), strict=True):
        class_index, number = divmod(key, len(distinct))
        uncoded.add(classes[class_index], distinct[number], count, int(lines[place[at]]))
