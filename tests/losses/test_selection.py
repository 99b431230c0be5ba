"""Choosing cells by loss: the reference example of co-label selection, and a naive sort."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.losses.selection import largest_count, largest_share, share_of, smallest_share

UNDER_G = [0.1, 2, 0.5, 0.05, 1.2, 0.3, 0.7, 0.02, 0.9, 0.4]
UNDER_F = [0.2, 1.5, 0.6, 0.01, 0.8, 0.35, 0.9, 0.03, 1.1, 0.25]


def test_reference_example() -> None:
    g, f = torch.tensor([UNDER_G]), torch.tensor([UNDER_F])
    every = torch.ones_like(g, dtype=torch.bool)
    left = g <= smallest_share(g, every, 0.8)
    assert torch.nonzero(left[0]).flatten().tolist() == [0, 2, 3, 5, 6, 7, 8, 9]
    chosen = left & (f >= largest_share(f, left, 0.75))
    assert torch.nonzero(chosen[0]).flatten().tolist() == [0, 2, 5, 6, 8, 9]
    assert float(f[chosen].sum()) == pytest.approx(3.40)


@given(st.lists(st.floats(0, 10, width=32), min_size=1, max_size=30), st.floats(0, 1), st.integers(0, 2**30))
def test_it_is_a_sort(values: list[float], share: float, draw: int) -> None:
    losses = torch.tensor([values], dtype=torch.float32)
    candidates = torch.from_numpy(np.random.default_rng(draw).random((1, len(values))) < 0.7)
    listed = sorted(losses[candidates].tolist())
    count = share_of(len(listed), share)
    assert abs(count - share * len(listed)) < 1
    assert float(smallest_share(losses, candidates, share)) == (listed[count - 1] if count else -math.inf)
    assert float(largest_share(losses, candidates, share)) == (listed[-count] if count else math.inf)


def test_shares_round_down_but_whole_ones_are_whole() -> None:
    assert share_of(10, 0.8) == 8
    assert share_of(2300, 1 - 0.002) == 2295
    assert share_of(100, 1 - 0.1) == 90
    assert share_of(1000, 0.29 + 0.41) == 700
    assert share_of(3, 0.99) == 2
    assert share_of(0, 1) == 0


def test_ties_are_chosen_together() -> None:
    losses = torch.tensor([[1.0, 1.0, 1.0, 2.0]])
    every = torch.ones_like(losses, dtype=torch.bool)
    assert (losses <= smallest_share(losses, every, 0.25)).sum() == 3


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=12), st.integers(0, 14))
def test_border_of_a_count(cells: list[tuple[int, bool]], count: int) -> None:
    values = torch.tensor([[value for value, _ in cells]], dtype=torch.float64)
    candidates = torch.tensor([[candidate for _, candidate in cells]])
    falling = sorted((value for value, candidate in cells if candidate), reverse=True)
    expected = falling[min(count, len(falling)) - 1] if count and falling else math.inf
    border = largest_count(values, candidates, count)
    assert border.dtype == values.dtype
    assert border.item() == expected
