from itertools import pairwise

import numpy as np
import pytest

from partlabel.labels import LabelTable
from partlabel.masking import hide
from partlabel.masking.keyed import CellHash

RANDOM = np.random.default_rng(2)
TRUTH = RANDOM.choice([-1, 0, 1], (900, 7), p=[0.6, 0.1, 0.3]).astype(np.int8)
TRUTH[:, 0] = -1
TRUTH[5:, 1] = 0
TRUTH[:, 2] = 0
TABLE = LabelTable.from_dense([f"{i}.jpg" for i in range(900)], [f"c{c}" for c in range(7)], TRUTH)


def by_loops(table: LabelTable, quota_of: "dict[tuple[int, int], int]", seed: int) -> np.ndarray:
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="masking/per_class")
    result = np.zeros(table.shape, np.int8)
    for (column, sign), quota in quota_of.items():
        rows = np.flatnonzero(table.dense()[:, column] == sign)
        order = sorted(rows, key=lambda row: int(hashes.at(np.array([row]), np.array([column]))[0]))
        result[order[:quota], column] = sign
    return result


@pytest.mark.parametrize("count", [0, 1, 3, 50, 10_000])
def test_count_matches_sorting_each_class(count: int):
    quota = {(column, sign): count for column in range(7) for sign in (-1, 1)}
    assert (hide(TABLE, "per_class", count=count, seed=8).table.dense() == by_loops(TABLE, quota, 8)).all()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.29, 0.6, 1.0])
def test_fraction_matches_the_formula_of_the_public_code(fraction: float):
    quota = {}
    for column in range(7):
        for sign in (-1, 1):
            available = int((TRUTH[:, column] == sign).sum())
            quota[column, sign] = max(int(available * fraction), 1) if available else 0
    assert (hide(TABLE, "per_class", fraction=fraction, seed=8).table.dense() == by_loops(TABLE, quota, 8)).all()


def test_nested_across_counts():
    masks = [hide(TABLE, "per_class", count=count).table.dense() != 0 for count in (1, 5, 20, 400)]
    assert all((more >= fewer).all() for fewer, more in pairwise(masks))
