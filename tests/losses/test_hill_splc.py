"""Hill and SPLC against reference numbers and explicit loops."""

import math

import numpy as np
import pytest
import torch

from partlabel.losses.hill import hill_cells, missed_labels, splc_cells

X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
OBSERVED = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.int8)


def test_hill_reference_number() -> None:
    assert hill_cells(X, OBSERVED).sum().item() == pytest.approx(0.86795767, abs=1e-8)


@pytest.mark.parametrize(
    ("changed", "before", "after"), [(0.25, 0.67150884, 0.67150884), (0.75, 0.93489702, 0.45029615)]
)
def test_splc_reference_numbers(changed: float, before: float, after: float) -> None:
    logits = X.clone()
    logits[0, 2] = changed
    missed = missed_labels(logits, OBSERVED, 0.6)
    assert splc_cells(logits, OBSERVED, torch.zeros_like(missed)).sum().item() == pytest.approx(before, abs=1e-8)
    assert splc_cells(logits, OBSERVED, missed).sum().item() == pytest.approx(after, abs=1e-8)


def _p(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cells_by_explicit_loops(dtype: torch.dtype) -> None:
    random = np.random.default_rng(0)
    x, states = random.normal(0, 2, (3, 4)), random.integers(-1, 2, (3, 4)).astype(np.int8)
    hill, splc, missed = np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((3, 4), bool)
    for i in range(3):
        for c in range(4):
            p, shifted = _p(x[i, c]), _p(x[i, c] - 0.5)
            hill[i, c] = {1: -((1 - shifted) ** 3) * math.log(shifted), 0: (1.6 - p) * p**2, -1: 1.6 * p**2}[
                states[i, c]
            ]
            missed[i, c] = states[i, c] == 0 and p > 0.55
            if states[i, c] == 1 or missed[i, c]:
                y = p if missed[i, c] else shifted
                splc[i, c] = -((1 - y) ** 3) * math.log(y)
            else:
                splc[i, c] = -(p**3) * math.log(1 - p)
    assert missed.any()
    logits, labels = torch.tensor(x, dtype=dtype), torch.tensor(states)
    np.testing.assert_array_equal(missed_labels(logits, labels, 0.55).numpy(), missed)
    found = hill_cells(logits, labels, margin=0.5, gamma=3, down_weight=1.6)
    np.testing.assert_allclose(found.numpy(), hill, rtol=1e-4)
    found = splc_cells(logits, labels, torch.tensor(missed), margin=0.5, gamma=3)
    np.testing.assert_allclose(found.numpy(), splc, rtol=1e-4)


def test_gradient_flows_through_the_focusing_weight() -> None:
    logits = torch.tensor([[0.3, -0.4, 1.1]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, -1]], dtype=torch.int8)
    missed = torch.zeros(1, 3, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda z: splc_cells(z, labels, missed), logits)
    assert torch.autograd.gradcheck(lambda z: hill_cells(z, labels), logits)


def test_hill_is_steepest_in_p_at_one_half_and_flat_at_one() -> None:
    p = torch.linspace(0.001, 0.9999, 999, dtype=torch.float64, requires_grad=True)
    hill_cells(torch.logit(p)[None], torch.zeros(1, 999, dtype=torch.int8)).sum().backward()
    assert p.grad is not None
    assert p[p.grad.argmax()].item() == pytest.approx(0.5, abs=0.002)
    assert p.grad[-1] < 1e-3
