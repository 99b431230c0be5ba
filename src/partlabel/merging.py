"""Merging two label tables so that no image inherits a declaration that was not made for it."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import LabelError, UsageError
from partlabel.labels import Conflict, Int8Array, IntArray, LabelTable, Source, State
from partlabel.relations import Completed, Relations

_LISTED_WITHOUT_THOUGHT = 1_000_000
_DERIVED = (Source.RECOVERED, Source.IMPLIED)  # nobody stated these cells
_LISTED_AT_MOST = 20_000_000  # about 2 GB while they are merged


def merge(
    table: LabelTable, other: LabelTable, prefer: Literal["self", "other"] | None = None
) -> tuple[LabelTable, list[Conflict]]:
    """Union of two tables over the union of their images and classes.

    A known state beats an unknown one, and an unsure cell one that nobody was asked about. Where both know the same
    state, a cell that somebody stated beats one that was recovered or implied. Where one table says present
    and the other absent, `prefer` decides and the cell is reported; without `prefer` such a cell becomes unknown. An
    absent background stays one if it holds for every merged image; otherwise its cells are listed one by one, so that
    no image inherits a declaration that was not made for it. Where these would be more than a million, the background
    of a class stays absent and the unknown cells of the other images are listed instead, if they are fewer.

    Returns:
        The merged table and the conflicting cells, in row order.

    Raises:
        UsageError: `prefer` is something else.
        LabelError: too many cells would have to be listed.
    """
    if prefer not in {"self", "other", None}:
        raise UsageError(f"prefer {prefer!r} is not 'self', 'other' or None")
    images = (*table.images, *(name for name in other.images if name not in table.image_positions))
    classes = (*table.classes, *(name for name in other.classes if name not in table.class_positions))
    mine, theirs = _Placed(table, images, classes), _Placed(other, images, classes)
    common = _common_background(mine, theirs)
    background = _bounded_background(mine, theirs, common)
    withheld = background != common
    keys = np.unique(np.concatenate([part for placed in (mine, theirs) for part in placed.keys(background, withheld)]))
    rows, columns = np.divmod(keys, max(len(classes), 1))
    (state_a, source_a), (state_b, source_b) = mine.at(rows, columns), theirs.at(rows, columns)
    clash = state_a.astype(np.int16) * state_b == -1
    derived_a, derived_b = (np.isin(source, _DERIVED) for source in (source_a, source_b))
    take_other = (state_a == 0) & ((state_b != 0) | (source_b == Source.UNSURE)) | clash & (prefer == "other")
    take_other |= (state_a != 0) & (state_a == state_b) & derived_a & ~derived_b
    states = np.where(take_other, state_b, state_a)
    if prefer is None:
        states = np.where(clash, np.int8(0), states)
    merged = LabelTable.from_cells(
        images, classes, rows, columns, states, np.where(take_other, source_b, source_a), background
    )
    where = np.flatnonzero(clash)
    return merged, [Conflict(images[rows[i]], classes[columns[i]]) for i in where]


def merge_related(
    table: LabelTable, other: LabelTable, relations: Relations, prefer: Literal["self", "other"] | None = None
) -> tuple[LabelTable, list[Conflict]]:
    """Union of two tables, with what follows from the cells of both by relations.

    A cell of one table may contradict what follows from a cell of the other; that is a conflict as well. The preferred
    table keeps its cells and what follows from them, and what followed from a cell that has to give way does not follow
    any more.

    Returns:
        As `merge`; without `prefer`, where there are conflicts, what follows is left out.

    Raises:
        UsageError: `prefer` is something else.
        LabelError: the cells of one table contradict each other, or too many cells would have to be listed.
    """
    classes = (*table.classes, *(name for name in other.classes if name not in table.class_positions))
    mine, theirs = (_completed(one, classes, relations) for one in (table, other))
    merged, conflicts = merge(mine, theirs, prefer)
    if conflicts and prefer is None:
        return merged, conflicts
    if prefer == "self":
        settled, _ = merge(_as_stated(theirs, other, relations), mine, "other")
    else:
        settled, _ = merge(_as_stated(mine, table, relations), theirs, "other")
    settled = _without_contradictions(relations.completed(settled))
    return settled.select_images(merged.images).select_classes(merged.classes), conflicts


def _completed(table: LabelTable, classes: tuple[str, ...], relations: Relations) -> LabelTable:
    """A table with what follows from its cells, of classes that it may lack, too."""
    return _without_contradictions(
        relations.completed(merge(table, LabelTable.from_cells(table.images, classes, [], [], []))[0])
    )


def _without_contradictions(done: Completed) -> LabelTable:
    """A completed table.

    Raises:
        LabelError: known cells of it contradict each other, so that it lacks them.
    """
    if done.contradictions:
        raise LabelError(f"known cells of a table contradict its relations: {done.contradictions[0]}; correct them")
    return done.table


def _as_stated(table: LabelTable, before: LabelTable, relations: Relations) -> LabelTable:
    """A completed table in which the cells that its other cells imply are unknown again, unsure where they were so
    before; also where a class is declared absent, which had given way. Implied cells that nothing here implies stay.
    """
    own = table.cells()
    implied = own.sources == Source.IMPLIED
    again = relations.completed(_of_cells(table, ~implied)).table
    gone = implied & (again.states_at(own.image_index, own.class_index) == own.states)
    doubts = before.cells()
    doubtful = doubts.sources == Source.UNSURE
    column = np.array([table.class_positions[name] for name in before.classes], np.int64)
    keys = doubts.image_index[doubtful] * len(table.classes) + column[doubts.class_index[doubtful]]
    unsure = gone & np.isin(own.image_index * len(table.classes) + own.class_index, keys)
    sources = np.where(unsure, np.int8(Source.UNSURE), np.where(gone, np.int8(Source.IMPORT), own.sources))
    states = np.where(gone, np.int8(State.UNKNOWN), own.states)
    return LabelTable.from_cells(
        table.images, table.classes, own.image_index, own.class_index, states, sources, table.background
    )


def _of_cells(table: LabelTable, kept: NDArray[np.bool_]) -> LabelTable:
    """Some of the listed cells of a table; the others have the state of their background."""
    rows, columns, states, sources = (part[kept] for part in table.cells())
    return LabelTable.from_cells(table.images, table.classes, rows, columns, states, sources, table.background)


def without(table: LabelTable, cells: Iterable[Conflict]) -> LabelTable:
    """The table without some of its cells."""
    width = len(table.classes)
    keys = [table.image_positions[one.image] * width + table.class_positions[one.class_name] for one in cells]
    own = table.cells()
    return _of_cells(table, ~np.isin(own.image_index * width + own.class_index, keys))


class _Placed:
    """A table seen inside a larger set of images and classes, for merging."""

    def __init__(self, table: LabelTable, images: tuple[str, ...], classes: tuple[str, ...]) -> None:
        self.table = table
        self.width = len(classes)
        self.row = np.fromiter((table.image_positions.get(name, -1) for name in images), np.int64, len(images))
        self.column = np.fromiter((table.class_positions.get(name, -1) for name in classes), np.int64, len(classes))
        held = self.column >= 0
        self.background = np.zeros(len(classes), np.int8)
        self.background[held] = table.background[self.column[held]]

    def keys(self, background: Int8Array, withheld: NDArray[np.bool_]) -> Iterable[IntArray]:
        """Keys of the cells that must be listed: the table's own, those that only its own background says,
        and all cells of the classes of `withheld`.
        """
        outer_row = np.flatnonzero(self.row >= 0)
        inner_to_outer = np.empty(len(self.table), np.int64)
        inner_to_outer[self.row[outer_row]] = outer_row
        outer_column = np.flatnonzero(self.column >= 0)
        column_to_outer = np.empty(len(self.table.classes), np.int64)
        column_to_outer[self.column[outer_column]] = outer_column
        cells = self.table.cells()
        yield inner_to_outer[cells.image_index] * self.width + column_to_outer[cells.class_index]
        spelled_out = np.flatnonzero((self.background == State.ABSENT) & (background != State.ABSENT))
        yield (outer_row[:, None] * self.width + spelled_out[None, :]).ravel()
        own = np.flatnonzero(withheld & (self.background != State.ABSENT))
        yield (outer_row[:, None] * self.width + own[None, :]).ravel()

    def at(self, rows: IntArray, columns: IntArray) -> tuple[Int8Array, Int8Array]:
        """States and sources at cells of the larger table; unknown where this table does not reach."""
        states, sources = np.zeros(rows.size, np.int8), np.zeros(rows.size, np.int8)
        covered = (self.row[rows] >= 0) & (self.column[columns] >= 0)
        inner_rows, inner_columns = self.row[rows[covered]], self.column[columns[covered]]
        states[covered] = self.table.states_at(inner_rows, inner_columns)
        position, listed = self.table.find(inner_rows, inner_columns)
        if self.table.sources.size:
            sources[covered] = np.where(listed, self.table.sources[position], np.int8(Source.IMPORT))
        return states, sources


def _bounded_background(mine: _Placed, theirs: _Placed, common: Int8Array) -> Int8Array:
    """The common background, but absent for the classes where that lists fewer cells, if there are too many.

    Raises:
        LabelError: there are too many either way.
    """
    covered, others = np.zeros(mine.width, np.int64), np.zeros(mine.width, np.int64)
    for placed in (mine, theirs):
        declares, images = placed.background == State.ABSENT, int((placed.row >= 0).sum())
        covered += np.where(declares, images, 0)
        others += np.where(declares, 0, images)
    open_classes = (covered > 0) & (common != State.ABSENT)
    if covered[open_classes].sum() <= _LISTED_WITHOUT_THOUGHT:
        return common
    listed = int(np.minimum(covered, others)[open_classes].sum())
    if listed > _LISTED_AT_MOST:
        raise LabelError(
            f"{int(open_classes.sum()):,} classes are declared complete for a part of the images, so that {listed:,} "
            f"cells would have to be listed one by one; declare them complete in both tables, or in neither (without "
            f"--unlisted absent)"
        )
    return np.where(open_classes & (others < covered), np.int8(State.ABSENT), common)


def _common_background(mine: _Placed, theirs: _Placed) -> Int8Array:
    """Absent where the declaration holds for every merged image, else unknown."""
    holds = np.ones(mine.width, bool)
    only_mine, only_theirs = (theirs.row < 0).any(), (mine.row < 0).any()
    both = ((mine.row >= 0) & (theirs.row >= 0)).any()
    absent_mine, absent_theirs = mine.background == State.ABSENT, theirs.background == State.ABSENT
    if only_mine:
        holds &= absent_mine
    if only_theirs:
        holds &= absent_theirs
    if both:
        holds &= absent_mine | absent_theirs
    if not (only_mine or only_theirs or both):
        holds &= absent_mine | absent_theirs
    return np.where(holds, np.int8(State.ABSENT), np.int8(State.UNKNOWN))
