"""Folds of cells: a keyed hash gives every cell, known or unknown, the fold whose model never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from partlabel.errors import UsageError
from partlabel.labels import Cells, IntArray, LabelTable, Source
from partlabel.masking.keyed import CellHash
from partlabel.runs.holdout import known_cells, some_cells, without_cells


@dataclass(frozen=True)
class CellFolds:
    """The fold of each cell, by the names of its image and its class alone.

    The model of a fold is trained with all cells of the fold unknown and scores all of them. So where cells are known
    by chance, the known cells of a fold are a random sample of the whole fold, scores and all.

    Args:
        images: names, N of them.
        classes: names, C of them.
        count: number of folds, 2 or more.
        seed: of the hash.

    Raises:
        UsageError: there are fewer than two folds.
    """

    images: Sequence[str]
    classes: Sequence[str]
    count: int
    seed: int

    def __post_init__(self) -> None:
        if self.count < 2:
            raise UsageError(f"{self.count} fold(s) of cells: cross-fitting needs 2 or more, such as 5")

    @cached_property
    def _hashes(self) -> CellHash:
        return CellHash.of(self.images, self.classes, seed=self.seed, purpose="folds of cells")

    def at(self, image_index: IntArray, class_index: IntArray) -> IntArray:
        """Folds of single cells, int64 in 0..count-1; the two index arrays broadcast against each other."""
        return (self._hashes.at(image_index, class_index) % np.uint64(self.count)).astype(np.int64)


def stated_cells(table: LabelTable) -> Cells:
    """The known cells that cross-fitting hides and judges by: those that somebody stated unasked.

    Recovered cells were chosen by a model, and reviewed ones were asked for because of their scores. Known by another
    rule than chance, they would make what is unknown look better than it is. Implied cells repeat what others say.
    """
    cells = known_cells(table)
    return some_cells(cells, ~np.isin(cells.sources, (Source.RECOVERED, Source.REVIEW, Source.IMPLIED)))


def stated_in(table: LabelTable, labels: LabelTable) -> LabelTable:
    """The stated cells of the labels that a run was trained on, as a table of the images and classes of another."""
    cells = stated_cells(labels)
    rows, columns = (
        np.array([mine.get(name, -1) for name in theirs], np.int64)
        for mine, theirs in ((table.image_positions, labels.images), (table.class_positions, labels.classes))
    )
    row, column = rows[cells.image_index], columns[cells.class_index]
    there = (row >= 0) & (column >= 0)
    return LabelTable.from_cells(table.images, table.classes, row[there], column[there], cells.states[there])


def without_fold(table: LabelTable, folds: CellFolds, number: int) -> LabelTable:
    """The labels that the model of one fold is trained on: without the stated cells of the fold, and without recovered
    ones, which were chosen by a model that knew these.
    """
    table = table.without_recovered()
    cells = stated_cells(table)
    return without_cells(table, cells, folds.at(cells.image_index, cells.class_index) == number)
