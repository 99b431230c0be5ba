import numpy as np
import pytest


@pytest.fixture
def tagging():
    """Scores with ties and states with gaps, 300 × 12: all scored but 9 (no present), 10 (no absent), 11 (unknown)."""
    generator = np.random.default_rng(7)
    states = np.where(generator.random((300, 12)) < 0.3, 1, -1).astype(np.int8)
    scores = np.round(generator.normal(size=states.shape) + 0.8 * states, 1)
    states[generator.random(states.shape) < 0.4] = 0
    states[:, 9][states[:, 9] == 1] = 0
    states[:, 10][states[:, 10] == -1] = 0
    states[:, 11] = 0
    return scores, states
