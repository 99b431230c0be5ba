"""EM with soft labels against its reference number and explicit loops; which cells get a soft label."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from partlabel.losses.entropy_maximization import entropy_maximization_cells, lowest_of_each_class


def test_reference_number() -> None:
    logits = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
    observed = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.int8)
    cells = entropy_maximization_cells(logits, observed, -torch.ones_like(logits), alpha=0.2, beta=0.02)
    assert cells.mean().item() == pytest.approx(0.02324953, abs=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cells_by_explicit_loop(dtype: torch.dtype) -> None:
    random = np.random.default_rng(0)
    x, states = random.normal(0, 3, (3, 4)), random.integers(-1, 2, (3, 4)).astype(np.int8)
    soft = np.where(random.random((3, 4)) < 0.5, random.random((3, 4)), -1)
    states[0], soft[0] = 0, [-1, 0.0, 0.3, 1.0]
    expected = np.zeros((3, 4))
    for i in range(3):
        for c in range(4):
            p, s = 1 / (1 + math.exp(-x[i, c])), soft[i, c]
            present, absent = -math.log(p + 1e-5), -math.log(1 - p + 1e-5)
            if states[i, c]:
                expected[i, c] = present if states[i, c] > 0 else absent
            elif s < 0:
                expected[i, c] = -0.3 * (p * present + (1 - p) * absent)
            else:
                expected[i, c] = 0.7 * (s * present + (1 - s) * absent)
    found = entropy_maximization_cells(
        torch.tensor(x, dtype=dtype), torch.tensor(states), torch.tensor(soft), alpha=0.3, beta=0.7
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_entropy_pushes_towards_one_half() -> None:
    logits = torch.tensor([[2.0, -2.0]], requires_grad=True)
    unknown = torch.zeros(1, 2, dtype=torch.int8)
    entropy_maximization_cells(logits, unknown, -torch.ones(1, 2), alpha=1, beta=1).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0 > logits.grad[0, 1]


@given(st.data())
def test_lowest_of_each_class_by_explicit_loop(data: Any) -> None:
    images, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    shape = (images, classes)
    scores = data.draw(arrays.arrays(np.float32, shape, elements=st.sampled_from([-2.0, -1.0, 0.0, 1.5, 88.0])))
    eligible = data.draw(arrays.arrays(bool, shape))
    counts = data.draw(arrays.arrays(np.int64, classes, elements=st.integers(0, images + 2)))
    expected = np.zeros(shape, bool)
    for c in range(classes):
        ranked = sorted((scores[i, c], i) for i in range(images) if eligible[i, c])
        for _, i in ranked[: counts[c]]:
            expected[i, c] = True
    found = lowest_of_each_class(torch.tensor(scores), torch.tensor(eligible), torch.tensor(counts))
    np.testing.assert_array_equal(found.numpy(), expected)
