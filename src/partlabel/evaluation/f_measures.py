"""Precision, recall and F1 of predictions, pooled over known cells (OP, OR, OF1) and averaged over classes (CP, CR,
CF1).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from partlabel.errors import UsageError
from partlabel.evaluation.cells import (
    BoolArray,
    FloatArray,
    Scores,
    States,
    check_cells,
    count_states,
    mean_over,
    row_blocks,
    scored_classes,
)
from partlabel.labels import IntArray, State


@dataclass(frozen=True, eq=False)
class FMeasures:
    """Fractions in 0..1. A mean over nothing is NaN: no known present cell (overall recall), no scored class (class
    means).

    Args:
        overall_precision: OP, true positives / predicted, pooled over the known cells of all classes; 0 if none is
            predicted.
        overall_recall: OR, true positives / known present, pooled likewise.
        overall_f1: OF1, harmonic mean of the two.
        class_precision: CP, mean precision of the scored classes.
        class_recall: CR, mean recall of the scored classes.
        class_f1_harmonic: CF1 as the harmonic mean of CP and CR.
        class_f1_mean: CF1 as the mean of the classes' F1. Both definitions are in use and differ by several points.
        precision_by_class: float64 `[C]`; 0 for a class that is never predicted, NaN for one that is not scored.
        recall_by_class: float64 `[C]`; NaN for a class that is not scored.
        f1_by_class: float64 `[C]`; NaN for a class that is not scored.
    """

    overall_precision: float
    overall_recall: float
    overall_f1: float
    class_precision: float
    class_recall: float
    class_f1_harmonic: float
    class_f1_mean: float
    precision_by_class: FloatArray = field(repr=False)
    recall_by_class: FloatArray = field(repr=False)
    f1_by_class: FloatArray = field(repr=False)


def f_measures(
    scores: ArrayLike, states: ArrayLike, thresholds: ArrayLike = 0.0, top_k: int | None = None
) -> FMeasures:
    """Precision, recall and F1 over known cells; a cell is predicted where its score >= the threshold of its class.

    A class without a known present or without a known absent cell is left out of every class mean. Its known cells do
    count in the overall measures, which pool all known cells.

    With `top_k`, a cell must also be among the k highest of the *known* cells of its image, so that unknown cells never
    take the place of known ones. Cells of equal score are taken in the order of the classes.

    Memory beyond the inputs: a few arrays of one block of rows, about `BLOCK_CELLS` cells (one row of C where that is
    more).

    Args:
        scores: floating `[N, C]`. Not read at unknown cells.
        states: int8 `[N, C]` of -1 (absent), 0 (unknown: left out), +1 (present).
        thresholds: one number or `[C]`, in the unit of the scores: 0 suits logits, 0.5 suits probabilities.
        top_k: at most this many predictions an image; None for no limit.

    Raises:
        UsageError: the shapes do not fit, a threshold is NaN, or `top_k` is below 1.
        LabelError: a state is not -1, 0 or +1.
        NotFiniteError: the score of a known cell is NaN or infinite.
    """
    score_array, state_array = check_cells(scores, states)
    limits = check_thresholds(thresholds, score_array.shape[1])
    if top_k is not None and top_k < 1:
        raise UsageError(f"top_k is {top_k}; it must be 1 or more")
    counts = count_states(state_array)
    predicted, correct = np.zeros((2, score_array.shape[1]), np.int64)
    for block in row_blocks(score_array.shape):
        chosen = _predicted(score_array[block], state_array[block], limits, top_k)
        predicted += np.count_nonzero(chosen, axis=0)
        correct += np.count_nonzero(chosen & (state_array[block] == State.PRESENT), axis=0)
    return _from_counts(correct, predicted, counts.present, scored_classes(counts))


def check_thresholds(thresholds: ArrayLike, classes: int) -> FloatArray:
    """One threshold a class, float64 `[C]`; a single number is repeated.

    Raises:
        UsageError: neither one number nor C of them, or one is NaN.
    """
    limits = np.asarray(thresholds, np.float64)
    if limits.shape not in {(), (classes,)}:
        raise UsageError(
            f"thresholds have shape {limits.shape}; give one number or one for each of the {classes} classes"
        )
    if np.isnan(limits).any():
        raise UsageError("a threshold is NaN; thresholds must be numbers in the unit of the scores")
    return np.broadcast_to(limits, (classes,))


def _predicted(scores: Scores, states: States, limits: FloatArray, top_k: int | None) -> BoolArray:
    """Bool, same shape: the known cells that are predicted present."""
    known = states != State.UNKNOWN
    chosen: BoolArray = known & (scores >= limits)
    if top_k is None:
        return chosen
    remaining = np.where(known, scores, -np.inf)
    among_top, rows = np.zeros(scores.shape, bool), np.arange(len(scores))
    for _ in range(min(top_k, scores.shape[1])):
        # argmax takes the first of equals, which is the tie rule; in an image with fewer known cells it falls on any
        # cell.
        highest = remaining.argmax(axis=1)
        among_top[rows, highest] = True
        remaining[rows, highest] = -np.inf
    return chosen & among_top


def _from_counts(correct: IntArray, predicted: IntArray, present: IntArray, scored: BoolArray) -> FMeasures:
    precision = np.where(scored, correct / np.maximum(predicted, 1), np.nan)
    recall = np.where(scored, correct / np.maximum(present, 1), np.nan)
    f1 = np.where(scored, 2 * correct / np.maximum(predicted + present, 1), np.nan)
    overall_precision = float(correct.sum() / max(predicted.sum(), 1))
    overall_recall = float(correct.sum() / present.sum()) if present.any() else float("nan")
    class_precision, class_recall = mean_over(precision, scored), mean_over(recall, scored)
    return FMeasures(
        overall_precision,
        overall_recall,
        _harmonic_mean(overall_precision, overall_recall),
        class_precision,
        class_recall,
        _harmonic_mean(class_precision, class_recall),
        mean_over(f1, scored),
        precision,
        recall,
        f1,
    )


def _harmonic_mean(first: float, second: float) -> float:
    total = first + second
    return 0.0 if total == 0 else 2 * first * second / total
