"""Smoothness against reference numbers and explicit loops."""

import math

import pytest
import torch

from partlabel.losses.smoothness import fill_unknown, impute, reconstruct, smoothness, squash


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


def test_renormalised_predictions() -> None:
    """2p - 1 of eq. 3, and the line from [-1, 1] to [-0.5, 1] of section 4.3, by hand; zero logits are not 0."""
    for x in (-3.0, -0.4, 0.0, 1.2):
        y = 2 / (1 + math.exp(-x)) - 1
        given = torch.tensor([[x]], dtype=torch.float64)
        assert impute(given, -0.5).item() == pytest.approx(-0.5 + (y + 1) / 2 * 1.5, abs=1e-12)
        assert impute(given, -1).item() == pytest.approx(y, abs=1e-12)
        assert impute(given, -0.5, "phi").item() == pytest.approx(squash(given, 2).item(), abs=1e-12)
        assert impute(given, -1, "phi", slope=1).item() == pytest.approx(y, abs=1e-12)


def test_known_labels_replace_predictions() -> None:
    predictions = torch.full((2, 3), 0.25)
    labels = torch.tensor([[1, 0, -1], [-1, 0, 1]], dtype=torch.int8)
    assert fill_unknown(predictions, labels, -0.5).tolist() == [[1, 0.25, -0.5], [-0.5, 0.25, 1]]


def test_smoothness_is_the_squared_error_but_for_images_that_have_no_neighbour() -> None:
    torch.manual_seed(0)
    vectors, atoms = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    indices = torch.tensor([[2, 4], [-1, -1], [0, -1]])
    coefficients = torch.tensor([[0.5, 0.25], [0, 0], [2, 0]], dtype=torch.float64)
    found = smoothness(vectors, reconstruct(atoms[indices.clamp(min=0)], coefficients), indices)
    for image in range(3):
        for entry in range(4):
            made = sum(coefficients[image, s].item() * atoms[indices[image, s], entry].item() for s in range(2))
            expected = (vectors[image, entry].item() - made) ** 2 if image != 1 else 0
            assert found[image, entry].item() == pytest.approx(expected)
