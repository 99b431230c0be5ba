"""ROLE against its reference number and an explicit loop, gradients included."""

import math

import numpy as np
import pytest
import torch

from partlabel.losses.assume_negative import expected_positive_penalty
from partlabel.methods.role import role_cells


def test_reference_number() -> None:
    logits = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
    estimates = torch.logit(torch.tensor([[0.8, 0.3, 0.6], [0.2, 0.9, 0.4]], dtype=torch.float64))
    observed = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.int8)
    penalties = sum(expected_positive_penalty(z.sigmoid().sum(1), 1.5, 3) for z in (logits, estimates))
    total = role_cells(logits, estimates, observed).mean() + penalties / 2
    assert total.item() == pytest.approx(0.67618579, abs=1e-8)


def _sides(x: float, y: float) -> tuple[float, float]:
    """Loss of a cell, and its derivative in x alone, where y is a target for the one and a number for the other."""
    p = 1 / (1 + math.exp(-x))
    loss = -y * math.log(p + 1e-5) - (1 - y) * math.log(1 - p + 1e-5)
    return loss, (-y / (p + 1e-5) + (1 - y) / (1 - p + 1e-5)) * p * (1 - p)


def test_cells_and_gradients_by_explicit_loop() -> None:
    random = np.random.default_rng(3)
    x, q = random.normal(0, 2, (3, 4)), random.normal(0, 2, (3, 4))
    states = random.integers(-1, 2, (3, 4)).astype(np.int8)
    cells, slope_x, slope_q = np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((3, 4))
    for i in range(3):
        for c in range(4):
            for mine, other, slope in ((x[i, c], q[i, c], slope_x), (q[i, c], x[i, c], slope_q)):
                parts = [_sides(mine, 1 / (1 + math.exp(-other)))]
                if states[i, c]:
                    parts.append(_sides(mine, float(states[i, c] == 1)))
                cells[i, c] += sum(loss for loss, _ in parts) / 2
                slope[i, c] = sum(derivative for _, derivative in parts) / 2
    logits, estimates = torch.tensor(x, requires_grad=True), torch.tensor(q, requires_grad=True)
    found = role_cells(logits, estimates, torch.tensor(states))
    np.testing.assert_allclose(found.detach().numpy(), cells, rtol=1e-9)
    found.sum().backward()
    np.testing.assert_allclose(logits.grad.numpy(), slope_x, rtol=1e-9)  # type: ignore[union-attr]
    np.testing.assert_allclose(estimates.grad.numpy(), slope_q, rtol=1e-9)  # type: ignore[union-attr]
