"""Do probabilities mean what they say: log loss, Brier score, reliability bins and expected calibration error, over
known cells.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError, UsageError
from partlabel.evaluation.cells import FloatArray, Scores, States, check_cells, row_blocks
from partlabel.labels import IntArray, State

BoolArray = NDArray[np.bool_]
_LEAST_PROBABILITY = 1e-15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Reliability diagram of P(present), known cells of all classes pooled, in M bins of equal width.

    Args:
        edges: float64 `[M + 1]`, from 0 to 1; bin m is `edges[m] <= p < edges[m + 1]`, the last one includes 1.
        count: int64 `[M]`, known cells in the bin.
        mean_probability: float64 `[M]`, mean predicted probability; NaN in an empty bin.
        fraction_present: float64 `[M]`, fraction of the cells that are present; NaN in an empty bin.
    """

    edges: FloatArray
    count: IntArray
    mean_probability: FloatArray
    fraction_present: FloatArray

    @property
    def expected_calibration_error(self) -> float:
        """Mean over known cells of |fraction present - mean probability| of their bin (Naeini et al., AAAI 2015)."""
        filled = self.count > 0
        gaps = np.abs(self.fraction_present[filled] - self.mean_probability[filled])
        return float(self.count[filled] @ gaps / self.count.sum())


def reliability(probabilities: ArrayLike, states: ArrayLike, bins: int = 15) -> Reliability:
    """Bins of predicted probability against the observed fraction of present cells: the data of a reliability plot.

    Args:
        probabilities: floating `[N, C]`, P(present) in 0..1. Not read at unknown cells.
        states: int8 `[N, C]` of -1 (absent), 0 (unknown: left out), +1 (present).
        bins: number of bins of equal width; 15 as in Guo et al., ICML 2017.

    Raises:
        UsageError: the shapes do not fit, a probability of a known cell is outside 0..1, or `bins` is below 1.
        LabelError: no cell is known.
        NotFiniteError: the probability of a known cell is NaN or infinite.
    """
    probability_array, state_array = _check_probabilities(probabilities, states)
    if bins < 1:
        raise UsageError(f"bins is {bins}; it must be 1 or more")
    edges = np.linspace(0.0, 1.0, bins + 1)
    count, total, present = np.zeros(bins, np.int64), np.zeros(bins), np.zeros(bins, np.int64)
    for block in row_blocks(state_array.shape):
        known = state_array[block] != State.UNKNOWN
        values = probability_array[block][known].astype(np.float64)
        place = np.searchsorted(edges[1:-1], values, "right")
        count += np.bincount(place, minlength=bins)
        total += np.bincount(place, values, minlength=bins)
        present += np.bincount(place[state_array[block][known] == State.PRESENT], minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    return Reliability(edges, count, total / filled, present / filled)


def expected_calibration_error(probabilities: ArrayLike, states: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of P(present), a fraction in 0..1. Arguments and errors as in `reliability`."""
    return reliability(probabilities, states, bins).expected_calibration_error


def brier_score(probabilities: ArrayLike, states: ArrayLike) -> float:
    """Mean squared difference of P(present) and the truth (0 or 1) over known cells, in 0..1 (Brier, 1950).

    Arguments and errors as in `reliability`.
    """
    return _mean_over_known(probabilities, states, lambda values, truth: np.square(values - truth))


def log_loss(probabilities: ArrayLike, states: ArrayLike) -> float:
    """Mean of minus the natural logarithm of the probability of the known state, over known cells.

    A probability below 1e-15 counts as 1e-15, so that a single cell that was taken for certain leaves the mean finite.
    Arguments and errors as in `reliability`.
    """

    def surprise(values: FloatArray, truth: BoolArray) -> FloatArray:
        of_state = np.where(truth, values, 1 - values)
        return np.asarray(-np.log(np.maximum(of_state, _LEAST_PROBABILITY)), np.float64)

    return _mean_over_known(probabilities, states, surprise)


def _mean_over_known(
    probabilities: ArrayLike, states: ArrayLike, score: Callable[[FloatArray, BoolArray], FloatArray]
) -> float:
    """Mean over known cells of a score of P(present) and whether the cell is."""
    probability_array, state_array = _check_probabilities(probabilities, states)
    total, known_cells = 0.0, 0
    for block in row_blocks(state_array.shape):
        known = state_array[block] != State.UNKNOWN
        truth = state_array[block][known] == State.PRESENT
        total += float(score(probability_array[block][known].astype(np.float64), truth).sum())
        known_cells += truth.size
    return total / known_cells


def _check_probabilities(probabilities: ArrayLike, states: ArrayLike) -> tuple[Scores, States]:
    probability_array, state_array = check_cells(probabilities, states)
    if not state_array.any():
        raise LabelError("no cell is known, so there is nothing to compare the probabilities with")
    for block in row_blocks(state_array.shape):
        values = probability_array[block]
        outside = ((values < 0) | (values > 1)) & (state_array[block] != State.UNKNOWN)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise UsageError(
                f"the probability of image row {block.start + row}, class column {column} is {values[row, column]}; "
                "probabilities lie in 0..1 (logits need a sigmoid first)"
            )
    return probability_array, state_array
