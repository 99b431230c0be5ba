"""Logistic lines and curves of one variable, many at once, each with a normal prior."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from partlabel.evaluation.scored_cells import BoolArray, FloatArray
from partlabel.labels import IntArray

_MOST_STEPS = 100
_MOST_HALVINGS = 30
_TOLERANCE = 1e-6
_ROUNDING = 1e-12
_FAR = 700.0
"""A margin beyond which `exp` leaves float64."""


class Prior(NamedTuple):
    """Normal prior of the parameters `(a, b, k, l)` of curves.

    Args:
        mean: float64 `[G, 4]`.
        deviation: standard deviation of each; a parameter with deviation 0 stays at its mean.
    """

    mean: FloatArray
    deviation: tuple[float, float, float, float]


def bent(margin: FloatArray, bend: FloatArray | float) -> FloatArray:
    """Log-odds that rise by 1 per unit of margin far below 0 and by `1 - bend` far above."""
    return np.asarray(margin - bend * np.logaddexp(0, margin), np.float64)


def fit_curves(
    values: FloatArray, present: BoolArray, group: IntArray, prior: Prior, start: FloatArray | None = None
) -> FloatArray:
    """Most probable `(a, b, k, l)` of a curve in each group.

    `P(present) = sigmoid(-l) * sigmoid(bent(a + exp(b) * value, sigmoid(k)))`; `k = -inf` does not bend, and `l = -inf`
    is no ceiling. Fisher scoring with step halving. The exponent keeps the slope above 0; the prior keeps the
    parameters finite where a group is empty, one-sided or perfectly separated.

    Args:
        values: float64 `[K]`.
        present: bool `[K]`.
        group: int64 `[K]`, in 0..G-1.
        prior: of G groups.
        start: float64 `[G, 4]`, where the search starts if not at the means; the means where a parameter is fixed.

    Returns:
        float64 `[G, 4]`.
    """
    free = np.flatnonzero(prior.deviation)
    curves = (prior.mean if start is None else start).copy()
    if not free.size:
        return curves
    precision = 1 / np.square(np.asarray(prior.deviation, np.float64)[free])

    def loss(trial: FloatArray) -> FloatArray:
        total = np.bincount(group, log_losses(values, present, group, trial), len(trial))
        return np.asarray(total + (np.square(trial[:, free] - prior.mean[:, free]) * precision).sum(axis=1) / 2)

    lowest = loss(curves)
    for _ in range(_MOST_STEPS):
        gradient, information = _derivatives(values, present, group, curves, free)
        gradient += (curves[:, free] - prior.mean[:, free]) * precision
        information[:, range(free.size), range(free.size)] += precision
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        for _ in range(_MOST_HALVINGS):
            trial = curves.copy()
            trial[:, free] -= step
            reached = loss(trial)
            worse = ~(reached <= lowest + _ROUNDING * (1 + lowest))
            if not worse.any():
                break
            step[worse] /= 2
        trial[worse], reached[worse] = curves[worse], lowest[worse]
        moved = np.abs(trial[:, free] - curves[:, free]).max(initial=0.0)
        curves, lowest = trial, reached
        if moved < _TOLERANCE:
            break
    return curves


def fit_lines(
    values: FloatArray, present: BoolArray, group: IntArray, mean: FloatArray, deviation: tuple[float, float]
) -> FloatArray:
    """Most probable `(a, b)` of `P(present) = sigmoid(a + exp(b) * value)` in each group: curves without bend and
    ceiling.

    Args:
        values: float64 `[K]`.
        present: bool `[K]`.
        group: int64 `[K]`, in 0..G-1.
        mean: float64 `[G, 2]`, prior means of a and b, and the start.
        deviation: prior standard deviations of a and b.

    Returns:
        float64 `[G, 2]`.
    """
    straight = np.full(mean.shape, -np.inf)
    prior = Prior(np.hstack([mean, straight]), (*deviation, 0.0, 0.0))
    return fit_curves(values, present, group, prior)[:, :2]


def log_losses(values: FloatArray, present: BoolArray, group: IntArray, curves: FloatArray) -> FloatArray:
    """Minus the logarithm of the probability of each state, float64 `[K]`, under the curves `[G, 4]` of the groups."""
    margin = bent(curves[group, 0] + np.exp(curves[:, 1])[group] * values, expit(curves[:, 2])[group])
    softplus = np.logaddexp(0, margin)
    # 1 - p = sigmoid(-l) * (exp(l) + sigmoid(-margin)), without the cancellation.
    surprise = np.where(present, softplus - margin, -np.logaddexp(curves[group, 3], -softplus))
    return np.asarray(np.logaddexp(0, curves[:, 3])[group] + surprise, np.float64)


def _derivatives(
    values: FloatArray, present: BoolArray, group: IntArray, curves: FloatArray, free: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Gradient `[G, F]` and Fisher information `[G, F, F]` of the log loss by the F free parameters."""
    risen = np.exp(curves[:, 1])[group] * values
    line, bend = curves[group, 0] + risen, expit(curves[:, 2])[group]
    missing, ceiling = expit(curves[:, 3])[group], expit(-curves[:, 3])[group]
    margin = np.minimum(bent(line, bend), _FAR)
    short = expit(-margin)
    probability, other = ceiling * expit(margin), missing + ceiling * short
    by_line = short * (1 - bend * expit(line))
    by_bend = -short * bend * (1 - bend) * np.logaddexp(0, line)
    by = [part for number, part in enumerate((by_line, by_line * risen, by_bend, -missing)) if number in free]
    excess, weight = (probability - present) / other, probability / other

    def per_group(cells: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(group, cells, len(curves)), np.float64)

    gradient = np.stack([per_group(excess * one) for one in by], axis=1)
    rows = [np.stack([per_group(weight * one * two) for two in by], axis=1) for one in by]
    return gradient, np.stack(rows, axis=1)
