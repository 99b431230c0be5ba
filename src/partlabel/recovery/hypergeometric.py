"""The test that a promise on precision rests on: a sample of known cells against the unknown ones beside it."""

from typing import Any

import numpy as np
from scipy.stats import binom, hypergeom

from partlabel.labels import IntArray

_GOOD_CHANCE = 0.8


def least_cells(target: float, delta: float) -> int:
    """Known cells without an error that a promise needs, where unknown cells are many."""
    return int(np.ceil(np.log(delta) / np.log(target) - 1e-9))


def chance_of(known: float, right: float, unknown: int, target: float, aside: int = 0, aside_right: int = 0) -> float:
    """How probable so many right ones are, at most, if fewer than the target of the unknown cells are right.

    Args:
        known: accepted known cells; whole, or the size of an effective sample, which is rounded against the promise.
        right: how many of them are right.
        unknown: accepted unknown cells, of which the promise is made.
        target: the precision.
        aside: accepted cells that were decided by another way than chance; they are neither of the sample nor of the
            promise, but of the cells that the sample is of.
        aside_right: how many of these are right, at most.
    """
    size = int(np.floor(known + 1e-9))
    hits = size - int(np.ceil((known - right) * size / known - 1e-9)) if size else 0
    return float(_tail(hits, size, unknown, target, aside, aside_right))


def _tail(hits: IntArray | int, known: int, unknown: int, target: float, aside: int = 0, aside_right: int = 0) -> Any:
    """The chance for each number of right ones."""
    if not unknown:
        return binom.sf(hits - 1, known, target)
    most = hits + aside_right + int(np.ceil(target * unknown - 1e-9)) - 1
    return hypergeom.sf(hits - 1, known + aside + unknown, most, known)


def power(
    known: int, unknown: int, share: float, target: float, delta: float, aside: int = 0, aside_right: int = 0
) -> float:
    """Probability of passing a test with this many known cells, if the given share of cells is right."""
    low, high = 0, int(known) + 1
    while low < high:
        tried = np.arange(low, high, max((high - low) // 32, 1))
        missed = int((_tail(tried, int(known), int(unknown), target, aside, aside_right) > delta).sum())
        low, high = int(tried[missed - 1]) + 1 if missed else low, int(tried[missed]) if missed < tried.size else high
    return float(binom.sf(low - 1, known, share)) if low <= known else 0.0


def size_for(share: float, target: float, delta: float, cells: int, most: int) -> int | None:
    """Smallest sample of so many cells with a good chance to carry the promise of the others, or of any number; at
    most `most`.
    """
    size = least_cells(target, delta)
    while size <= min(cells, most):
        if all(power(size, others, share, target, delta) >= _GOOD_CHANCE for others in (10**6, cells - size)):
            return size
        size = int(size * 1.1) + 1
    return None
