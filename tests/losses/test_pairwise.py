"""LSEP and WARP against loops over all pairs."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partlabel.losses.pairwise import lsep_images, rankable, warp_images


def _naive_lsep(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    total = 1.0
    for absent in scores[labels == -1]:
        for present in scores[labels == 1]:
            total += math.exp(absent - present)
    return math.log(total)


def _naive_warp(scores: NDArray[np.float64], labels: NDArray[np.int8]) -> float:
    total = 0.0
    for present in scores[labels == 1]:
        hinges = [1 - present + absent for absent in scores[labels == -1] if absent > present - 1]
        if hinges:
            total += sum(1 / j for j in range(1, len(hinges) + 1)) * sum(hinges) / len(hinges)
    return total


@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_by_explicit_loops(seed: int, classes: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    scores, labels = random.normal(0, 2, (4, classes)), random.integers(-1, 2, (4, classes)).astype(np.int8)
    if ties:
        scores = scores.round()
    x, t = torch.tensor(scores), torch.tensor(labels)
    for loss, naive in ((lsep_images, _naive_lsep), (warp_images, _naive_warp)):
        expected = [naive(scores[i], labels[i]) for i in range(4)]
        np.testing.assert_allclose(loss(x, t).numpy(), expected, rtol=1e-10, atol=1e-10)
    assert rankable(t).tolist() == [1 in row and -1 in row for row in labels.tolist()]


@pytest.mark.parametrize("loss", [lsep_images, warp_images])
def test_gradients(loss: object) -> None:
    labels = torch.tensor([[1, -1, 0, 1, -1], [0, 1, 1, 1, 0], [-1, 0, -1, -1, -1], [0, 0, 0, 0, 0]], dtype=torch.int8)
    torch.manual_seed(0)
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), logits)  # type: ignore[operator]
    loss(logits, labels).sum().backward()  # type: ignore[operator]
    assert logits.grad is not None
    assert not logits.grad[labels == 0].any()
    assert not logits.grad[1:].any()
    assert logits.grad[0].any()


@pytest.mark.parametrize("loss", [lsep_images, warp_images])
def test_only_differences_within_an_image_count(loss: object) -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(3, 6, dtype=torch.float64), torch.tensor([[1, -1, 0, 1, -1, -1]] * 3, dtype=torch.int8)
    shifted = logits + torch.tensor([[5.0], [-2.0], [0.3]], dtype=torch.float64)
    torch.testing.assert_close(loss(shifted, labels), loss(logits, labels))  # type: ignore[operator]


@pytest.mark.parametrize("loss", [lsep_images, warp_images])
def test_large_scores_and_layouts(loss: object) -> None:
    labels = torch.tensor([[1, -1]] * 2, dtype=torch.int8)
    logits = torch.tensor([[-500.0, 500.0], [500.0, -500.0]], requires_grad=True)
    values = loss(logits, labels)  # type: ignore[operator]
    values.sum().backward()
    assert values.tolist() == pytest.approx([1000 + (loss is warp_images), 0])
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-1, 1], [0, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(torch.randn(4, 3).T, torch.ones(3, 4, dtype=torch.int8))  # type: ignore[operator]
