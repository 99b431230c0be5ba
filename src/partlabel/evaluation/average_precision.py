"""Average precision in its three conventions, and ROC AUC, over known cells: everything that only the ranking decides.

The papers of partial-label recognition report two different "mAP". With the positives of a class at n distinct ranks:

- `raw`: mean over the positives of the precision at their rank (scikit-learn's average precision);
- `voc12`: the same after precision is replaced by the best precision at that recall or higher (all-point, never below
  raw);
- `voc07`: mean of that envelope at the 11 recalls 0, 0.1, ..., 1 (Everingham et al., IJCV 2010, eq. 1-2).

Cells with equal scores share one rank, as in scikit-learn, so the order of the images never matters. Feed logits rather
than probabilities: a sigmoid that saturates makes ties.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import UsageError
from partlabel.evaluation.cells import Column, FloatArray, Scores, check_cells, first_of_equals, known_columns

Convention = Literal["raw", "voc12", "voc07"]
CONVENTIONS: tuple[Convention, ...] = get_args(Convention)


class RankingMeasures(NamedTuple):
    """Fractions in 0..1, float64 `[C]`; NaN for a class without a known present or without a known absent cell."""

    raw: FloatArray
    voc12: FloatArray
    voc07: FloatArray
    auc: FloatArray


def average_precision(scores: ArrayLike, states: ArrayLike, convention: Convention = "raw") -> FloatArray:
    """Average precision of each class over its known cells, float64 `[C]`, fractions in 0..1.

    Arguments, errors and NaN as in `ranking_measures`, which returns all conventions for the price of one.

    >>> relevant_in_order = [[1], [-1], [1], [1], [-1], [-1], [1], [-1]]
    >>> average_precision(np.arange(8.0, 0.0, -1.0)[:, None], relevant_in_order, "voc12").round(8).tolist()
    [0.76785714]
    """
    if convention not in CONVENTIONS:
        raise UsageError(f"unknown convention {convention!r} of average precision; use one of {', '.join(CONVENTIONS)}")
    values: FloatArray = getattr(ranking_measures(scores, states), convention)
    return values


def roc_auc(scores: ArrayLike, states: ArrayLike) -> FloatArray:
    """Area under the ROC curve of each class over its known cells, float64 `[C]`; a tie counts half.

    Arguments, errors and NaN as in `ranking_measures`.
    """
    return ranking_measures(scores, states).auc


def ranking_measures(scores: ArrayLike, states: ArrayLike) -> RankingMeasures:
    """All ranking measures of each class from one sort.

    Memory beyond the inputs: one block of columns, about `BLOCK_CELLS` cells (one column of N where that is more) times
    a score and a state, and a few times one column.

    Args:
        scores: floating `[N, C]`; any monotone unit. Not read at unknown cells.
        states: int8 `[N, C]` of -1 (absent), 0 (unknown: left out), +1 (present).

    Raises:
        UsageError: the shapes are not `[N, C]` or differ.
        LabelError: a state is not -1, 0 or +1.
        NotFiniteError: the score of a known cell is NaN or infinite.
    """
    score_array, state_array = check_cells(scores, states)
    return ranking_of_columns(known_columns(score_array, state_array), score_array.shape[1])


def ranking_of_columns(columns: Iterable[Column], classes: int) -> RankingMeasures:
    """All ranking measures of C classes, from the scores of the known cells of each."""
    measures = np.full((4, classes), np.nan)
    for column, present, absent in columns:
        if present.size and absent.size:
            measures[:, column] = _of_one_class(present, absent)
    return RankingMeasures(*measures)


def _of_one_class(present: Scores, absent: Scores) -> tuple[float, float, float, float]:
    """Raw, VOC12 and VOC07 average precision and AUC of one class, from its ascending scores.

    Precision matters only where a present cell stands, so the two kinds were sorted apart, by value, instead of finding
    the order of all of them, which is several times slower.
    """
    first = first_of_equals(present)
    distinct = present[first]
    tied = np.diff(first, append=present.size)
    absent_below, absent_up_to = np.searchsorted(absent, distinct, "left"), np.searchsorted(absent, distinct, "right")
    true_positives = present.size - first
    precision = true_positives / (true_positives + absent.size - absent_below)
    # Thresholds ascend, so recall descends: the best precision at this recall or higher is the running maximum.
    envelope = np.maximum.accumulate(precision)
    # In whole numbers: 10 * true positives >= tenths * present. The recall 3/10 does reach 0.3, which floats would
    # deny.
    reached = np.searchsorted(-10 * true_positives, -np.arange(11) * present.size, "right") - 1
    return (
        float(tied @ precision) / present.size,
        float(tied @ envelope) / present.size,
        float(envelope[reached].mean()),
        float(tied @ (absent_below + absent_up_to)) / (2 * present.size * absent.size),
    )


def chance_average_precision(states: NDArray[np.int8]) -> FloatArray:
    """Expected average precision (raw) per class, float64 `[C]`, of known cells in random order; above the share of
    present ones, because the first places count for much. NaN without a present or without an absent cell.

    With P present of N cells, the cell at place i is present with probability P/N, and (i - 1)(P - 1)/(N - 1) of those
    above it are then expected to be.

    Args:
        states: int8 `[N, C]`.
    """
    present, absent = (states > 0).sum(axis=0), (states < 0).sum(axis=0)
    found = np.full(states.shape[1], np.nan)
    for column in np.flatnonzero((present > 0) & (absent > 0)):
        cells = int(present[column] + absent[column])
        places = np.arange(1, cells + 1)
        above = (places - 1) * (int(present[column]) - 1) / (cells - 1)
        found[column] = float(((1 + above) / places).mean())
    return found
