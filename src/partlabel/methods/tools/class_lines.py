"""Log odds of a class from its scores: a line for each class, shrunk to what the classes have in common."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.recovery.logistic import fit_lines

DEVIATION = (2.0, 0.5)
"""Prior standard deviations of a class from the common line: of the log odds where known present cells lie on average,
and of the logarithm of the slope. Ours; docs/decisions/2026-11-29-one-scale-for-all-classes.md.
"""
_SLOPES = (0.5, 8.0)
_SLOPE = 2.0
"""Slope where no known cell can be judged."""
_ANY = 10.0
_ROUNDS = 100
_TOLERANCE = 1e-3


class ClassLines(NamedTuple):
    """Log odds `slope · score + offset`, float64 `[C]` each; NaN for a class that does not have both signs."""

    slope: NDArray[np.float64]
    offset: NDArray[np.float64]


def class_lines(scores: NDArray[np.float32], states: NDArray[np.int8], slope: float) -> ClassLines:
    """The most probable lines of the known cells, each with a normal prior around a common one.

    A hierarchical logistic regression: l = β_c + α_c (s - t), t the mean score of the present cells, β_c ~ N(β, 2²) and
    log α_c ~ N(log α, 0.5²). Of β nothing is known before; log α ~ N(log slope, 0.5²), without which it would grow
    without bound where all cells of all classes are told apart.

    Args:
        scores: `[n, C]`, of images whose labels had no part in them.
        states: `[n, C]` of -1, 0 and +1.
        slope: what the slope of the common line is expected to be, above 0.
    """
    both = np.logical_and((states > 0).any(0), (states < 0).any(0))
    slopes, offsets = np.full((2, states.shape[1]), np.nan)
    if not both.any():
        return ClassLines(slopes, offsets)
    row, column = np.nonzero(states[:, both])
    values, present = scores[:, both][row, column].astype(np.float64), states[:, both][row, column] > 0
    centre = float(values[present].mean())
    expected, classes = float(np.log(slope)), int(both.sum())
    start = np.array([[0.0, expected]])
    mean = fit_lines(values - centre, present, np.zeros_like(column), start, (_ANY, DEVIATION[1]))[0]
    for _ in range(_ROUNDS):
        lines = fit_lines(values - centre, present, column, np.tile(mean, (classes, 1)), DEVIATION)
        found = np.array([lines[:, 0].mean(), (lines[:, 1].sum() + expected) / (classes + 1)])
        moved, mean = np.abs(found - mean).max(), found
        if moved < _TOLERANCE:
            break
    slopes[both] = np.exp(lines[:, 1])
    offsets[both] = lines[:, 0] - slopes[both] * centre
    return ClassLines(slopes, offsets)


def separation(scores: NDArray[np.float32], states: NDArray[np.int8]) -> float:
    """How far the scores of known present cells lie above those of known absent ones, or of all where none is known.

    Of two normal distributions of variance 1 it is the slope of the log odds (linear discriminant analysis).
    """
    present, absent = scores[states > 0], scores[states < 0]
    if not present.size:
        return _SLOPE
    below = float(absent.mean(dtype=np.float64)) if absent.size else float(scores.mean(dtype=np.float64))
    return float(np.clip(present.mean(dtype=np.float64) - below, *_SLOPES))
