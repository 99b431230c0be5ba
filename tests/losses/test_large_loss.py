"""How many cells of large loss there are, and from which loss on."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.losses.large_loss import large_loss_count
from partlabel.losses.selection import largest_count


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


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=12), st.integers(0, 14))
def test_border_of_a_count(cells: list[tuple[int, bool]], count: int) -> None:
    values = torch.tensor([[value for value, _ in cells]], dtype=torch.float64)
    candidates = torch.tensor([[candidate for _, candidate in cells]])
    falling = sorted((value for value, candidate in cells if candidate), reverse=True)
    expected = falling[min(count, len(falling)) - 1] if count and falling else math.inf
    border = largest_count(values, candidates, count)
    assert border.dtype == values.dtype
    assert border.item() == expected
