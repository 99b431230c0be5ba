"""Labels with verdicts, and with what follows from both by relations between classes."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import Conflict, LabelTable, Source
from partlabel.merging import merge
from partlabel.relations import Relations
from partlabel.reviewing.source import completed_by


def with_implied(
    base: LabelTable, verdicts: LabelTable, relations: Relations, conflicts: Literal["fail", "unknown"]
) -> LabelTable:
    """A table with verdicts, and with what follows from both. A verdict counts for more than what is known.

    What followed from a known cell that a verdict makes its opposite does not follow any more.

    Args:
        base: what is known, complete by the relations.
        verdicts: cells that people decided or were unsure of.
        relations: between the classes.
        conflicts: what becomes of verdicts that contradict each other.

    Raises:
        LabelError: verdicts contradict each other, and `conflicts` is "fail".
    """
    settled = completed_by(relations, verdicts, conflicts)
    merged, _ = merge(_as_stated(base, relations), settled, "other")
    return relations.completed(merged).table


def without(table: LabelTable, cells: Iterable[Conflict]) -> LabelTable:
    """The table without some of its cells."""
    keys = [
        table.image_positions[one.image] * len(table.classes) + table.class_positions[one.class_name] for one in cells
    ]
    own = table.cells()
    return _of_cells(table, ~np.isin(own.image_index * len(table.classes) + own.class_index, keys))


def _as_stated(table: LabelTable, relations: Relations) -> LabelTable:
    """The table without implied cells that its other cells imply; those that nothing here implies stay."""
    own = table.cells()
    implied = own.sources == Source.IMPLIED
    again = relations.completed(_of_cells(table, ~implied)).table
    return _of_cells(table, ~implied | (again.states_at(own.image_index, own.class_index) != own.states))


def _of_cells(table: LabelTable, kept: NDArray[np.bool_]) -> LabelTable:
    """Some of the listed cells of a table; the others have the state of their background."""
    rows, columns, states, sources = (part[kept] for part in table.cells())
    return LabelTable.from_cells(table.images, table.classes, rows, columns, states, sources, table.background)
