import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit, logit

from partlabel.methods.tools.score_histogram import ScoreHistogram

SCORES = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 2)))
COUNTED = torch.from_numpy(np.random.default_rng(1).random((300, 2)) < 0.7)


@pytest.mark.parametrize("slope", [0.5, 2.0, 8.0])
def test_offsets_bring_the_mean_probability_to_the_prevalence(slope: float) -> None:
    histogram = ScoreHistogram(2)
    histogram.add(SCORES[:100], COUNTED[:100])
    histogram.add(SCORES[100:], COUNTED[100:])
    wanted = np.array([0.02, 0.6])
    found = histogram.offsets(slope, torch.from_numpy(wanted))
    for column in range(2):
        counted = SCORES[:, column][COUNTED[:, column]].numpy()
        exact = brentq(lambda b, z=counted, p=wanted[column]: expit(slope * z + b).mean() - p, -80, 80)
        assert float(found[column]) == pytest.approx(exact, abs=0.01)


def test_far_scores_count_as_the_farthest() -> None:
    histogram = ScoreHistogram(1)
    histogram.add(torch.tensor([[-1e9], [1e9]], dtype=torch.float64), torch.tensor([[True], [True]]))
    assert histogram.counts.sum() == 2
    assert abs(float(histogram.offsets(1.0, torch.tensor([0.5], dtype=torch.float64)))) < 0.01


def test_where_nothing_is_counted_the_prevalence_says_it_all() -> None:
    offsets = ScoreHistogram(2).offsets(2.0, torch.tensor([0.1, 0.7], dtype=torch.float64))
    np.testing.assert_allclose(offsets, logit([0.1, 0.7]))
