"""Known and unknown cells of a group of classes, and how large a sample the known ones are."""

from typing import NamedTuple

import numpy as np

from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells
from partlabel.labels import IntArray
from partlabel.recovery.design import Design


class Aside(NamedTuple):
    """Cells that were decided by another way than chance: recovered, reviewed, or known since the training.

    Args:
        probability: float64 `[A]`, of the state that is suggested.
        class_index: int64 `[A]`.
        right: bool `[A]`, whether they have that state; of what a model recovered taken for granted.
    """

    probability: FloatArray
    class_index: IntArray
    right: BoolArray

    @classmethod
    def none(cls) -> "Aside":
        """No such cell."""
        return cls(np.empty(0), np.empty(0, np.int64), np.empty(0, bool))


class Unknown(NamedTuple):
    """Unknown cells that may be suggested, U of them.

    Args:
        probability: float64 `[U]`, of the state that is suggested.
        class_index: int64 `[U]`.
        of_class: int64 `[C]`, all unknown cells of each class, whatever their probability.
        aside: cells that are known, but not by chance; none by default.
    """

    probability: FloatArray
    class_index: IntArray
    of_class: IntArray
    aside: Aside = Aside.none()


class Sample(NamedTuple):
    """Known and unknown cells of a group that may be accepted, each the most probable first.

    Args:
        probability: float64 `[n]`, of the known cells.
        right: bool `[n]`.
        column: int64 `[n]`, their class.
        image: int64 `[n]`, their image.
        unknown: float64 `[m]`, of the unknown cells.
        unknown_column: int64 `[m]`, their class.
        aside: float64 `[a]`, of the cells decided by another way.
        aside_right: bool `[a]`, which of these are right.
        weight: float64 `[C]`, how many unknown cells of its class a known one stands for.
        design: how the known cells came to be known.
    """

    probability: FloatArray
    right: BoolArray
    column: IntArray
    image: IntArray
    unknown: FloatArray
    unknown_column: IntArray
    aside: FloatArray
    aside_right: BoolArray
    weight: FloatArray
    design: Design

    @classmethod
    def by_group(
        cls,
        cells: ScoredCells,
        right: BoolArray,
        probability: FloatArray,
        unknown: Unknown,
        group: IntArray,
        groups: int,
        lowest: float,
        design: Design,
    ) -> list["Sample"]:
        """A sample of each group, from a probability on.

        Args:
            cells: K known cells of C classes.
            right: bool `[K]`, which of them have the suggested state.
            probability: float64 `[K]`, of that state.
            unknown: cells that may be suggested.
            group: int64 `[C]`, the group of each class, from 0; -1 for none.
            groups: how many there are.
            lowest: probability.
            design: how the known cells came to be known.
        """
        image = cells.image_index if cells.image_index.size else np.arange(probability.size)
        weight = unknown.of_class / np.maximum(np.bincount(cells.class_index, minlength=len(cells.classes)), 1)
        apart = unknown.aside
        parts = (
            _of_groups(one, column, group, groups, lowest)
            for one, column in (
                (probability, cells.class_index),
                (unknown.probability, unknown.class_index),
                (apart.probability, apart.class_index),
            )
        )
        return [
            cls(
                probability[mine],
                right[mine],
                cells.class_index[mine],
                image[mine],
                unknown.probability[theirs],
                unknown.class_index[theirs],
                apart.probability[others],
                apart.right[others],
                weight,
                design,
            )
            for mine, theirs, others in zip(*parts, strict=True)
        ]

    def aside_above(self, limit: float) -> tuple[int, int]:
        """Cells decided by another way at or above a threshold, and how many of them are right."""
        count = int(np.searchsorted(-self.aside, -limit, side="right"))
        return count, int(self.aside_right[:count].sum())

    def effective(self, known: int, unknown: int, target: float) -> tuple[float, float]:
        """Size of the effective sample at a threshold, and how many of it are right.

        Cells that stand for many unknown ones, and images whose cells err together, make it smaller by as much as
        their misses show; see `weighted` for what classes that were missed altogether take away.

        Args:
            known: accepted known cells.
            unknown: accepted unknown cells.
            target: precision whose refusal is tested.
        """
        right, size = self.right[:known].astype(np.float64), self.weighted(known, unknown)
        if not (self.design.by_image or self.design.by_class):
            return size, float(right.sum())
        weight = self.weight[self.column[:known]] if self.design.by_class else np.ones(known)
        residual = weight * (right - target)
        alone = max(float((residual**2).sum()), 1e-12)
        size = min(size, float(weight.sum() * (residual * (right - target)).sum()) / alone)
        if self.design.by_image:
            sums = np.bincount(np.unique(self.image[:known], return_inverse=True)[1], weights=residual)
            size *= min(alone / max(float((sums**2).sum()), 1e-12), 1.0)
        return size, size * float((weight * right).sum()) / max(float(weight.sum()), 1e-12)

    def weighted(self, known: int, unknown: int) -> float:
        """Size of the effective sample as far as the rates of classes make it; no state has a part in it.

        It is that of a sample by class of the accepted unknown cells, so that a class without an accepted known cell,
        for which many would be needed, makes it smaller too.
        """
        if not (self.design.by_class and unknown):
            return float(known)
        return min(unknown**2 / max(float(self.weight[self.unknown_column[:unknown]].sum()), 1e-12), float(known))


def _of_groups(
    probability: FloatArray, column: IntArray, group: IntArray, groups: int, lowest: float
) -> list[IntArray]:
    """The cells of each group from a probability on, the most probable first."""
    mine = group[column]
    chosen = np.flatnonzero((mine >= 0) & (probability >= lowest))
    order = chosen[np.lexsort((-probability[chosen], mine[chosen]))]
    return np.split(order, np.searchsorted(mine[order], np.arange(1, groups)))[:groups]
