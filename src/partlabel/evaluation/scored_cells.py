"""Known cells with the score that a model gave each: what choices, thresholds and probabilities rest on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError, NotFiniteError
from partlabel.evaluation.average_precision import RankingMeasures, ranking_of_columns
from partlabel.evaluation.cells import Column, mean_over
from partlabel.evaluation.thresholds import BestThresholds, best_f1_of_columns
from partlabel.labels import Cells, Counts, Int8Array, IntArray, State

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredCells:
    """K cells, each with its state and the score that a model gave it.

    Args:
        classes: the C class names.
        logits: float64 `[K]`.
        states: int8 `[K]` of -1 (absent) and +1 (present); 0 (unknown) counts nowhere.
        class_index: int64 `[K]`, in 0..C-1.
        images: names of N images, where they matter.
        image_index: int64 `[K]`, in 0..N-1; empty without images.
    """

    classes: tuple[str, ...]
    logits: FloatArray = field(repr=False)
    states: Int8Array = field(repr=False)
    class_index: IntArray = field(repr=False)
    images: tuple[str, ...] = field(default=(), repr=False)
    image_index: IntArray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)

    @classmethod
    def of(cls, cells: Cells, logits: ArrayLike, images: Sequence[str], classes: Sequence[str]) -> Self:
        """Cells of a label table with images N and classes C, and their logits `[K]`."""
        scores = np.asarray(logits, np.float64)
        return cls(tuple(classes), scores, cells.states, cells.class_index, tuple(images), cells.image_index)

    def image(self, place: int) -> str:
        """Name of the image of one cell."""
        return self.images[int(self.image_index[place])]

    @cached_property
    def present(self) -> BoolArray:
        """Bool `[K]`: the cell is known present."""
        return np.asarray(self.states == State.PRESENT, bool)

    @cached_property
    def counts(self) -> Counts:
        """Present, absent and unknown cells of each class, int64 `[C]`."""
        by_state = ((self.class_index[self.states == state]) for state in (State.PRESENT, State.ABSENT, State.UNKNOWN))
        return Counts(*(np.bincount(columns, minlength=len(self.classes)) for columns in by_state))

    @cached_property
    def measurable(self) -> BoolArray:
        """Bool `[C]`: at least one cell of the class is known absent. The cells of the other classes cannot show an
        error.
        """
        return self.counts.absent > 0

    @property
    def has_both_states(self) -> bool:
        """Whether a cell is present and one is absent, of whatever class."""
        return bool(self.counts.present.any() and self.counts.absent.any())

    @property
    def has_class_of_both_states(self) -> bool:
        """Whether one class has a present and an absent cell, without which precision cannot be measured."""
        return bool((self.counts.present[self.measurable] > 0).any())

    @cached_property
    def ranking(self) -> RankingMeasures:
        """Average precision and AUC of each class; NaN where it lacks a present or an absent cell."""
        return ranking_of_columns(self._columns(), len(self.classes))

    @property
    def mean_average_precision(self) -> tuple[float, int]:
        """MAP (raw) over the classes that have both states, and how many they are; NaN if none has."""
        scored = ~np.isnan(self.ranking.raw)
        return mean_over(self.ranking.raw, scored), int(scored.sum())

    def best_thresholds(self, min_present: int = 10) -> BestThresholds:
        """Thresholds of best F1 on these cells; see `best_f1_thresholds`."""
        present, absent = (self.logits[self.states == state] for state in (State.PRESENT, State.ABSENT))
        return best_f1_of_columns(present, absent, self._columns(), len(self.classes), min_present)

    def among_unknown(self) -> Self:
        """The same cells with unknown ones on the absent side, for ranking present cells where no absent one is known.

        It says nothing of the quality of a model: missed present cells among the unknown ones lower it.
        """
        sides = np.where(self.states == State.UNKNOWN, np.int8(State.ABSENT), self.states)
        return type(self)(self.classes, self.logits, sides, self.class_index, self.images, self.image_index)

    def _columns(self) -> Iterator[Column]:
        """Each class that has cells, with the logits of its present and of its absent ones, ascending."""
        order = np.lexsort((self.logits, self.class_index))
        ends = np.cumsum(np.bincount(self.class_index, minlength=len(self.classes)))
        for column, mine in enumerate(np.split(order, ends[:-1])):
            states, logits = self.states[mine], self.logits[mine]
            yield column, logits[states == State.PRESENT], logits[states == State.ABSENT]


def check_held_out(logits: ArrayLike, states: ArrayLike, class_index: ArrayLike, classes: Sequence[str]) -> ScoredCells:
    """Held-out cells in one form, or the reason why no precision can be measured with them.

    Args:
        logits: floating `[K]`, of a model that never saw these cells.
        states: `[K]` of -1 (absent) and +1 (present).
        class_index: integers `[K]` in 0..C-1.
        classes: names of the C classes.

    Raises:
        LabelError: lengths or indices do not fit, a state is unknown, or present or absent cells are missing.
        NotFiniteError: a logit is NaN or infinite.
    """
    scores, values = np.asarray(logits, np.float64).ravel(), np.asarray(states).ravel()
    columns = np.asarray(class_index, np.int64).ravel()
    if not scores.size == values.size == columns.size:
        raise LabelError(
            f"held-out cells differ in length: {scores.size} logits, {values.size} states, {columns.size} class indices"
        )
    if not np.isin(values, (State.ABSENT, State.PRESENT)).all():
        raise LabelError("a held-out cell is neither present (+1) nor absent (-1); give known cells only")
    if columns.size and (columns.min() < 0 or columns.max() >= len(classes)):
        raise LabelError(
            f"class numbers of held-out cells run from {columns.min()} to {columns.max()}, outside "
            f"0..{len(classes) - 1}"
        )
    cells = ScoredCells(tuple(classes), scores, values.astype(np.int8), columns)
    require_precision(cells)
    return cells


def require_precision(cells: ScoredCells) -> None:
    """Refuse known cells, held out or cross-fitted, by which no precision can be measured.

    Raises:
        LabelError: present or absent cells are missing; says what to do.
        NotFiniteError: a logit is NaN or infinite.
    """
    wrong = ~np.isfinite(cells.logits)
    if wrong.any():
        name = cells.classes[cells.class_index[wrong][0]]
        raise NotFiniteError(
            f"{wrong.sum()} logit(s) of known cells are NaN or infinite, first in class {name!r}; the training went "
            "wrong, train again with a lower learning rate"
        )
    total, present = cells.states.size, int(cells.present.sum())
    if not total:
        raise LabelError(
            "there is no known cell that the model did not see, so precision cannot be measured; hold some out (train "
            "--holdout); `predict` gives scores without a promise"
        )
    for lacking, other, none in (("absent", "present", present == total), ("present", "absent", present == 0)):
        if none:
            which = "the known cell" if total == 1 else f"all {total:,} known cells"
            raise LabelError(
                f"{which} that the model did not see {'is' if total == 1 else 'are'} {other}, so precision cannot be "
                f"measured; mark more cells {lacking}, or judge some suggestions (`recover --audit`); `predict` gives "
                "scores without a promise"
            )
    if not cells.has_class_of_both_states:
        raise LabelError(
            f"each of the {present} known present cells that the model did not see is of a class without such an "
            "absent one, so precision cannot be measured; mark some cells of these classes absent, or judge some "
            "suggestions (`recover --audit`); `predict` gives scores without a promise"
        )
