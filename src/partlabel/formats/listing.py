"""Labels as the reader of an annotation tool's file finds them, until they are settled in a table."""

import reprlib
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from partlabel.errors import LabelError
from partlabel.formats.base import Source
from partlabel.formats.collect import CellList, ClassNames, ImageRows, Integers, settle
from partlabel.formats.header import closest
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, Tally
from partlabel.formats.suggested import Suggested
from partlabel.labels import LabelTable, State
from partlabel.labels import Source as CellSource

_SPELT_OUT_AT_MOST = 50_000_000


class Listing:
    """What a file lists so far: images, classes, cells, suggestions and notes.

    `--classes` chooses among the classes of the file once all is read. Where `--unlisted absent` holds, images that
    nobody has looked at (`nobody_looked`) stay unknown.

    Args:
        source: the file or folder.
        options: how to read it.
        format: key of `partlabel.formats.FORMATS`.
        unit: what records are counted in, for messages: `line`, `task`, `entry`.
        encoding: as it is reported.
    """

    def __init__(
        self, source: Source, options: ReadOptions, format: str, unit: str = "entry", encoding: str = "UTF-8"
    ) -> None:
        self.path, self.options, self.unit = source.path, options, unit
        self.tally = Tally(path=source.path, format=format, encoding=encoding, where=options.where)
        self.images = ImageRows(source.path, unit)
        self.names = ClassNames(None, accepted=options.classes or ())
        self.cells = CellList()
        self._columns = tuple(array(kind) for kind in "iibib")
        self._suggested = tuple(array(kind) for kind in "iid")
        self._unlooked: list[int] = []

    def place(self, record: int) -> str:
        """File and record, for messages."""
        return f"{self.path}, {self.unit} {record}"

    def note(self, sentence: str) -> None:
        """Something about the file that its owner should know; a part of a sentence, without the file's name."""
        self.tally.notes.append(sentence)

    def image(self, name: Any, record: int) -> int:
        """Row of an image, new where the name is; a name that comes again counts as a duplicate.

        Raises:
            LabelError: it is no name.
        """
        return self.images.row(self._text(name, "image", record), record)

    def declare(self, name: Any, record: int) -> int:
        """Column of a class, new where the name is.

        Raises:
            LabelError: it is no name.
        """
        return self.names.column(self._text(name, "class", record), lambda: self.place(record))

    def cell(self, row: int, column: int, state: State, record: int, source: CellSource = CellSource.IMPORT) -> None:
        """One cell that the file states."""
        for values, value in zip(self._columns, (row, column, state, record, source), strict=True):
            values.append(value)

    def many(
        self, rows: Integers, columns: Integers, states: Integers, records: Integers, sources: Integers | None = None
    ) -> None:
        """Many cells at once, as parallel arrays; without sources they are imported ones."""
        self.cells.add(rows, columns, states, records, sources)

    def suggest(self, row: int, column: int, probability: Any, record: int) -> None:
        """A suggestion, which is no label.

        Raises:
            LabelError: the probability is no number from 0 to 1.
        """
        is_number = isinstance(probability, int | float) and not isinstance(probability, bool)
        if not is_number or not 0 <= probability <= 1:
            raise LabelError(f"{self.place(record)}: {probability!r} is no probability from 0 to 1")
        for values, value in zip(self._suggested, (row, column, probability), strict=True):
            values.append(value)

    def nobody_looked(self, row: int) -> None:
        """Say of an image that nobody has looked at it, so that what is unlisted of it is unknown in any case."""
        self._unlooked.append(row)

    def finish(self, rows_read: int | None = None) -> Reading:
        """The table and its report.

        Args:
            rows_read: how many records there were; the images, where it is not given.

        Raises:
            LabelError: nothing was listed, cells contradict each other, or a chosen class is not there.
        """
        self.tally.rows_read = len(self.images.rows) if rows_read is None else rows_read
        self.tally.check_any(len(self.images.rows), len(self.names.columns))
        background = np.full(len(self.names.columns), self.options.background, np.int8)
        self.cells.add(*(np.asarray(values) for values in self._columns))
        settled = settle(
            self.path,
            self.images.rows,
            self.names.columns,
            background,
            self.cells,
            self.options,
            _as_they_are,
            self.unit,
        )
        suggested = self._suggested_cells(settled.table)
        table = self._chosen(self._with_unlooked(settled.table))
        return Reading(table, self.tally.report(self.images.duplicates(), settled.conflicts, suggested))

    def _suggested_cells(self, table: LabelTable) -> Suggested:
        """The suggestions of cells that the file itself does not decide."""
        row, column = (np.asarray(values, np.int64) for values in self._suggested[:2])
        probability = np.asarray(self._suggested[2], np.float64)
        cells = table.cells()
        decided = (cells.states != State.UNKNOWN) | (cells.sources == CellSource.UNSURE)
        stated = cells.image_index[decided] * len(table.classes) + cells.class_index[decided]
        left = ~np.isin(row * len(table.classes) + column, stated)
        return Suggested(table.images, table.classes, row[left], column[left], probability[left])

    def _with_unlooked(self, table: LabelTable) -> LabelTable:
        """Images that nobody has looked at are unknown also where unlisted cells are absent."""
        complete = np.flatnonzero(table.background == State.ABSENT)
        rows = np.unique(np.asarray(self._unlooked, np.int64))
        if not rows.size or not complete.size:
            return table
        if rows.size * complete.size > _SPELT_OUT_AT_MOST:
            raise LabelError(
                f"{self.path}: nobody has looked at {rows.size:,} of its images, too many to keep them apart from "
                f"those of which unlisted classes are absent; export the annotated ones alone, or leave --unlisted out"
            )
        keys = (rows[:, None] * len(table.classes) + complete).ravel()
        row, column = np.divmod(keys, len(table.classes))
        new = ~table.find(row, column)[1]
        cells = table.cells()
        return LabelTable.from_cells(
            table.images,
            table.classes,
            np.concatenate([cells.image_index, row[new]]),
            np.concatenate([cells.class_index, column[new]]),
            np.concatenate([cells.states, np.zeros(int(new.sum()), np.int8)]),
            np.concatenate([cells.sources, np.full(int(new.sum()), CellSource.IMPORT, np.int8)]),
            table.background,
        )

    def _chosen(self, table: LabelTable) -> LabelTable:
        wanted = self.options.classes
        if wanted is None:
            return table
        for name in wanted:
            if name not in table.class_positions:
                raise LabelError(f"{self.path} has no class {name!r}; {closest(name, table.classes)}")
        return table.select_classes(list(wanted))

    def _text(self, name: Any, what: str, record: int) -> str:
        if not isinstance(name, str) or not name:
            shown = (
                "missing"
                if name is None
                else "empty"
                if name == ""
                else f"{reprlib.repr(name)[:60]!r}, which is no text"
            )
            raise LabelError(
                f"{self.place(record)}: the name of {'an image' if what == 'image' else 'a class'} is {shown}"
            )
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LabelError(
                f"{self.place(record)}: the name {name!r} is no valid Unicode (half of a character)"
            ) from error
        return name


def _as_they_are(records: Iterable[int]) -> Mapping[int, int]:
    return {record: record for record in records}
