"""How known cells came to be known, as far as their counts tell: cell by cell, or more of some images and classes."""

from dataclasses import dataclass

import numpy as np

from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import IntArray

_LEAST_VARIATION = 0.1
_SIGMAS = 5.0


@dataclass(frozen=True)
class Design:
    """Which rates of known cells differ by more than chance; states have no part in it.

    Args:
        by_image: more cells are known of some images than of others, as where images were tagged whole. Then images
            are the unit of the sample, and their cells err together.
        by_class: more cells are known of some classes than of others. Then known cells count by how many unknown ones
            of their class they stand for.
    """

    by_image: bool = False
    by_class: bool = False


BY_CHANCE = Design()
"""Cells are known one by one, all at the same rate."""


def design_of(cells: ScoredCells, images: int) -> Design:
    """The design that the counts of known cells show.

    Under sampling cell by cell the count of an image, or class, is binomial. A rate is taken to differ where the counts
    vary more than that by five standard errors, and the rates themselves by more than a tenth of their mean.

    Args:
        cells: known cells, with their images.
        images: how many images they might have been of.
    """
    by_image = np.bincount(cells.image_index, minlength=images)
    by_class = np.bincount(cells.class_index, minlength=len(cells.classes))
    return Design(_varies(by_image, len(cells.classes)), _varies(by_class, images))


def _varies(counts: IntArray, size: int) -> bool:
    """Whether counts of `size` cells each vary by more than chance."""
    mean = counts.mean() if counts.size else 0.0
    if counts.size < 2 or mean == 0:
        return False
    binomial = mean * max(1 - mean / size, 0.0)
    excess = counts.var(ddof=1) - binomial
    # The variance of a sample variance of binomial counts, with their fourth moment.
    error = np.sqrt((2 * binomial**2 + binomial) / counts.size)
    return bool(excess > _SIGMAS * error and excess > (_LEAST_VARIATION * mean) ** 2)
