import numpy as np
import pytest
import torch

from partlabel.methods.tools.shrunk_covariance import ShrunkCovariance

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(6, 9)) @ np.diag(RANDOM.uniform(0.1, 3, 9))
COVARIANCE = np.cov(ROWS, rowvar=False, bias=True)
DIFFERENCES = RANDOM.normal(size=(4, 9))


@pytest.mark.parametrize("shrinkage", [1.0, 0.7, 0.05])
def test_directions_solve_the_shrunk_system_and_scale_the_scores(shrinkage: float) -> None:
    """Of fewer images than features, so that the covariance itself has no inverse."""
    found = ShrunkCovariance(torch.from_numpy(COVARIANCE)).directions(torch.from_numpy(DIFFERENCES), [0.5, shrinkage])
    shrunk = (1 - shrinkage) * COVARIANCE + shrinkage * np.trace(COVARIANCE) / 9 * np.eye(9)
    for row, difference in zip(found[1].numpy(), DIFFERENCES, strict=True):
        expected = np.linalg.solve(shrunk, difference)
        scores = (ROWS - ROWS.mean(0)) @ expected
        np.testing.assert_allclose(row, expected / scores.std(), rtol=1e-8)


def test_no_difference_gives_no_direction() -> None:
    directions = ShrunkCovariance(torch.from_numpy(COVARIANCE)).directions(
        torch.zeros(2, 9, dtype=torch.float64), [1.0]
    )
    assert torch.equal(directions, torch.zeros(1, 2, 9, dtype=torch.float64))


def test_constant_features_give_no_direction() -> None:
    nothing = ShrunkCovariance(torch.zeros(9, 9, dtype=torch.float64))
    directions = nothing.directions(torch.from_numpy(DIFFERENCES), [0.5])
    assert torch.equal(directions, torch.zeros(1, 4, 9, dtype=torch.float64))
