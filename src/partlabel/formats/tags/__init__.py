"""Tag lists: one row per image, with the names of its present and its absent classes. CSV or JSON Lines.

CSV has the columns image, present, absent and perhaps unknown; names in a cell are separated by `;`
or the given separator, and white space around them does not count. A row without an image declares the classes in its
unknown cell, and so their order. A row with the image `*` says what unlisted cells are: absent for the classes in its
absent cell, unknown for those in its unknown cell.

JSON Lines has `{"image": "a.jpg", "present": ["cat"], "absent": ["dog"], "unknown": []}`, each list optional. A line
`{"classes": ["cat", "dog"], "unlisted_absent": ["dog"]}` declares classes, and those whose unlisted cells are absent.

A column or key `unsure` lists the classes of which somebody was asked and could not decide. Of the sources of cells,
neither keeps another.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.files import atomic_path
from partlabel.formats.base import Format, Source
from partlabel.formats.collect import CellList, ClassNames, ImageRows, in_order, settle
from partlabel.formats.header import csv_format
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, Tally, WriteOptions
from partlabel.formats.tags.rows import (
    DEFAULT_SEPARATOR,
    EVERY_IMAGE,
    SEPARATORS,
    Declaration,
    csv_rows,
    json_rows,
    written_list,
)
from partlabel.formats.text import DELIMITED, formula_safe, name_cell, quote, refuse_outer_space
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource

JSON_SUFFIXES = (".jsonl", ".ndjson")
_IN_ROW = (State.PRESENT, State.ABSENT, State.UNKNOWN)
_UNSURE = 2


class TagLists(Format):
    """One row per image, with the names of its classes."""

    name = "tag_lists"
    title = "CSV or JSON Lines with lists of tags"
    states = "lists present, absent and unsure; what is in none of them is unknown"
    suffixes = (*DELIMITED, *JSON_SUFFIXES)
    read_only = DELIMITED[1:]
    options = frozenset({"unlisted", "separator", "where", "ignore", "columns"})
    written_with = frozenset({"separator"})
    keeps_unsure = True

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it is JSON Lines, or a CSV whose header has an image column, present and absent."""
        return source.suffix in JSON_SUFFIXES or csv_format(source.columns(options)) == self.name

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read tag lists: JSON Lines where the name ends in .jsonl or .ndjson, else CSV.

        Raises:
            LabelError: a row has another width or is no JSON, a class is not among the given ones, a class is both
                present and absent, the separator is not clear, and the like; names file and line.
            UsageError: a separator is given for JSON Lines.
        """
        path = source.path
        is_json = source.suffix in JSON_SUFFIXES
        if is_json and options.separator is not None:
            raise UsageError(f"{path}: JSON Lines have lists, so that --separator has no use; leave it out")
        tally = Tally(path=path, format=self.name, encoding=source.text.encoding, where=options.where)
        tally.notes += filter(None, [source.text.note])
        images, names = ImageRows(path), ClassNames(options.classes)
        rows = json_rows(source, options, tally) if is_json else csv_rows(source, options, tally, names)
        declared: dict[int, State] = {}
        columns = tuple(array(kind) for kind in "iibib")
        for row in rows:
            place = partial("{}, line {}".format, path, row.line)
            if isinstance(row, Declaration):
                _declare(row, names, declared, place)
                continue
            image = images.row(row.image, row.line)
            tags = [(name, state, CellSource.IMPORT) for name, state in row.tags]
            tags += [(name, State.UNKNOWN, CellSource.UNSURE) for name in row.unsure]
            for name, state, origin in tags:
                cell = image, names.column(name, place), state, row.line, origin
                for column, value in zip(columns, cell, strict=True):
                    column.append(value)
        tally.check_any(len(images.rows), len(names.columns))
        background = np.full(len(names.columns), options.background, np.int8)
        for class_index, state in declared.items():
            background[class_index] = state
        cells = CellList()
        cells.add(*(np.asarray(column) for column in columns))
        settled = settle(
            path, images.rows, names.columns, background, cells, options, lambda lines: {n: n for n in lines}
        )
        return Reading(settled.table, tally.report(images.duplicates(), settled.conflicts))

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write tag lists: JSON Lines where the name ends in .jsonl or .ndjson, else CSV. Of sources, unsure alone is
        kept.

        Raises:
            LabelError: in CSV, a name that the format would change: an image `*`, a class with the separator or outer
                white space.
        """
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            if path.suffix.casefold() in JSON_SUFFIXES:
                _write_json(table, stream)
            else:
                _write_csv(table, stream, path, options.separator or DEFAULT_SEPARATOR)


def _declare(row: Declaration, names: ClassNames, declared: dict[int, State], place: Callable[[], str]) -> None:
    for name in row.classes:
        names.column(name, place)
    for name, state in row.unlisted:
        if declared.setdefault(names.column(name, place), state) != state:
            raise LabelError(f"{place()}: unlisted cells of class {name!r} are declared both absent and unknown")


def _rows(table: LabelTable) -> Iterator[tuple[str, list[list[str]]]]:
    """Each image with its present, absent, unknown and unsure classes."""
    kinds = np.where(table.sources == CellSource.UNSURE, np.int8(_UNSURE), table.states)
    for row, image in enumerate(table.images):
        here = slice(table.row_starts[row], table.row_starts[row + 1])
        tags = list(zip(table.class_index[here].tolist(), kinds[here].tolist(), strict=True))
        wanted = (*_IN_ROW, _UNSURE)
        yield image, [[table.classes[column] for column, kind in tags if kind == one] for one in wanted]


def _unlisted(table: LabelTable, state: State) -> list[str]:
    return [name for name, background in zip(table.classes, table.background, strict=True) if background == state]


def _order_survives(table: LabelTable) -> bool:
    """Whether the classes first appear in the order of the table, and none is absent where unlisted."""
    rows = np.repeat(np.arange(len(table)), np.diff(table.row_starts))
    rank = np.asarray([_IN_ROW.index(State.UNKNOWN), _IN_ROW.index(State.PRESENT), _IN_ROW.index(State.ABSENT)])[
        table.states
    ]
    rank = np.where(table.sources == CellSource.UNSURE, len(_IN_ROW), rank)
    written = np.lexsort((table.class_index, rank, rows))
    return not table.background.any() and in_order(table.class_index[written], len(table.classes))


def _write_json(table: LabelTable, stream: TextIO) -> None:
    def put(record: Mapping[str, object]) -> None:
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")

    if not _order_survives(table):
        absent = _unlisted(table, State.ABSENT)
        put({"classes": list(table.classes)} | ({"unlisted_absent": absent} if absent else {}))
    for image, (present, absent, unknown, unsure) in _rows(table):
        more = {name: names for name, names in (("unknown", unknown), ("unsure", unsure)) if names}
        put({"image": image, "present": present, "absent": absent, **more})


def _write_csv(table: LabelTable, stream: TextIO, path: Path, separator: str) -> None:
    if EVERY_IMAGE in table.image_positions:
        raise LabelError(
            f"{path}: an image is named '*', which stands for every image in tag lists; rename it or write JSONL"
        )
    refuse_outer_space(table.classes, path)
    for name in table.classes:
        if separator in name:
            raise LabelError(
                f"{path}: class {name!r} holds the separator {separator!r}; choose another separator, or write JSONL "
                f"or the long format"
            )

    def put(image: str, *lists: list[str], end: str = "") -> None:
        cells = [separator.join(map(formula_safe, names)) + end * bool(names) for names in lists[:width]]
        cells += [""] * (width - len(cells))
        if odd := next((cell for cell in cells if written_list(cell) is not None), None):
            raise LabelError(f"{path}: {odd[:60]!r} would be read as a list; write JSONL or the long format")
        stream.write(",".join([name_cell(image), *map(quote, cells)]) + "\n")

    # A name with a usual separator in it would make the reader doubt ours, so the declaration shows it at its end.
    declare = not _order_survives(table) or any(mark in name for name in table.classes for mark in SEPARATORS)
    width = 4 if table.unsure else 3 if declare or (table.states == State.UNKNOWN).any() else 2
    stream.write(",".join(["image", "present", "absent", "unknown", "unsure"][: width + 1]) + "\n")
    if declare:
        put("", [], [], list(table.classes), end=separator)
    if table.background.any():
        put(EVERY_IMAGE, [], _unlisted(table, State.ABSENT), _unlisted(table, State.UNKNOWN))
    for image, lists in _rows(table):
        put(image, *lists)
