"""Smoothness against reference numbers and explicit loops."""

import math

import pytest
import torch

from partlabel.losses.smoothness import fill_unknown, reconstruct, smoothness, squash


@pytest.mark.parametrize(
    ("x", "c", "value"), [(1, 1, 0.76159416), (1, 2, 0.68047906), (-1, 2, -0.40493159), (0, 3, 0.0)]
)
def test_squashing(x: float, c: float, value: float) -> None:
    assert squash(torch.tensor([[x]], dtype=torch.float64), c).item() == pytest.approx(value, abs=1e-8)


def test_squashing_is_the_published_fraction_and_bounded() -> None:
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[None]
    for c in (0.5, 1, 2, 5):
        for value, at in zip(squash(x, c)[0].tolist(), x[0].tolist(), strict=True):
            u = at + 0.5 * math.log(1 / c)
            assert value == pytest.approx((math.exp(u) - math.exp(-u) / c) / (math.exp(u) + math.exp(-u)), abs=1e-12)
        ends = squash(torch.tensor([[-1e4, 1e4]]), c)
        torch.testing.assert_close(ends, torch.tensor([[-1 / c, 1.0]]))


def test_slope_1_is_twice_the_probability_less_1() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(squash(x, 1, slope=1), 2 * torch.sigmoid(x) - 1)


def test_known_labels_replace_predictions_and_side_information_is_never_predicted() -> None:
    predictions = torch.full((3, 3), 0.25)
    labels = torch.tensor([[1, 1, 0], [-1, 0, -1], [0, -1, 1]], dtype=torch.int8)
    filled = fill_unknown(predictions, labels, 2, torch.tensor([False, False, True]), 10)
    assert filled.tolist() == [[1, 1, 0], [-0.5, 0.25, -0.5], [0.25, -0.5, 10]]


def test_smoothness_is_a_mean_over_entries_without_images_that_have_no_neighbour() -> None:
    torch.manual_seed(0)
    vectors, atoms = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    indices = torch.tensor([[2, 4], [-1, -1], [0, -1]])
    coefficients = torch.tensor([[0.5, 0.25], [0, 0], [2, 0]], dtype=torch.float64)
    expected = 0.0
    for image in (0, 2):
        for entry in range(4):
            made = sum(coefficients[image, s].item() * atoms[indices[image, s], entry].item() for s in range(2))
            expected += (vectors[image, entry].item() - made) ** 2
    found = smoothness(vectors, reconstruct(atoms[indices.clamp(min=0)], coefficients), indices)
    assert found.item() == pytest.approx(expected / 12)
