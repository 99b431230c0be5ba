"""How many cells of each state have a predicted probability in each tenth of 0 to 1."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.labels import IntArray, State

BINS = 10
Group = Literal["present", "absent", "unknown", "unknown, truly present", "unknown, truly absent"]
Histogram = Mapping[Group, IntArray]
"""Counts, int64 `[BINS]`, of each group of cells; the last two are parts of the third one."""

# A probability p = σ(z) is k/10 or more where z is log(k / (10 - k)) or more.
_INNER = np.log(np.arange(1, BINS) / (BINS - np.arange(1, BINS)))


def probability_histogram(logits: ArrayLike, states: ArrayLike, truths: ArrayLike | None = None) -> Histogram:
    """Count cells by σ(logit), in intervals that include their lower end.

    Source: saliency regularization (ICCV 2023), Fig. 1 and 5, which show present, absent and missing (unknown) labels.

    Args:
        logits: floating `[N, C]`; cells without a number count nowhere.
        states: int8 `[N, C]`: +1 present, -1 absent, 0 unknown, as training knew them.
        truths: int8 `[N, C]`, the same of complete labels, 0 where nobody looked; without them unknown cells stay
            together.
    """
    values, known = np.asarray(logits), np.asarray(states)
    bins = np.digitize(values, _INNER)
    counted = ~np.isnan(values)

    def count(cells: NDArray[np.bool_]) -> IntArray:
        return np.bincount(bins[cells & counted], minlength=BINS).astype(np.int64)

    unknown = known == State.UNKNOWN
    found: dict[Group, IntArray] = {
        "present": count(known == State.PRESENT),
        "absent": count(known == State.ABSENT),
        "unknown": count(unknown),
    }
    if truths is not None:
        true = np.asarray(truths)
        found["unknown, truly present"] = count(unknown & (true == State.PRESENT))
        found["unknown, truly absent"] = count(unknown & (true == State.ABSENT))
    return found


def added(one: Histogram, other: Histogram) -> Histogram:
    """Counts of two batches of cells; the first may be empty."""
    return {group: one[group] + counts if group in one else counts for group, counts in other.items()}
