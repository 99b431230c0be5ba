"""Scores with known truth: what a model might say of cells, to measure what calibration and thresholds make of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class DrawnCells(NamedTuple):
    """Cells with their truth: logits float64 `[K]`, states int8 `[K]` of -1 and +1, class numbers int64 `[K]`."""

    logits: NDArray[np.float64]
    states: NDArray[np.int8]
    class_index: NDArray[np.int64]


class SimulatedScores:
    """Classes of different frequency, difficulty and bias; logits are log-odds up to a scale and an offset per class.

    Args:
        random: source of all draws.
        classes: number of classes.
    """

    def __init__(self, random: np.random.Generator, classes: int = 74) -> None:
        self.random = random
        self.classes = tuple(f"class {number}" for number in range(classes))
        frequency = np.clip(np.exp(random.normal(np.log(0.03), 0.7, classes)), 0.01, 0.3)
        self.frequency = frequency * 0.04 / frequency.mean()
        self.distance = np.clip(random.normal(2.2, 0.6, classes), 0.6, 4)
        self.offset = random.normal(0, 0.5, classes)
        self.scale = 0.8 * np.exp(random.normal(0.3, 0.2, classes))

    def draw(self, cells: int) -> DrawnCells:
        """Cells of random classes, about 4 % of them present."""
        column = self.random.integers(0, len(self.classes), cells)
        present = self.random.random(cells) < self.frequency[column]
        distance, frequency = self.distance[column], self.frequency[column]
        seen = self.random.normal(size=cells) + distance * present
        log_odds = distance * seen - distance**2 / 2 + np.log(frequency / (1 - frequency))
        return DrawnCells(
            self.scale[column] * log_odds + self.offset[column], np.where(present, 1, -1).astype(np.int8), column
        )
