"""From the rows of a long file to names, declarations and cells."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from partlabel.errors import LabelError
from partlabel.formats.collect import CellList, ClassNames
from partlabel.formats.long_files import CsvFile, ParquetFile
from partlabel.formats.reading import LISTED_AT_MOST, ReadOptions, SkippedRow, Tally
from partlabel.labels import IntArray, Source, State

EVERY_IMAGE = "*"
NO_NAME, EVERY_IMAGE_INDEX = -1, -2
_NO_CODE = 9


class _Coded(NamedTuple):
    """A text column as codes into its distinct values, which stand in order of first appearance."""

    codes: IntArray
    values: list[str]

    def map(self, numbers: list[int]) -> IntArray:
        """One number a row, from one number a distinct value."""
        return np.asarray(numbers, np.int64)[self.codes] if numbers else np.empty(0, np.int64)


class LongRows:
    """Rows so far: names, declarations and cells."""

    def __init__(self, file: CsvFile | ParquetFile, options: ReadOptions, tally: Tally) -> None:
        self.file, self.options, self.tally = file, options, tally
        self._rows: dict[str, int] = {"": NO_NAME, EVERY_IMAGE: EVERY_IMAGE_INDEX}
        self.classes = ClassNames(options.classes)
        self.declared: dict[int, State] = {}
        self.cells = CellList()
        self._empty: list[IntArray] = []

    def add(self, batch: pa.RecordBatch, first: int) -> None:
        """Take the rows of a batch; the first one is record `first`."""
        batch, records = self._filtered(batch, first + np.arange(batch.num_rows))
        coded = {role: self._coded(batch, role) for role in self.file.roles}
        image = coded["image"].map(self._image_rows(coded["image"].values))
        class_index = coded["class"].map(self._class_columns(coded["class"], records))
        is_cell = (image >= 0) & (class_index >= 0)
        if not is_cell.all():
            self._add_declarations(image, class_index, coded["state"], records)
        states = self._states(coded["state"], is_cell, records)
        sources = self._sources(coded["source"], is_cell, records) if "source" in coded else None
        if is_cell.all():
            self.cells.add(image, class_index, states, records, sources)
        else:
            kept = None if sources is None else sources[is_cell]
            self.cells.add(image[is_cell], class_index[is_cell], states[is_cell], records[is_cell], kept)

    def take_images(self) -> tuple[str, ...]:
        """The image names by row; they are forgotten here."""
        images = tuple(self._rows)[2:]
        self._rows.clear()
        return images

    def note_skipped(self) -> None:
        """Tell the tally which rows were empty; once for all, because finding their lines reads the file again."""
        empty = np.concatenate([np.empty(0, np.int64), *self._empty])
        lines = self.file.lines(empty[:LISTED_AT_MOST].tolist())
        self.tally.rows_skipped = empty.size
        self.tally.skipped = [SkippedRow(line, "image, class and state are empty") for line in sorted(lines.values())]

    def _filtered(self, batch: pa.RecordBatch, records: IntArray) -> tuple[pa.RecordBatch, IntArray]:
        if not self.options.where:
            return batch, records
        image = batch.column(self.file.name(self.file.roles["image"]))
        kept = pa.compute.is_in(image, pa.array(["", EVERY_IMAGE])).to_numpy(zero_copy_only=False).copy()
        fits = np.ones(batch.num_rows, bool)
        for name, column in self.file.columns.where.items():
            values = pa.compute.utf8_trim_whitespace(batch.column(self.file.name(column)))
            self.tally.see(name, tuple(values.slice(0, 1000).unique().to_pylist()))
            fits &= pa.compute.equal(values, self.options.where[name]).to_numpy(zero_copy_only=False)
        kept |= fits
        self.tally.rows_filtered += int((~kept).sum())
        return batch.filter(pa.array(kept)), records[kept]

    def _coded(self, batch: pa.RecordBatch, role: str) -> _Coded:
        encoded = batch.column(self.file.name(self.file.roles[role])).dictionary_encode()
        return _Coded(encoded.indices.to_numpy(), encoded.dictionary.to_pylist())

    def _image_rows(self, names: list[str]) -> list[int]:
        rows = [*map(self._rows.get, names)]
        for place in [place for place, row in enumerate(rows) if row is None]:
            rows[place] = self._rows[names[place]] = len(self._rows) - 2
        return rows  # type: ignore[return-value]

    def _class_columns(self, coded: _Coded, records: IntArray) -> list[int]:
        def place(code: int) -> str:
            return self._place(records[np.argmax(coded.codes == code)])

        return [
            self.classes.column(name, partial(place, code)) if name else NO_NAME
            for code, name in enumerate(coded.values)
        ]

    def _states(self, coded: _Coded, is_cell: NDArray[np.bool_], records: IntArray) -> IntArray:
        found = [self.options.codes.state(value) for value in coded.values]
        states = coded.map([_NO_CODE if state is None else int(state) for state in found])
        uncoded = np.flatnonzero(is_cell & (states == _NO_CODE))
        if uncoded.size:
            value = coded.values[coded.codes[uncoded[0]]]
            raise self.options.codes.refusal(value, self._place(records[uncoded[0]], "state"))
        return states

    def _sources(self, coded: _Coded, is_cell: NDArray[np.bool_], records: IntArray) -> IntArray:
        names = {"": Source.IMPORT, **{source.name.casefold(): source for source in Source}}
        sources = coded.map([names.get(value.strip().casefold(), _NO_CODE) for value in coded.values])
        wrong = np.flatnonzero(is_cell & (sources == _NO_CODE))
        if wrong.size:
            value, place = coded.values[coded.codes[wrong[0]]], self._place(records[wrong[0]], "source")
            raise LabelError(
                f"{place}: source {value!r} is not import, human, recovered or review; or leave it out: --ignore source"
            )
        return sources

    def _add_declarations(self, image: IntArray, class_index: IntArray, state: _Coded, records: IntArray) -> None:
        """Check the rows that are no cells, and note what they declare."""
        blank = state.map([int(not value.strip()) for value in state.values]) == 1
        wrong = np.flatnonzero(((image == NO_NAME) | (class_index == NO_NAME)) & (image != EVERY_IMAGE_INDEX) & ~blank)
        if wrong.size:
            missing = " and ".join(
                name for name, index in (("image", image), ("class", class_index)) if index[wrong[0]] == NO_NAME
            )
            raise LabelError(
                f"{self._place(records[wrong[0]])} has a state, but no {missing}; a row without one declares the "
                f"other, and then its state is empty"
            )
        self._empty.append(records[(image == NO_NAME) & (class_index == NO_NAME)])
        for row in np.flatnonzero(image == EVERY_IMAGE_INDEX):
            self._declare(int(class_index[row]), state.values[state.codes[row]], int(records[row]))

    def _declare(self, column: int, value: str, record: int) -> None:
        """Note the state of unlisted cells of a class."""
        if column == NO_NAME:
            raise LabelError(f"{self._place(record)}: a row for every image ('*') names a class; this one does not")
        state = self.options.codes.state(value)
        if state is None:
            raise self.options.codes.refusal(value, self._place(record, "state"))
        if state == State.PRESENT or self.declared.setdefault(column, state) != state:
            raise LabelError(
                f"{self._place(record)}: a row for every image ('*') says once whether unlisted cells are absent or "
                f"unknown, not {'present' if state == State.PRESENT else 'both'}"
            )

    def _place(self, record: int, role: str | None = None) -> str:
        """File and line, with a role also the column, for messages."""
        place = f"{self.file.columns.path}, {self.file.unit} {self.file.lines([int(record)])[int(record)]}"
        return place if role is None else f"{place}, column {self.file.columns.names[self.file.roles[role]]!r}"
