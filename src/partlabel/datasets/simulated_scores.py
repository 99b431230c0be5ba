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


class SimulatedImages:
    """All cells of images whose labels, and scores, depend on each other within an image.

    Classes have a long tail of prevalences, from a quarter of the images down. An image leans to some classes, and its
    scores err together: a part of their noise is one number for the whole image.

    Args:
        random: source of all draws.
        images: number of images, N.
        classes: number of classes, C.
        rarest: prevalence of the rarest class.
        scale: of the logits, as a multiple of the log-odds: above 1 the scores are overconfident, below 1
            underconfident.
        offset: standard deviation of the offset of each class's logits.
        shared: share of the variance of the noise that all scores of an image have in common.
    """

    def __init__(
        self,
        random: np.random.Generator,
        images: int = 1000,
        classes: int = 74,
        rarest: float = 0.011,
        scale: float = 1.0,
        offset: float = 0.0,
        shared: float = 0.3,
    ) -> None:
        self.classes = tuple(f"class {number}" for number in range(classes))
        frequency = 0.25 * np.arange(1, classes + 1) ** -(np.log(0.25 / rarest) / np.log(classes))
        leaning = random.normal(size=(images, 4)) @ random.normal(0, 0.4, (4, classes))
        prior = np.log(frequency / (1 - frequency))
        self.present = random.random((images, classes)) < 1 / (1 + np.exp(-prior - leaning + 0.3))
        distance = np.clip(random.normal(2.7, 0.5, classes), 1, 4.5)
        noise = np.sqrt(shared) * random.normal(size=(images, 1))
        noise = noise + np.sqrt(1 - shared) * random.normal(size=(images, classes))
        log_odds = distance * (noise + distance * self.present) - distance**2 / 2 + prior
        scales = scale * np.exp(random.normal(0, 0.1, classes))
        self.logits = scales * log_odds + random.normal(0, offset, classes)
