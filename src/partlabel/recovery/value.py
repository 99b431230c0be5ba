"""Which unknown cells to ask a person about first, so that a model gains most by each answer. Ours.

The model of a class rests on the few images in which the class is known to be present. It errs with a variance of about
1 / n, n of them, and an answer tells as much as the variance p (1 - p) of what it may be. The value of a cell is

    v = p (1 - p) / (n + ½)

with p the probability that it is present, and n the known present images of its class and those expected among the
cells of the class that are asked before it. Of images that the model takes for nearly the same (the frames of a burst,
copies of one picture) a class is asked once; what the answer was, the next fit tells about the others.
docs/review.md says what it gains over asking in another order.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import IntArray

ALIKE = 0.85
"""Cosine of the features of two images (without their mean) from which on they are taken for nearly the same."""
_OF_A_CLASS = 200
"""Cells of a class that are looked at, at most."""

FloatArray = NDArray[np.float64]


class Askable(NamedTuple):
    """Some images whose cells may be asked.

    Args:
        rows: int64 `[n]`, their numbers.
        probability: float64 `[n, C]`, of being present.
        open: bool `[n, C]`, cells that may be asked.
    """

    rows: IntArray
    probability: FloatArray
    open: NDArray[np.bool_]


class Candidates(NamedTuple):
    """The least certain cells of each class, those first; where there are fewer than k, rows of -1 follow.

    Args:
        rows: int64 `[k, C]`, numbers of images.
        probability: float64 `[k, C]`, of being present.
    """

    rows: IntArray
    probability: FloatArray


def candidates(blocks: Iterable[Askable], classes: int, most: int = _OF_A_CLASS) -> Candidates:
    """The least certain cells of each of so many classes, at most `most` of each."""
    rows, probability = np.empty((0, classes), np.int64), np.empty((0, classes))
    for block in blocks:
        rows = np.concatenate([rows, np.where(block.open, block.rows[:, None], -1)])
        probability = np.concatenate([probability, block.probability])
        order = np.argsort(np.where(rows < 0, np.inf, np.abs(probability - 0.5)), axis=0, kind="stable")[:most]
        rows, probability = np.take_along_axis(rows, order, 0), np.take_along_axis(probability, order, 0)
    return Candidates(rows, probability)


def by_value(
    found: Candidates, present: IntArray, directions: NDArray[np.float32], most: int, alike: float = ALIKE
) -> tuple[IntArray, IntArray]:
    """Cells in the order in which they are best asked.

    Args:
        found: the cells to choose from.
        present: int64 `[C]`, known present images of each class.
        directions: float32 `[N, d]`, what `directions_of` makes of the features of all images.
        most: cells, at most.
        alike: see `ALIKE`; above 1, every cell may be asked.

    Returns:
        Numbers of images and of classes, int64 `[n]` each.
    """
    kept = [list(_unlike(rows, directions, alike)) for rows in found.rows.T]
    columns = np.repeat(np.arange(len(kept)), [len(places) for places in kept])
    values = [
        _values(probability[places], count)
        for places, probability, count in zip(kept, found.probability.T, present.tolist(), strict=True)
    ]
    order = np.argsort(-np.concatenate([np.empty(0), *values]), kind="stable")[:most]
    places = np.concatenate([np.empty(0, np.int64), *(np.array(one, np.int64) for one in kept)])
    return found.rows[places[order], columns[order]], columns[order]


def directions_of(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features `[N, d]` without their mean, of length 1 (0 where an image is the mean), whose products are cosines."""
    centred = features - features.mean(0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(length > 0, length, 1), np.float32)


def _values(probability: FloatArray, present: int) -> FloatArray:
    """V of cells of one class that are asked one after the other; never rising, so that they stay in this order."""
    expected = present + np.cumsum(probability) - probability
    return np.asarray(np.minimum.accumulate(probability * (1 - probability) / (expected + 0.5)))


def _unlike(rows: IntArray, directions: NDArray[np.float32], alike: float) -> Iterator[int]:
    """Places of the cells of a class whose images are not nearly the same as that of one before."""
    asked = np.empty((len(rows), directions.shape[1]), np.float32)
    count = 0
    for place, row in enumerate(rows[rows >= 0].tolist()):
        if not count or float(np.max(asked[:count] @ directions[row])) < alike:
            asked[count] = directions[row]
            count += 1
            yield place
