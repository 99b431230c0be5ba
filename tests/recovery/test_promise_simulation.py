"""The promise on cells that nobody has looked at, over repetitions of which cells are known;
`benchmarks/promise_simulation.py` has more ways of knowing.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from partlabel.datasets.simulated_scores import SimulatedImages
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.recovery.design import BY_CHANCE, Design, design_of
from partlabel.recovery.promise import LOWEST, promise_precision
from partlabel.recovery.sample import Unknown

pytestmark = pytest.mark.slow

WORLDS, DRAWS = 5, 30
IMAGES, CLASSES = 500, 30
CONFIDENCE = 0.9
RATES = np.tile([0.05, 0.2, 0.4, 0.6, 0.6], CLASSES // 5)
Mask = Callable[[np.random.Generator], NDArray[np.bool_]]


def by_chance(rate: float) -> Mask:
    return lambda random: random.random((IMAGES, CLASSES)) < rate


def whole_images(random: np.random.Generator) -> NDArray[np.bool_]:
    return np.broadcast_to(random.random((IMAGES, 1)) < 0.3, (IMAGES, CLASSES))


def class_rates(random: np.random.Generator) -> NDArray[np.bool_]:
    return random.random((IMAGES, CLASSES)) < RATES


class Outcome(NamedTuple):
    """Shares of the draws that keep the promise, and that suggest anything."""

    kept: float
    suggesting: float


def simulated(mask: Mask, target: float, seen: Design | None = None, flattered: float = 0.0) -> Outcome:
    """What becomes of the promise in worlds of overconfident scores; `flattered` is added to the logits of classes that
    are known least. The design is read from the known cells, unless it is given.
    """
    kept = suggesting = 0
    for number in range(WORLDS * DRAWS):
        random = np.random.default_rng([11, number])
        if number % DRAWS == 0:
            world = SimulatedImages(random, IMAGES, CLASSES, 0.03, scale=1.3, offset=0.3, shared=0.7)
            probability = expit(world.logits + flattered * (RATES < 0.1))
        known = mask(random)
        rows, columns = at = np.nonzero(known)
        states = np.where(world.present[at], 1, -1).astype(np.int8)
        cells = ScoredCells(world.classes, world.logits[at], states, columns, (), rows)
        open_at = np.nonzero(~known & (probability >= LOWEST))
        unknown = Unknown(probability[open_at], open_at[1], (~known).sum(axis=0))
        design = design_of(cells, IMAGES) if seen is None else seen
        found = promise_precision(cells, probability[at], unknown, target, CONFIDENCE, design=design)
        right = world.present[open_at][unknown.probability >= found.values[unknown.class_index]]
        suggesting += right.size > 0
        kept += right.size == 0 or right.mean() >= target
    return Outcome(kept / (WORLDS * DRAWS), suggesting / (WORLDS * DRAWS))


FEWEST_KEPT = CONFIDENCE - 3 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / (WORLDS * DRAWS))


@pytest.mark.parametrize(
    ("mask", "target", "flattered", "suggesting"),
    [
        (by_chance(0.2), 0.8, 0.0, 0.5),
        (by_chance(0.5), 0.9, 0.0, 0.5),
        (whole_images, 0.8, 0.0, 0.5),
        (class_rates, 0.7, 0.0, 0.5),
        (class_rates, 0.8, 3.0, 0.05),
    ],
    ids=["20 % of cells", "50 % of cells", "whole images", "class rates", "flattered classes"],
)
def test_the_promise_is_kept(mask: Mask, target: float, flattered: float, suggesting: float) -> None:
    found = simulated(mask, target, flattered=flattered)
    assert found.kept >= FEWEST_KEPT
    assert found.suggesting >= suggesting


def test_a_promise_that_ignores_how_cells_came_to_be_known_is_not_kept() -> None:
    """So the tests above see what the design is for."""
    assert simulated(class_rates, 0.8, BY_CHANCE, 3.0).kept < 0.6
