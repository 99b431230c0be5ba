"""Held-out cells of a model whose scores and truth are drawn."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from partlabel.labels import IntArray, LabelTable
from partlabel.recovery.held_out import FloatArray


class Drawn(NamedTuple):
    """Cells with their truth."""

    logits: FloatArray
    states: NDArray[np.int8]
    class_index: IntArray


class World:
    """Classes of different frequency, difficulty and bias; logits are log-odds up to a scale and an offset per class."""

    def __init__(self, random: np.random.Generator, classes: int = 74) -> None:
        self.random = random
        self.classes = tuple(f"class {number}" for number in range(classes))
        frequency = np.clip(np.exp(random.normal(np.log(0.03), 0.7, classes)), 0.01, 0.3)
        self.frequency = frequency * 0.04 / frequency.mean()
        self.distance = np.clip(random.normal(2.2, 0.6, classes), 0.6, 4)
        self.offset = random.normal(0, 0.5, classes)
        self.scale = 0.8 * np.exp(random.normal(0.3, 0.2, classes))

    def draw(self, cells: int) -> Drawn:
        column = self.random.integers(0, len(self.classes), cells)
        present = self.random.random(cells) < self.frequency[column]
        distance, frequency = self.distance[column], self.frequency[column]
        seen = self.random.normal(size=cells) + distance * present
        log_odds = distance * seen - distance**2 / 2 + np.log(frequency / (1 - frequency))
        return Drawn(self.scale[column] * log_odds + self.offset[column], np.where(present, 1, -1).astype(np.int8), column)


@pytest.fixture
def world() -> World:
    return World(np.random.default_rng(0))


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
