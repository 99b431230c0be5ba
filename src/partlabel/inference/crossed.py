"""Scores by the models of folds: each cell by the one that never saw it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.inference.scores import blocks_of_alike
from partlabel.progress import Reporter
from partlabel.runs.cell_folds import CellFolds
from partlabel.runs.folder import RunFolder


class CrossedBlock(NamedTuple):
    """Some images.

    Args:
        rows: int64 `[n]`, their ascending numbers.
        logits: float32 `[n, C]`, each of the model of the fold of its cell.
        fold: int64 `[n, C]`.
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    fold: NDArray[np.int64]


def crossed_blocks(
    models: Sequence[RunFolder],
    folds: CellFolds,
    names: Sequence[str],
    root: Path,
    reporter: Reporter,
    max_image_mb: float | None = None,
) -> Iterator[CrossedBlock]:
    """Logits of images, a block of images at a time.

    Args:
        models: finished runs, one for each fold.
        folds: of the cells of these images and the classes of the models.
        names: of the images.
        root: the image folder.
        reporter: where progress goes.
        max_image_mb: takes the place of the runs' own limit.
    """
    columns = np.arange(len(folds.classes))
    for rows, logits in blocks_of_alike(models, names, root, reporter, max_image_mb):
        fold = folds.at(rows[:, None], columns[None, :])
        yield CrossedBlock(rows, np.take_along_axis(logits, fold[:, None], 1)[:, 0], fold)
