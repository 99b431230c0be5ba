"""AN, AN-LS, WAN and EPR against reference numbers and explicit loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.losses.assume_negative import (
    expected_positive_penalty,
    label_smoothing_cells,
    observed_cells,
    weak_assume_negative_cells,
)

X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
OBSERVED = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.int8)


def _nl(u: float) -> float:
    return -math.log(u + 1e-5)


def _random(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, list[list[float]]]:
    random = np.random.default_rng(seed)
    x, states = random.normal(0, 3, (3, 4)), random.integers(-1, 2, (3, 4)).astype(np.int8)
    return torch.tensor(x), torch.tensor(states), [[1 / (1 + math.exp(-value)) for value in row] for row in x]


def test_reference_numbers() -> None:
    assert label_smoothing_cells(X, OBSERVED, 0).mean().item() == pytest.approx(0.37784462, abs=1e-8)
    assert label_smoothing_cells(X, OBSERVED, 0.1).mean().item() == pytest.approx(0.47367513, abs=1e-8)
    assert weak_assume_negative_cells(X, OBSERVED).mean().item() == pytest.approx(0.23794375, abs=1e-8)
    penalty = expected_positive_penalty(X.sigmoid().sum(1), 1.5, 3)
    assert (observed_cells(X, OBSERVED).mean() + penalty).item() == pytest.approx(0.09940729, abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cells_by_explicit_loops(dtype: torch.dtype) -> None:
    logits, labels, p = _random()
    smooth, weak, observed = np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    for i in range(3):
        for c in range(4):
            present, absent, state = _nl(p[i][c]), _nl(1 - p[i][c]), int(labels[i, c])
            smooth[i, c] = 0.8 * present + 0.2 * absent if state == 1 else 0.8 * absent + 0.2 * present
            weak[i, c] = {1: present, -1: absent, 0: absent / 3}[state]
            observed[i, c] = {1: present, -1: absent, 0: 0}[state]
    logits = logits.to(dtype)
    np.testing.assert_allclose(label_smoothing_cells(logits, labels, 0.2).numpy(), smooth, rtol=1e-5)
    np.testing.assert_allclose(weak_assume_negative_cells(logits, labels).numpy(), weak, rtol=1e-5)
    np.testing.assert_allclose(observed_cells(logits, labels).numpy(), observed, rtol=1e-5)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=9), st.floats(0.1, 30), st.integers(1, 50))
def test_penalty_by_explicit_loop(counts: list[float], expected: float, classes: int) -> None:
    found = expected_positive_penalty(torch.tensor(counts, dtype=torch.float64), expected, classes)
    assert found.item() == pytest.approx(((sum(counts) / len(counts) - expected) / classes) ** 2, rel=1e-9, abs=1e-12)


def test_one_class_and_half_precision() -> None:
    logits, unknown = torch.tensor([[2.0]], dtype=torch.bfloat16), torch.zeros(1, 1, dtype=torch.int8)
    found = weak_assume_negative_cells(logits, unknown)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(_nl(1 - 1 / (1 + math.exp(-2))), rel=1e-6)


def test_a_saturated_cell_costs_at_most_the_logarithm_of_epsilon() -> None:
    logits = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    cells = observed_cells(logits, torch.tensor([[1, -1]], dtype=torch.int8))
    assert cells.tolist() == [pytest.approx([-math.log(1e-5)] * 2)]
    cells.sum().backward()
    assert torch.isfinite(logits.grad).all()  # type: ignore[arg-type]
