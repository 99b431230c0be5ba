"""Held-out cells of a model whose scores and truth are drawn."""

from typing import NamedTuple

import numpy as np
import pytest

from partlabel.datasets.simulated_scores import SimulatedScores
from partlabel.evaluation.scored_cells import FloatArray
from partlabel.labels import LabelTable


@pytest.fixture
def world() -> SimulatedScores:
    return SimulatedScores(np.random.default_rng(0))


class Scored(NamedTuple):
    """A table with gaps, its truth, and logits for every cell."""

    table: LabelTable
    truth: LabelTable
    logits: FloatArray


@pytest.fixture(scope="session")
def scored() -> Scored:
    random = np.random.default_rng(3)
    classes = ("sky", "sea", "boat", "gull")
    images = tuple(f"{number}.jpg" for number in range(300))
    states = np.where(random.random((300, 4)) < (0.5, 0.4, 0.2, 0.1), 1, -1).astype(np.int8)
    logits = 3.0 * states + random.normal(0, 1.5, states.shape)
    known = random.random(states.shape) < 0.5
    return Scored(
        LabelTable.from_dense(images, classes, np.where(known, states, 0)),
        LabelTable.from_dense(images, classes, states),
        logits,
    )
