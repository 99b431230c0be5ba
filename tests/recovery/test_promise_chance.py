"""When a promise is made: subsets of known cells counted one by one, and how many verdicts carry it."""

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
import pytest

from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.recovery.hypergeometric import least_cells
from partlabel.recovery.promise import promise_precision
from partlabel.recovery.sample import Unknown


@cache
def released(known: int, right: int, unknown: int, target: float, confidence: float) -> bool:
    """Whether a promise is made of unknown cells, all of one probability, after so many right known ones."""
    states = np.append(np.arange(known) < right, False)
    cells = ScoredCells(("a",), np.zeros(known + 1), np.where(states, 1, -1).astype(np.int8), np.zeros(known + 1, int))
    candidates = Unknown(np.full(unknown, 0.5), np.zeros(unknown, int), np.array([unknown]))
    probability = np.append(np.full(known, 0.5), 0.01)
    return promise_precision(cells, probability, candidates, target, confidence).groups[0].threshold is not None


def broken(cells: int, known: int, good: int, target: float, refused_below: int | None, confidence: float) -> float:
    """Share of the subsets of known cells that are followed by a promise which the unknown cells do not keep."""
    worse = 0
    for subset in combinations(range(cells), known):
        right = sum(place < good for place in subset)
        made = released(known, right, cells - known, target, confidence)
        if refused_below is not None:
            made = right >= refused_below
        worse += made and (good - right) < target * (cells - known) - 1e-9
    return worse / comb(cells, known)


@pytest.mark.parametrize(("cells", "known"), [(8, 4), (10, 5), (10, 7), (11, 4), (12, 4), (12, 6)])
@pytest.mark.parametrize(("target", "confidence"), [(0.5, 0.8), (0.6, 0.7), (0.55, 0.65), (0.4, 0.85)])
def test_no_truth_breaks_the_promise_more_often_than_stated(
    cells: int, known: int, target: float, confidence: float
) -> None:
    """All subsets of cells that might be known, for each number of right cells that there may be."""
    assert known >= least_cells(target, 1 - confidence)
    worst = max(broken(cells, known, good, target, None, confidence) for good in range(cells + 1))
    assert worst <= 1 - confidence + 1e-12
    # It is not stricter than it must be: one right cell fewer, and some truth breaks it too often.
    fewest = min((k for k in range(known + 1) if released(known, k, cells - known, target, confidence)), default=None)
    lower = known if fewest is None else fewest - 1
    if lower >= 0:
        assert max(broken(cells, known, good, target, lower, confidence) for good in range(cells + 1)) > 1 - confidence


def test_some_of_the_enumerated_promises_are_made_and_some_are_broken() -> None:
    assert released(6, 6, 6, 0.6, 0.7)
    assert not released(6, 3, 6, 0.6, 0.7)
    assert max(broken(12, 6, good, 0.6, None, 0.7) for good in range(13)) > 0.05


def test_the_walk_begins_by_what_is_expected_of_the_unknown_cells_too() -> None:
    """Known cells alone would have more of a chance at the lower threshold."""
    known, unknown = {0.85: 161, 0.83: 60, 0.01: 1}, {0.85: 5_000, 0.83: 100_000}
    probability, theirs = (np.repeat(list(one), list(one.values())) for one in (known, unknown))
    cells = ScoredCells(("a",), np.zeros(222), -np.ones(222, np.int8), np.zeros(222, int))
    candidates = Unknown(theirs, np.zeros(theirs.size, int), np.array([theirs.size]))
    assert promise_precision(cells, probability, candidates, 0.8, 0.9).groups[0].accepted == 161


@pytest.mark.parametrize(
    ("levels", "target"), [({0.95: 20_000}, 0.9), ({0.97: 5_000, 0.6: 50_000}, 0.9), ({0.9: 9_000}, 0.8)]
)
def test_so_many_verdicts_carry_the_promise_in_four_of_five_cases(levels: dict[float, int], target: float) -> None:
    unknown = np.repeat(list(levels), list(levels.values()))
    best = max(levels)
    candidates = Unknown(unknown, np.zeros(unknown.size, int), np.array([unknown.size]))
    few = ScoredCells(("a",), np.zeros(8), np.array([1, 1, 1, 1, 1, 1, -1, -1], np.int8), np.zeros(8, int))
    group = promise_precision(few, np.full(8, best), candidates, target, 0.9).groups[0]
    assert group.threshold is None
    assert group.verdicts is not None

    def passing(size: int) -> float:
        """How often a sample of the best cells carries the promise of the others, each being right by its
        probability.
        """
        low, high = 0, size + 1
        while low < high:
            middle = (low + high) // 2
            made = released(size, middle, levels[best] - size, target, 0.9)
            low, high = (low, middle) if made else (middle + 1, high)
        return sum(comb(size, x) * best**x * (1 - best) ** (size - x) for x in range(low, size + 1))

    assert 0.8 <= passing(group.verdicts) <= 0.92
    assert passing(int(group.verdicts * 0.8)) < 0.8
