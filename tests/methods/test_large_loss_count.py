"""How many cells of large loss there are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.methods.large_loss import large_loss_count


@pytest.mark.parametrize(
    ("cells", "epoch", "delta_rel", "growing", "fixed"),
    [
        (1000, 0, 0.2, 0, 0),
        (1000, 1, 0.2, 2, 2),  # 1000 · (1 - (1 - 0.002)) is more than 2 in floating point
        (1000, 3, 0.1, 3, 1),
        (16 * 80, 1, 0.1, 2, 2),  # 1.28
        (16 * 80, 9, 0.5, 58, 7),  # 57.6
        (10, 4, 50, 10, 5),
    ],
)
def test_counts(cells: int, epoch: int, delta_rel: float, growing: int, fixed: int) -> None:
    assert large_loss_count(cells, epoch, delta_rel, grows=True) == growing
    assert large_loss_count(cells, epoch, delta_rel, grows=False) == fixed


@given(st.integers(1, 10**7), st.integers(0, 100), st.integers(0, 1000))
def test_counts_are_ceilings(cells: int, epoch: int, permille_of_percent: int) -> None:
    exact = -(-cells * permille_of_percent * epoch // 100_000)
    assert large_loss_count(cells, epoch, permille_of_percent / 1000, grows=True) == min(exact, cells)
