"""Decision thresholds set on held-out known cells."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from partlabel.errors import LabelError, UsageError
from partlabel.evaluation.cells import (
    BoolArray,
    Column,
    FloatArray,
    Scores,
    check_cells,
    first_of_equals,
    known_columns,
)
from partlabel.labels import State


@dataclass(frozen=True, eq=False)
class BestThresholds:
    """Thresholds in the unit of the scores; a cell is predicted where its score >= the threshold.

    Args:
        values: float64 `[C]`, the threshold to use for each class.
        pooled: the one threshold of all classes together.
        own: bool `[C]`; True where the class has its own threshold, False where `values` holds the pooled one.
    """

    values: FloatArray
    pooled: float
    own: BoolArray


def best_f1_thresholds(scores: ArrayLike, states: ArrayLike, min_present: int = 10) -> BestThresholds:
    """The threshold of best F1 for each class, or the pooled one where a class has too few known present cells.

    Give it the scores of known *training* cells that the model did not learn from, with every other cell set to
    unknown. Never give it the test set: thresholds chosen on the cells that they are then judged by make F1 look better
    than it is.

    The pooled threshold has the best F1 over the known cells of all classes together (OF1). A threshold lies halfway
    between the lowest score that it accepts and the next lower one; among thresholds of equal F1 the highest is taken.

    Memory beyond the inputs: one byte per cell, and a copy of the known scores.

    Args:
        scores: floating `[N, C]`. Not read at unknown cells.
        states: int8 `[N, C]` of -1 (absent), 0 (unknown: left out), +1 (present).
        min_present: a class with fewer known present cells, or without a known absent one, gets the pooled threshold.
            (The default is ours.)

    Raises:
        UsageError: the shapes do not fit, or `min_present` is below 1.
        LabelError: no cell is known present or none is known absent, so that no threshold can be chosen.
        NotFiniteError: the score of a known cell is NaN or infinite.
    """
    score_array, state_array = check_cells(scores, states)
    if min_present < 1:
        raise UsageError(f"min_present is {min_present}; it must be 1 or more")
    present, absent = (score_array[state_array == state] for state in (State.PRESENT, State.ABSENT))
    columns = known_columns(score_array, state_array)
    return best_f1_of_columns(present, absent, columns, score_array.shape[1], min_present)


def best_f1_of_columns(
    present: Scores, absent: Scores, columns: Iterable[Column], classes: int, min_present: int
) -> BestThresholds:
    """Thresholds as in `best_f1_thresholds`, from the scores of all present and all absent cells and of each class.

    Raises:
        LabelError: no cell is known present or none is known absent.
    """
    if not present.size or not absent.size:
        raise LabelError(
            f"thresholds need known present and known absent cells; the held-out cells have {present.size} present and "
            f"{absent.size} absent"
        )
    pooled = _best_of(np.sort(present), np.sort(absent))
    values, own = np.full(classes, pooled), np.zeros(classes, bool)
    for column, mine, others in columns:
        if mine.size >= min_present and others.size:
            values[column], own[column] = _best_of(mine, others), True
    return BestThresholds(values, pooled, own)


def _best_of(present: Scores, absent: Scores) -> float:
    """The threshold of best F1, from ascending scores."""
    first = first_of_equals(present)
    rejected_absent = np.searchsorted(absent, present[first], "left")
    true_positives = present.size - first
    f1 = 2 * true_positives / (true_positives + absent.size - rejected_absent + present.size)
    best = int(np.flatnonzero(f1 == f1.max())[-1])
    accepted = float(present[first[best]])
    lower = [float(below[-1]) for below in (present[: first[best]], absent[: rejected_absent[best]]) if below.size]
    if not lower:
        return accepted
    halfway = accepted / 2 + max(lower) / 2
    # Between neighbouring floats there is no number, and halfway may round down to the rejected score.
    return halfway if halfway > max(lower) else accepted
