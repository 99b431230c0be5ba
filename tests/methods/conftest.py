from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]


@pytest.fixture
def joint_lines() -> Callable[..., Floats]:
    """`class_lines` by a minimizer of the whole objective, which shares no code with it."""
    return _joint_lines


def _joint_lines(
    scores: Floats, states: NDArray[np.int8], expected: float, deviation: tuple[float, float] = (2.0, 0.5)
) -> Floats:
    """Slope and offset of classes with both signs, `[2, C]`, by one search over all lines and the common one."""
    classes = states.shape[1]
    centre = np.mean([s for s, state in zip(scores.flat, states.flat, strict=True) if state == 1])

    def objective(numbers: Floats) -> float:
        *lines, (level, steepness) = numbers.reshape(classes + 1, 2)
        value = 0.0
        for column, (a, b) in enumerate(lines):
            for score, state in zip(scores[:, column], states[:, column], strict=True):
                if state:
                    value += np.logaddexp(0, -state * (a + np.exp(b) * (score - centre)))
            value += ((a - level) / deviation[0]) ** 2 / 2 + ((b - steepness) / deviation[1]) ** 2 / 2
        return float(value + ((steepness - np.log(expected)) / deviation[1]) ** 2 / 2)

    found = minimize(objective, np.tile([0.0, np.log(expected)], classes + 1), method="BFGS", options={"gtol": 1e-6}).x
    lines = found.reshape(classes + 1, 2)[:-1]
    slope = np.exp(lines[:, 1])
    return np.stack([slope, lines[:, 0] - slope * centre])
