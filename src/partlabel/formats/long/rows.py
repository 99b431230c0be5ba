"""From the rows of a long file to names, declarations and cells."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from partlabel.errors import LabelError
from partlabel.formats.codes import UNSURE
from partlabel.formats.collect import CellList, ClassNames, refuse_no_image
from partlabel.formats.long.files import CsvFile, ParquetFile
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import LISTED_AT_MOST, SkippedRow, Tally
from partlabel.formats.text import cell_name
from partlabel.formats.uncoded import Uncoded
from partlabel.labels import IntArray, Source, State

EVERY_IMAGE = "*"
NO_NAME, EVERY_IMAGE_INDEX = -1, -2
_NO_CODE = 9
_REPEATED_AT_MOST = 5_000_000  # rows beyond twice the cells that there can be: a small file must not fill the memory


class Coded(NamedTuple):
    """A text column as codes into its distinct values, which stand in order of first appearance."""

    codes: IntArray
    values: list[str]

    def map(self, numbers: list[int]) -> IntArray:
        """One number per row, from one number per distinct value."""
        return np.asarray(numbers, np.int64)[self.codes] if numbers else np.empty(0, np.int64)


class LongRows:
    """Rows so far: names, declarations and cells."""

    def __init__(
        self, file: CsvFile | ParquetFile, options: ReadOptions, tally: Tally, *, trusted: bool = False
    ) -> None:
        self.trusted = trusted
        self.file, self.options, self.tally = file, options, tally
        self._rows: dict[str, int] = {"": NO_NAME, EVERY_IMAGE: EVERY_IMAGE_INDEX}
        self.classes = ClassNames(options.classes, trusted=trusted)
        self.declared: dict[int, State] = {}
        self.cells = CellList()
        self.uncoded = Uncoded(file.columns.path, options.code_map, file.unit)
        self._codes = options.code_map
        self._is_csv = isinstance(file, CsvFile)
        self._empty: list[IntArray] = []
        self._count = 0

    def add(self, batch: pa.RecordBatch, first: int) -> None:
        """Take the rows of a batch; the first one is record `first`."""
        batch, records = self._filtered(batch, first + np.arange(batch.num_rows))
        coded = {role: self._coded(batch, role) for role in self.file.roles}
        image = coded["image"].map(self._image_rows(coded["image"], records))
        class_index = coded["class"].map(self._class_columns(coded["class"], records))
        is_cell = (image >= 0) & (class_index >= 0)
        if not is_cell.all():
            self._add_declarations(image, class_index, coded["state"], records)
        states = self._states(coded["state"], is_cell, records)
        self._count += int(is_cell.sum())
        if self._count > _REPEATED_AT_MOST + 2 * len(self._rows) * len(self.classes.columns):
            raise LabelError(
                f"{self.file.columns.path} lists its cells again and again: {self._count:,} rows for "
                f"{len(self._rows):,} images and {len(self.classes.columns):,} classes; write each cell once"
            )
        sources = self._sources(coded["source"], is_cell, records) if "source" in coded else self._unsaid(is_cell)
        self._check_unsure(states, sources, is_cell, records)
        sources = self._with_unsure(coded["state"], sources)
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
        kept = _is_one_of(image, ["", EVERY_IMAGE])
        fits = np.ones(batch.num_rows, bool)
        for name, column in self.file.columns.where.items():
            values = batch.column(self.file.name(column))
            first = values.slice(0, 1000).cast(pa.string()).unique().to_pylist()
            self.tally.see(name, tuple(value.strip() for value in first))
            fits &= _is_one_of(values, [self.options.where[name]])
        kept |= fits
        self.tally.rows_filtered += int((~kept).sum())
        return batch.filter(pa.array(kept)), records[kept]

    def _coded(self, batch: pa.RecordBatch, role: str) -> Coded:
        column = batch.column(self.file.name(self.file.roles[role]))
        if pa.types.is_dictionary(column.type):
            used = column.indices.dictionary_encode()  # a dictionary of the file may have any order, and unused entries
            values = column.dictionary.take(used.dictionary).dictionary_encode()
            codes = values.indices.to_numpy()[used.indices.to_numpy()]
            return Coded(codes, values.dictionary.to_pylist())
        encoded = column.dictionary_encode()
        return Coded(encoded.indices.to_numpy(), encoded.dictionary.to_pylist())

    def _image_rows(self, coded: Coded, records: IntArray) -> list[int]:
        names = [*map(cell_name, coded.values)] if self._is_csv else coded.values
        rows = [*map(self._rows.get, names)]
        for code in [code for code, row in enumerate(rows) if row is None]:
            if not self.trusted:
                refuse_no_image(names[code], partial(self._first_place, coded, code, records))
            rows[code] = self._rows.setdefault(names[code], len(self._rows) - 2)
        return rows  # type: ignore[return-value]

    def _class_columns(self, coded: Coded, records: IntArray) -> list[int]:
        names = [cell_name(name.strip()) for name in coded.values] if self._is_csv else coded.values
        return [
            self.classes.column(name, partial(self._first_place, coded, code, records)) if name else NO_NAME
            for code, name in enumerate(names)
        ]

    def _first_place(self, coded: Coded, code: int, records: IntArray) -> str:
        return self._place(records[np.argmax(coded.codes == code)])

    def _states(self, coded: Coded, is_cell: NDArray[np.bool_], records: IntArray) -> IntArray:
        """States of the rows; values without a code are noted, and end the reading when all are known."""
        found = [self._codes.state(value) for value in coded.values]
        states = coded.map([_NO_CODE if state is None else int(state) for state in found])
        wrong = np.flatnonzero(is_cell & (states == _NO_CODE))
        numbers, first, counts = np.unique(coded.codes[wrong], return_index=True, return_counts=True)
        column = self.file.columns.names[self.file.roles["state"]]
        for number, at, count in zip(numbers.tolist(), first.tolist(), counts.tolist(), strict=True):
            self.uncoded.add(column, coded.values[number], count, int(records[wrong[at]]))
        states[wrong] = State.UNKNOWN
        return states

    @property
    def _default_source(self) -> Source:
        """The source of cells without one: a file with the columns of suggestions holds what a model recovered."""
        return Source.RECOVERED if {"probability", "rule"} <= set(self.file.columns.names) else Source.IMPORT

    def _unsaid(self, is_cell: NDArray[np.bool_]) -> IntArray | None:
        default = self._default_source
        return None if default is Source.IMPORT else np.full(is_cell.size, int(default), np.int64)

    def _sources(self, coded: Coded, is_cell: NDArray[np.bool_], records: IntArray) -> IntArray:
        names = {"": self._default_source, **{source.name.casefold(): source for source in Source}}
        sources = coded.map([names.get(value.strip().casefold(), _NO_CODE) for value in coded.values])
        wrong = np.flatnonzero(is_cell & (sources == _NO_CODE))
        if wrong.size:
            value, place = coded.values[coded.codes[wrong[0]]], self._place(records[wrong[0]], "source")
            raise LabelError(
                f"{place}: source {value!r} is not {', '.join(list(names)[1:])}; or leave it out: --ignore source"
            )
        return sources

    def _check_unsure(
        self, states: IntArray, sources: IntArray | None, is_cell: NDArray[np.bool_], records: IntArray
    ) -> None:
        odd = np.zeros(is_cell.size, bool) if sources is None else is_cell & (sources == Source.UNSURE) & (states != 0)
        wrong = np.flatnonzero(odd)
        if wrong.size:
            raise LabelError(
                f"{self._place(records[wrong[0]], 'source')}: unsure is what nobody could decide, and the state is not "
                f"unknown; correct one of them"
            )

    def _with_unsure(self, state: Coded, sources: IntArray | None) -> IntArray | None:
        """The sources, unsure where the state says so itself."""
        said = [self._codes.word(value) == UNSURE for value in state.values]
        if not any(said):
            return sources
        before = np.full(state.codes.size, int(Source.IMPORT), np.int64) if sources is None else sources
        return np.where(state.map([int(one) for one in said]) == 1, int(Source.UNSURE), before)

    def _add_declarations(self, image: IntArray, class_index: IntArray, state: Coded, records: IntArray) -> None:
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
        state = self._codes.state(value)
        if state is None:
            self.uncoded.add(self.file.columns.names[self.file.roles["state"]], value, 1, record)
            return
        unsure = self._codes.word(value) == UNSURE
        if state == State.PRESENT or unsure or self.declared.setdefault(column, state) != state:
            raise LabelError(
                f"{self._place(record)}: a row for every image ('*') says once whether unlisted cells are absent or "
                f"unknown, not {'present' if state == State.PRESENT else UNSURE if unsure else 'both'}"
            )

    def _place(self, record: int, role: str | None = None) -> str:
        """File and line, with a role also the column, for messages."""
        place = f"{self.file.columns.path}, {self.file.unit} {self.file.lines([int(record)])[int(record)]}"
        return place if role is None else f"{place}, column {self.file.columns.names[self.file.roles[role]]!r}"


def _is_one_of(column: pa.Array, wanted: list[str]) -> NDArray[np.bool_]:
    """Which texts of a column, white space around them aside, are among the wanted ones."""
    if pa.types.is_dictionary(column.type):
        distinct = _is_one_of(column.dictionary, wanted)
        return np.asarray(distinct[column.indices.to_numpy()], bool)
    found = pa.compute.is_in(pa.compute.utf8_trim_whitespace(column), pa.array(wanted))
    return np.array(found.to_numpy(zero_copy_only=False), bool)
