"""How many of the cells taken as absent are taken for missed positives (Kim et al., CVPR 2022)."""

import math


def large_loss_count(cells: int, epoch: int, delta_rel: int | float, *, grows: bool) -> int:
    """How many cells of a mini-batch: ceil(cells · delta_rel / 100 · e), e the epoch or, if it does not grow,
    min(epoch, 1).

    Args:
        cells: B·C, over all processes; known cells are counted too.
        epoch: from 0, in which nothing is modified.
        delta_rel: percentage of the cells.
        grows: whether the share grows from epoch to epoch.

    Returns:
        The number, at most `cells`; what is whole but for rounding errors counts as whole.
    """
    times = epoch if grows else min(epoch, 1)
    return min(math.ceil(cells * delta_rel / 100 * times - 1e-9), cells)
