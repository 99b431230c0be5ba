"""The partial asymmetric loss by explicit loops, and against asymmetric cells where nothing is unknown."""

import math

import numpy as np
import pytest
import torch

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.methods.class_selective import partial_asymmetric_cells


@pytest.mark.parametrize("gammas", [(0.0, 1.0, 2.0), (1.0, 3.0, 4.0), (0.5, 0.0, 7.0)])
def test_cells_by_explicit_loops(gammas: tuple[float, float, float]) -> None:
    random = np.random.default_rng(0)
    x, t = random.normal(0, 3, (3, 4)), random.integers(-1, 2, (3, 4)).astype(np.int8)
    expected = np.empty((3, 4))
    for i in range(3):
        for c in range(4):
            p = 1 / (1 + math.exp(-x[i, c]))
            if t[i, c] == 1:
                expected[i, c] = -((1 - p) ** gammas[0]) * math.log(p)
            else:
                expected[i, c] = -(p ** gammas[1 if t[i, c] == -1 else 2]) * math.log(1 - p)
    names = ("gamma_positive", "gamma_negative", "gamma_unknown")
    found = partial_asymmetric_cells(torch.tensor(x), torch.tensor(t), **dict(zip(names, gammas, strict=True)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_without_unknown_it_is_the_asymmetric_loss() -> None:
    logits, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor([[1, -1, -1, 1]] * 3, dtype=torch.int8)
    found = partial_asymmetric_cells(logits, labels, gamma_positive=1, gamma_negative=4, gamma_unknown=7)
    torch.testing.assert_close(
        found, asymmetric_cells(logits, (labels == 1).double(), gamma_positive=1, gamma_negative=4)
    )


def test_no_gradient_through_the_weights() -> None:
    logits = torch.tensor([[0.3]], dtype=torch.float64, requires_grad=True)
    unknown = torch.zeros(1, 1, dtype=torch.int8)
    partial_asymmetric_cells(logits, unknown, gamma_positive=0, gamma_negative=1, gamma_unknown=2).sum().backward()
    p = torch.sigmoid(logits.detach())
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, p**2 * p)
