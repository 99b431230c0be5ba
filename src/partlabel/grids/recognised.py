"""How high a run ranks the present labels of a few test images."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partlabel.grids.data import Loaded
from partlabel.inference.scores import run_logits
from partlabel.labels import LabelTable, State
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder

Ranks = dict[str, dict[str, int]]
"""By image, the rank of each label that is present in it: 1 is the highest prediction of the image."""


def shown_images(test: LabelTable, count: int) -> NDArray[np.intp]:
    """Row numbers of the first images with a present label: no result has a part in the choice."""
    return np.flatnonzero(test.counts_by_image().present)[:count]


def ranks_of(logits: NDArray[np.float32]) -> NDArray[np.intp]:
    """Ranks `[N, C]` of the classes within each image, from logits `[N, C]`; of equal ones the earlier class comes
    first, so that exactly k classes are among the k highest.
    """
    order = np.argsort(-logits, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, logits.shape[1] + 1)[None], axis=1)
    return ranks


def present_ranks(run: RunFolder, data: Loaded, count: int, reporter: Reporter) -> Ranks:
    """The ranks that a finished run gives to the present labels of the images that are shown.

    Args:
        run: the run, with its model.
        data: what it is tested on.
        count: how many images.
        reporter: where progress goes.
    """
    rows = shown_images(data.test, count)
    images = [data.test.images[row] for row in rows]
    logits, info, _ = run_logits(run, images, Path(data.images).resolve(), reporter)
    ranks = ranks_of(logits[:, [info.classes.index(name) for name in data.test.classes]])
    present = data.test.rows(rows) == State.PRESENT
    return {
        image: {data.test.classes[column]: int(mine[column]) for column in np.flatnonzero(here)}
        for image, mine, here in zip(images, ranks, present, strict=True)
    }
