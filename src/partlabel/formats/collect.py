"""From listed cells in file order to a table: duplicates are kept once, contradictions settled by the user's rule."""

from array import array
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import LabelError
from partlabel.formats.header import closest
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import LISTED_AT_MOST, ConflictingCell, Duplicate
from partlabel.labels import Int8Array, IntArray, LabelTable, Source, State
from partlabel.names import not_a_name

Int32Array = NDArray[np.int32]
Integers = NDArray[np.integer[Any]]
FindLines = Callable[[Iterable[int]], Mapping[int, int]]


class Cells(NamedTuple):
    """Listed cells as parallel arrays; `records` says which record of the file each one is from."""

    image_index: Int32Array
    class_index: Int32Array
    states: Int8Array
    sources: Int8Array
    records: Int32Array

    def at(self, order: IntArray) -> "Cells":
        """The cells at these positions."""
        return Cells(
            self.image_index[order],
            self.class_index[order],
            self.states[order],
            self.sources[order],
            self.records[order],
        )


class CellList:
    """Cells as they are read: 14 bytes each."""

    def __init__(self) -> None:
        self._chunks: list[Cells] = []

    def add(
        self,
        image_index: Integers,
        class_index: Integers,
        states: Integers,
        records: Integers,
        sources: Integers | None = None,
    ) -> None:
        """Append cells; without sources they are imported ones."""
        origin = np.full(image_index.size, Source.IMPORT) if sources is None else sources
        self._chunks.append(
            Cells(
                image_index.astype(np.int32),
                class_index.astype(np.int32),
                states.astype(np.int8),
                origin.astype(np.int8),
                records.astype(np.int32),
            )
        )

    def take(self) -> Cells:
        """All cells; the list is empty afterwards, so that they are held once."""
        chunks, self._chunks = self._chunks, []
        kinds = (np.int32, np.int32, np.int8, np.int8, np.int32)
        columns = list(zip(*chunks, strict=True)) or [()] * len(kinds)
        chunks.clear()
        return Cells(*(np.concatenate([*columns.pop(0), np.empty(0, kind)]) for kind in kinds))


class ClassNames:
    """Columns of the classes in order of first appearance, or the user's fixed list.

    Args:
        chosen: the fixed list, if there is one.
        trusted: take every text as a name.
        accepted: texts that are names, whatever they look like.
    """

    def __init__(self, chosen: Iterable[str] | None, *, trusted: bool = False, accepted: Iterable[str] = ()) -> None:
        self.fixed, self.trusted, self.accepted = chosen is not None, trusted, frozenset(accepted)
        self.columns: dict[str, int] = {name: column for column, name in enumerate(chosen or ())}
        self._spelt: dict[str, str] = {}

    def column(self, name: str, place: Callable[[], str]) -> int:
        """Column of a class, new where the list is not fixed; `place` names file and line.

        Raises:
            LabelError: the list is fixed and does not hold the class, or the text is no name.
        """
        found = self.columns.get(name)
        if found is not None and not self._spelt:
            return found
        if self.fixed:
            return self._chosen(name, place)
        if not self.trusted and name not in self.accepted:
            refuse_no_class(name, place)
        return self.columns.setdefault(name, len(self.columns))

    def check_cell(self, cell: str, place: Callable[[], str]) -> None:
        """Refuse a cell that is to be split into names, where a program wrote it for a list or a missing value."""
        if cell not in self.columns:
            refuse_no_class(cell, place)

    def _chosen(self, name: str, place: Callable[[], str]) -> int:
        """A class of the fixed list, which outer white space of the file does not hide."""
        known = name if name in self.columns else name.strip()
        if known not in self.columns:
            refuse_no_class(name, place)
            raise LabelError(f"{place()}: class {name!r} is not among the given classes; {closest(name, self.columns)}")
        if name != known and self._spelt.setdefault(known, name) != name:
            raise LabelError(
                f"{place()}: classes {self._spelt[known]!r} and {name!r} differ by outer white space, so that the "
                f"given class {known!r} means both; rename one"
            )
        return self.columns[known]


class ImageRows:
    """Row of each image in order of first appearance, and the images that have several lines.

    Args:
        path: the file, for messages.
        unit: what stands where an image is named, for messages.
    """

    def __init__(self, path: Path, unit: str = "line") -> None:
        self.path, self.unit = path, unit
        self.rows: dict[str, int] = {}
        self._first_line = array("q")
        self._repeated: dict[str, list[int]] = {}

    def row(self, name: str, line: int) -> int:
        """Row of the image on this line.

        Raises:
            LabelError: the text is no name.
        """
        row = self.rows.get(name)
        if row is None:
            refuse_no_image(name, lambda: f"{self.path}, {self.unit} {line}")
            row = self.rows[name] = len(self.rows)
            self._first_line.append(line)
        else:
            self._repeated.setdefault(name, [self._first_line[row]]).append(line)
        return row

    def duplicates(self) -> tuple[int, list[Duplicate]]:
        """Number of images with several lines, and the first of them."""
        first = list(self._repeated.items())[:LISTED_AT_MOST]
        return len(self._repeated), [Duplicate(name, None, tuple(lines)) for name, lines in first]


def refuse_no_class(text: str, place: Callable[[], str]) -> None:
    """Refuse what a program wrote for a value that it could not write, where a class should be named.

    Raises:
        LabelError: the text is such.
    """
    kind = not_a_name(text)
    if kind == "missing":
        raise LabelError(
            f"{place()}: {text!r} stands for a missing value and names no class; leave the cell empty, or list all "
            f"classes with --classes if one of them is called so"
        )
    if kind == "list":
        raise LabelError(
            f"{place()}: {_short(text)} is a list that a program wrote as text, and names no class; write bare names "
            f"with ';' between them (cat;dog), nothing for an empty list, or JSON Lines"
        )


def refuse_no_image(text: str, place: Callable[[], str]) -> None:
    """Refuse what a program wrote for a value that it could not write, where an image should be named.

    Raises:
        LabelError: the text is such.
    """
    kind = not_a_name(text)
    if kind is not None:
        what = "stands for a missing value" if kind == "missing" else "is a list that a program wrote as text"
        raise LabelError(
            f"{place()}: {_short(text)} {what} and names no image; write the name of the image, or delete the row"
        )


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def in_order(class_index: Integers, classes: int) -> bool:
    """Whether all classes appear, and for the first time in the order of their columns."""
    _, first = np.unique(class_index, return_index=True)
    return first.size == classes and bool((np.diff(first) > 0).all())


class Settled(NamedTuple):
    """A table, and what was found on the way: full counts and first cases."""

    table: LabelTable
    duplicates: tuple[int, list[Duplicate]]
    conflicts: tuple[int, list[ConflictingCell]]


def settle(
    path: Path,
    images: Iterable[str],
    classes: Iterable[str],
    background: Int8Array | State,
    cells: CellList,
    options: ReadOptions,
    find_lines: FindLines,
    unit: str = "line",
) -> Settled:
    """Make the table, in whatever order cells come: known beats unsure, and unsure beats unknown.

    A cell that is listed as present and as absent is a conflict.

    Args:
        path: the file, for messages.
        images: image names by row.
        classes: class names by column.
        background: state of unlisted cells, one or `[C]`.
        cells: what was listed; emptied.
        options: `conflicts` says whether a conflict fails or leaves the cell unknown.
        find_lines: maps records to lines.
        unit: what these lines are, for messages.

    Raises:
        LabelError: cells conflict, and `conflicts` is "fail".
    """
    names = tuple(images), tuple(classes)
    listed = cells.take()
    keys = listed.image_index * np.int64(len(names[1])) + listed.class_index
    if keys.size and not (keys[1:] > keys[:-1]).all():
        order = np.argsort(keys, kind="stable")
        keys, listed = keys[order], listed.at(order)
        del order
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if keys.size else np.empty(0, np.int64)
    repeats = _Repeats(names, listed, starts, find_lines) if starts.size < keys.size else None
    del keys
    if repeats is None:
        table = LabelTable.from_cells(*names, *listed[:4], background)
        return Settled(table, (0, []), (0, []))
    if repeats.conflicting.size and options.conflicts == "fail":
        raise repeats.refusal(path, unit)
    table = LabelTable.from_cells(*names, *repeats.resolved(), background)
    return Settled(table, repeats.duplicates(), repeats.conflicts())


class _Repeats:
    """Sorted cells, some of them listed several times: group g is `starts[g]:ends[g]`."""

    def __init__(
        self, names: tuple[tuple[str, ...], ...], cells: Cells, starts: IntArray, find_lines: FindLines
    ) -> None:
        self.images, self.classes = names
        self.cells, self.starts, self.find_lines = cells, starts, find_lines
        self.ends = np.append(starts[1:], cells.states.size)
        self.highest = np.maximum.reduceat(cells.states, starts)
        self.lowest = np.minimum.reduceat(cells.states, starts)
        self.clash = (self.highest == State.PRESENT) & (self.lowest == State.ABSENT)
        self.conflicting = np.flatnonzero(self.clash)

    def resolved(self) -> tuple[Int32Array, Int32Array, Int8Array, Int8Array]:
        """One cell a group: known beats unsure, unsure beats unknown, and a conflict is unknown.

        The source is that of the first cell that counts.
        """
        known = np.where(self.highest == State.PRESENT, self.highest, self.lowest)
        states = np.where(self.clash, np.int8(State.UNKNOWN), known)
        group = np.repeat(np.arange(self.starts.size), self.ends - self.starts)
        weight = np.int8(2) * (self.cells.states != State.UNKNOWN) + (self.cells.sources == Source.UNSURE)
        fitting = np.flatnonzero(weight == np.maximum.reduceat(weight, self.starts)[group])
        _, first = np.unique(group[fitting], return_index=True)
        chosen = fitting[first]
        return self.cells.image_index[chosen], self.cells.class_index[chosen], states, self.cells.sources[chosen]

    def duplicates(self) -> tuple[int, list[Duplicate]]:
        """Cells listed several times without conflict."""
        groups = np.flatnonzero((self.ends - self.starts > 1) & ~self.clash)
        return groups.size, [Duplicate(*found) for found in self._places(groups[:LISTED_AT_MOST])]

    def conflicts(self) -> tuple[int, list[ConflictingCell]]:
        """Cells that are both present and absent."""
        return self.conflicting.size, [
            ConflictingCell(*found) for found in self._places(self.conflicting[:LISTED_AT_MOST])
        ]

    def _places(self, groups: IntArray) -> list[tuple[str, str, tuple[int, ...]]]:
        records = [self.cells.records[self.starts[group] : self.ends[group]].tolist() for group in groups]
        lines = self.find_lines({record for some in records for record in some})
        cells = self.cells
        return [
            (
                self.images[cells.image_index[at]],
                self.classes[cells.class_index[at]],
                tuple(sorted(lines[r] for r in some)),
            )
            for at, some in zip(self.starts[groups], records, strict=True)
        ]

    def refusal(self, path: Path, unit: str) -> LabelError:
        """The error that names the first conflicts, with the first lines that say so."""
        groups = self.conflicting[:3]
        wanted = []
        for group in groups:
            here = slice(self.starts[group], self.ends[group])
            states, records = self.cells.states[here], self.cells.records[here]
            wanted.append((int(records[states == State.PRESENT][0]), int(records[states == State.ABSENT][0])))
        lines = self.find_lines({record for pair in wanted for record in pair})
        cases = "; ".join(
            f"image {self.images[self.cells.image_index[at]]!r}, class {self.classes[self.cells.class_index[at]]!r} "
            f"is present on {unit} {lines[present]} and absent on {unit} {lines[absent]}"
            for at, (present, absent) in zip(self.starts[groups], wanted, strict=True)
        )
        return LabelError(
            f"{path}: {self.conflicting.size} cell(s) contradict themselves: {cases}; correct them, or use "
            f"--conflicts unknown to make such cells unknown"
        )
