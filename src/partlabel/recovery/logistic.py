"""Logistic lines of one variable, many at once, each with a normal prior."""

import numpy as np
from scipy.special import expit

from partlabel.evaluation.scored_cells import BoolArray, FloatArray
from partlabel.labels import IntArray

_MOST_STEPS = 100
_MOST_HALVINGS = 30
_TOLERANCE = 1e-6
_ROUNDING = 1e-12


def fit_lines(
    values: FloatArray, present: BoolArray, group: IntArray, mean: FloatArray, deviation: tuple[float, float]
) -> FloatArray:
    """Most probable `(a, b)` of `P(present) = sigmoid(a + exp(b) * value)` in each group.

    Fisher scoring with step halving. The exponent keeps the slope above 0; the prior keeps both numbers finite where a
    group is empty, one-sided or perfectly separated.

    Args:
        values: float64 `[K]`.
        present: bool `[K]`.
        group: int64 `[K]`, in 0..G-1.
        mean: float64 `[G, 2]`, prior means of a and b, and the start.
        deviation: prior standard deviations of a and b.

    Returns:
        float64 `[G, 2]`.
    """
    precision = 1 / np.square(np.asarray(deviation, np.float64))

    def per_group(cells: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(group, cells, len(mean)), np.float64)

    def loss(lines: FloatArray) -> FloatArray:
        margin = lines[group, 0] + np.exp(lines[group, 1]) * values
        prior = (np.square(lines - mean) * precision).sum(axis=1) / 2
        return np.asarray(per_group(np.logaddexp(0, np.where(present, -margin, margin))) + prior, np.float64)

    lines = mean.copy()
    lowest = loss(lines)
    for _ in range(_MOST_STEPS):
        risen = np.exp(lines[group, 1]) * values
        probability = expit(lines[group, 0] + risen)
        excess, weight = probability - present, probability * (1 - probability)
        gradient = np.stack([per_group(excess), per_group(excess * risen)], axis=1) + (lines - mean) * precision
        aa, ab, bb = (
            per_group(weight) + precision[0],
            per_group(weight * risen),
            per_group(weight * risen**2) + precision[1],
        )
        step = np.stack([bb * gradient[:, 0] - ab * gradient[:, 1], aa * gradient[:, 1] - ab * gradient[:, 0]], axis=1)
        step /= (aa * bb - ab**2)[:, None]
        for _ in range(_MOST_HALVINGS):
            trial = lines - step
            reached = loss(trial)
            worse = ~(reached <= lowest + _ROUNDING * (1 + lowest))
            if not worse.any():
                break
            step[worse] /= 2
        trial[worse], reached[worse] = lines[worse], lowest[worse]
        moved = np.abs(trial - lines).max(initial=0.0)
        lines, lowest = trial, reached
        if moved < _TOLERANCE:
            break
    return lines
