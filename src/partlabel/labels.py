"""LabelTable: images × classes in three states, the noun that everything else passes around.

A cell is present (+1), absent (-1) or unknown (0). Only *listed* cells are stored; a cell that no one listed has the
*background* state of its class, unknown unless the user declared the class complete (then absent).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError
from partlabel.indices import as_index, check_range, integers

Int8Array = NDArray[np.int8]
IntArray = NDArray[np.int64]


class State(IntEnum):
    """What is known of one (image, class) cell."""

    ABSENT = -1
    UNKNOWN = 0
    PRESENT = 1


class Source(IntEnum):
    """Where the state of a listed cell came from.

    `UNSURE` is of unknown cells alone: somebody was asked and could not decide. Such a cell is not asked again.
    """

    IMPORT = 0
    HUMAN = 1
    RECOVERED = 2
    REVIEW = 3
    IMPLIED = 4
    UNSURE = 5


class Cells(NamedTuple):
    """Listed cells as parallel arrays, sorted by image, then class."""

    image_index: IntArray
    class_index: IntArray
    states: Int8Array
    sources: Int8Array


class Counts(NamedTuple):
    """Number of present, absent and unknown cells, int64, per class or per image."""

    present: IntArray
    absent: IntArray
    unknown: IntArray


class Conflict(NamedTuple):
    """A cell that is present by one account and absent by the other."""

    image: str
    class_name: str


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Sparse, immutable table of tri-state labels in compressed rows.

    Build one with `from_cells` or `from_dense`; both check their input. Memory: 4 + 1 + 1 bytes a listed cell, 8 bytes
    an image, and the names.

    Args:
        images: unique image names, N of them, in the order of the rows.
        classes: unique class names, C of them, in the order of the columns.
        background: int8 `[C]`, the state of unlisted cells: 0 (unknown) or -1 (absent).
        row_starts: int64 `[N + 1]`; the listed cells of row i are `row_starts[i]:row_starts[i + 1]`.
        class_index: int32 `[L]`, ascending within a row.
        states: int8 `[L]`, in {-1, 0, +1}.
        sources: int8 `[L]`, `Source` codes.
    """

    images: tuple[str, ...]
    classes: tuple[str, ...]
    background: Int8Array
    row_starts: IntArray = field(repr=False)
    class_index: NDArray[np.int32] = field(repr=False)
    states: Int8Array = field(repr=False)
    sources: Int8Array = field(repr=False)

    def __post_init__(self) -> None:
        for array in (self.background, self.row_starts, self.class_index, self.states, self.sources):
            array.setflags(write=False)

    @classmethod
    def from_cells(
        cls,
        images: Iterable[str],
        classes: Iterable[str],
        image_index: ArrayLike,
        class_index: ArrayLike,
        states: ArrayLike,
        sources: ArrayLike | Source = Source.IMPORT,
        background: ArrayLike | State = State.UNKNOWN,
    ) -> Self:
        """Build a table from parallel arrays of listed cells, in any order.

        A cell listed twice with the same state is stored once (`UNSURE` beats other sources, else the first wins).
        Listed unknown cells are kept only where the background is absent or their source is `UNSURE`, because
        elsewhere they say nothing.

        Raises:
            LabelError: a name is repeated or empty, an index is out of range, a state is not -1, 0 or +1, a background
                is not 0 or -1, one cell is listed with two different states, or a known cell has the source `UNSURE`.
        """
        image_names, class_names = _unique_names(images, "image"), _unique_names(classes, "class")
        rows, columns = integers(image_index, "image").ravel(), integers(class_index, "class").ravel()
        values = np.asarray(states).ravel()
        if not rows.size == columns.size == values.size:
            raise LabelError(
                f"cell arrays differ in length: {rows.size} images, {columns.size} classes, {values.size} states"
            )
        if values.size and not np.isin(values, (-1, 0, 1)).all():
            wrong = values[~np.isin(values, (-1, 0, 1))][0]
            raise LabelError(f"state {wrong!r} is not -1 (absent), 0 (unknown) or +1 (present)")
        check_range(rows, len(image_names), "image")
        check_range(columns, len(class_names), "class")
        base = _background(background, len(class_names))
        values = values.astype(np.int8, copy=False)
        origin = _sources(sources, values.size)
        if (values[origin == Source.UNSURE] != State.UNKNOWN).any():
            raise LabelError("a cell of source unsure is present or absent; unsure is what nobody could decide")

        keys = rows * len(class_names) + columns
        if keys.size and not (keys[1:] > keys[:-1]).all():
            order = np.argsort(keys, kind="stable")
            keys, values, origin = keys[order], values[order], origin[order]
            repeated = np.flatnonzero(keys[1:] == keys[:-1])
            differing = repeated[values[repeated] != values[repeated + 1]]
            if differing.size:
                row, column = divmod(int(keys[differing[0]]), len(class_names))
                raise LabelError(
                    f"{differing.size} cell(s) are listed with different states, first: image {image_names[row]!r}, "
                    f"class {class_names[column]!r}"
                )
            first = np.ones(keys.size, bool)
            first[repeated + 1] = False
            unsure = keys[origin == Source.UNSURE]
            keys, values, origin = keys[first], values[first], origin[first]
            origin[np.searchsorted(keys, unsure)] = Source.UNSURE
            rows, columns = np.divmod(keys, max(len(class_names), 1))
        kept = (values != State.UNKNOWN) | (base[columns] != State.UNKNOWN) | (origin == Source.UNSURE)
        if not kept.all():
            rows, columns, values, origin = rows[kept], columns[kept], values[kept], origin[kept]
        starts = np.zeros(len(image_names) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(image_names)), out=starts[1:])
        return cls(image_names, class_names, base, starts, columns.astype(np.int32), values.copy(), origin.copy())

    @classmethod
    def from_dense(
        cls, images: Iterable[str], classes: Iterable[str], states: ArrayLike, source: Source = Source.IMPORT
    ) -> Self:
        """Build a table with an unknown background from a dense `[N, C]` array of -1, 0, +1."""
        dense = np.asarray(states)
        image_names, class_names = tuple(images), tuple(classes)
        if dense.shape != (len(image_names), len(class_names)):
            raise LabelError(
                f"states have shape {dense.shape}, but there are {len(image_names)} images and {len(class_names)} "
                f"classes"
            )
        rows, columns = np.nonzero(dense)
        return cls.from_cells(image_names, class_names, rows, columns, dense[rows, columns], source)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """(number of images, number of classes)."""
        return len(self.images), len(self.classes)

    @cached_property
    def image_positions(self) -> dict[str, int]:
        """Row of each image name."""
        return {name: row for row, name in enumerate(self.images)}

    @cached_property
    def class_positions(self) -> dict[str, int]:
        """Column of each class name."""
        return {name: column for column, name in enumerate(self.classes)}

    def rows(self, index: ArrayLike) -> Int8Array:
        """Dense states, int8 `[len(index), C]`, of the given rows (repeats allowed)."""
        chosen = integers(index, "image").ravel()
        check_range(chosen, len(self.images), "image")
        dense = np.repeat(self.background[None, :], chosen.size, axis=0)
        positions, row_of = self._positions(chosen)
        dense[row_of, self.class_index[positions]] = self.states[positions]
        return dense

    def open_rows(self, index: ArrayLike) -> NDArray[np.bool_]:
        """Which cells of the given rows may still be asked, bool `[len(index), C]`: unknown, and not unsure."""
        chosen = integers(index, "image").ravel()
        found = self.rows(chosen) == State.UNKNOWN
        positions, row_of = self._positions(chosen)
        unsure = self.sources[positions] == Source.UNSURE
        found[row_of[unsure], self.class_index[positions[unsure]]] = False
        return np.asarray(found)

    def decided_at(self, image_index: ArrayLike, class_index: ArrayLike) -> NDArray[np.bool_]:
        """Whether single cells need not be asked: they are known, or unsure."""
        rows, columns = integers(image_index, "image"), integers(class_index, "class")
        position, listed = self.find(rows, columns)
        unsure = listed & (self.sources[position] == Source.UNSURE) if self.sources.size else listed
        return np.asarray((self.states_at(rows, columns) != State.UNKNOWN) | unsure)

    @property
    def unsure(self) -> int:
        """How many cells somebody was asked about and could not decide."""
        return int((self.sources == Source.UNSURE).sum())

    def dense(self) -> Int8Array:
        """All states, int8 `[N, C]`. N·C bytes: meant for tables that fit in memory."""
        return self.rows(np.arange(len(self)))

    def cells(self) -> Cells:
        """All listed cells. 18 bytes a cell."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.row_starts))
        return Cells(rows, self.class_index.astype(np.int64), self.states, self.sources)

    def states_at(self, image_index: ArrayLike, class_index: ArrayLike) -> Int8Array:
        """States of single cells, int8, same length as the two index arrays."""
        rows, columns = integers(image_index, "image"), integers(class_index, "class")
        check_range(rows, len(self.images), "image")
        check_range(columns, len(self.classes), "class")
        position, listed = self.find(rows, columns)
        return np.where(
            listed, self.states[position] if self.states.size else np.int8(0), self.background[columns]
        ).astype(np.int8)

    def counts_by_class(self) -> Counts:
        """Present, absent and unknown cells of each class, int64 `[C]`."""
        by_state = [np.bincount(self.class_index[self.states == s], minlength=len(self.classes)) for s in (1, -1, 0)]
        unlisted = len(self) - sum(by_state)
        implied_absent = np.where(self.background == State.ABSENT, unlisted, 0)
        return Counts(by_state[0], by_state[1] + implied_absent, by_state[2] + unlisted - implied_absent)

    def counts_by_image(self) -> Counts:
        """Present, absent and unknown cells of each image, int64 `[N]`."""
        cells = self.cells()
        complete = self.background == State.ABSENT
        in_complete = complete[cells.class_index]
        present = np.bincount(cells.image_index[cells.states == 1], minlength=len(self))
        absent = np.bincount(cells.image_index[cells.states == -1], minlength=len(self))
        listed_complete = np.bincount(cells.image_index[in_complete], minlength=len(self))
        absent = absent + int(complete.sum()) - listed_complete
        return Counts(present, absent, len(self.classes) - present - absent)

    def select_images(self, images: ArrayLike | Sequence[str]) -> Self:
        """The table of the given images (names or row numbers), in the given order."""
        chosen = as_index(images, self.image_positions, "image")
        check_range(chosen, len(self.images), "image")
        positions, row_of = self._positions(chosen)
        return type(self).from_cells(
            [self.images[row] for row in chosen],
            self.classes,
            row_of,
            self.class_index[positions],
            self.states[positions],
            self.sources[positions],
            self.background,
        )

    def select_classes(self, classes: ArrayLike | Sequence[str]) -> Self:
        """The table of the given classes (names or column numbers), in the given order."""
        chosen = as_index(classes, self.class_positions, "class")
        check_range(chosen, len(self.classes), "class")
        new_column = np.full(len(self.classes), -1, np.int64)
        new_column[chosen] = np.arange(chosen.size)
        cells = self.cells()
        kept = new_column[cells.class_index] >= 0
        return type(self).from_cells(
            self.images,
            [self.classes[column] for column in chosen],
            cells.image_index[kept],
            new_column[cells.class_index[kept]],
            cells.states[kept],
            cells.sources[kept],
            self.background[chosen],
        )

    def without_recovered(self) -> Self:
        """The table with its recovered cells unknown: what measures may rest on."""
        cells = self.cells()
        recovered = cells.sources == Source.RECOVERED
        if not recovered.any():
            return self
        states = np.where(recovered, np.int8(State.UNKNOWN), cells.states)
        sources = np.where(recovered, np.int8(Source.IMPORT), cells.sources)
        return type(self).from_cells(
            self.images, self.classes, cells.image_index, cells.class_index, states, sources, self.background
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of names, their order and all states; neither sources nor whether a state was listed or implied
        count.
        """
        digest = hashlib.sha256(b"partlabel label table 1")
        for names in (self.images, self.classes):
            digest.update(len(names).to_bytes(8, "little"))
            for name in names:
                encoded = name.encode(errors="surrogatepass")
                digest.update(len(encoded).to_bytes(4, "little") + encoded)
        for array, kind in zip(self._canonical(), ("i1", "<i8", "<i4", "i1"), strict=True):
            digest.update(np.ascontiguousarray(array, kind).tobytes())
        return digest.hexdigest()

    def _canonical(self) -> tuple[Int8Array, IntArray, IntArray, Int8Array]:
        """A base state a class that follows from the states alone; rows, columns and states of the cells that differ
        from it.

        The base is absent where more than half of the cells are, so that no more than twice the listed cells come out.
        """
        base = np.where(2 * self.counts_by_class().absent > len(self), np.int8(State.ABSENT), np.int8(State.UNKNOWN))
        rebased = base != self.background
        differing = self.states != base[self.class_index]
        every = (np.arange(len(self))[:, None] * len(self.classes) + np.flatnonzero(rebased)).ravel()
        implied = np.setdiff1d(every, self._keys[rebased[self.class_index]], assume_unique=True)
        keys = np.concatenate([self._keys[differing], implied])
        rows, columns = np.divmod(keys, max(len(self.classes), 1))
        states = np.concatenate([self.states[differing], self.background[columns[differing.sum() :]]])
        order = np.argsort(keys, kind="stable")
        return base, rows[order], columns[order], states[order]

    def _positions(self, chosen: IntArray) -> tuple[IntArray, IntArray]:
        """Positions in the cell arrays of the chosen rows, and for each position its place in `chosen`."""
        starts, lengths = self.row_starts[chosen], self.row_starts[chosen + 1] - self.row_starts[chosen]
        row_of = np.repeat(np.arange(chosen.size), lengths)
        offset = np.arange(row_of.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(starts, lengths) + offset, row_of

    @cached_property
    def _keys(self) -> IntArray:
        rows = np.repeat(np.arange(len(self)), np.diff(self.row_starts))
        return rows * len(self.classes) + self.class_index

    def find(self, rows: IntArray, columns: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Position of each cell in the cell arrays, and whether it is listed there at all."""
        wanted = rows * len(self.classes) + columns
        position = np.minimum(np.searchsorted(self._keys, wanted), max(self._keys.size - 1, 0))
        return position, (self._keys[position] == wanted) if self._keys.size else np.zeros(wanted.shape, bool)


def _unique_names(names: Iterable[str], kind: str) -> tuple[str, ...]:
    unique = tuple(names)
    if len(set(unique)) != len(unique):
        seen: set[str] = set()
        repeated = next(name for name in unique if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise LabelError(f"{kind} name {repeated!r} appears more than once; names must be unique")
    if "" in set(unique):
        raise LabelError(f"an {kind} name is empty" if kind == "image" else f"a {kind} name is empty")
    return unique


def _background(background: ArrayLike | State, classes: int) -> Int8Array:
    states = np.asarray(background)
    if states.shape not in {(), (1,), (classes,)}:
        raise LabelError(f"background has shape {states.shape}, but there are {classes} classes")
    if not np.isin(states, (State.ABSENT, State.UNKNOWN)).all():
        raise LabelError("a background state is 0 (unknown) or -1 (absent); unlisted cells cannot be present")
    return np.broadcast_to(states, (classes,)).astype(np.int8)


def _sources(sources: ArrayLike | Source, cells: int) -> Int8Array:
    codes = np.asarray(sources)
    if codes.shape not in {(), (1,), (cells,)}:
        raise LabelError(f"sources have shape {codes.shape}, but there are {cells} cells")
    if not np.isin(codes, list(Source)).all():
        raise LabelError(
            f"source {codes[~np.isin(codes, list(Source))].flat[0]!r} is not a Source code, 0 to {max(Source)}"
        )
    return np.broadcast_to(codes.astype(np.int8), (cells,))
