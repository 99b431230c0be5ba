"""Passes over the features of the training images for a fit, with labels and folds at hand."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int8, Int64
from numpy.typing import NDArray
from torch import Tensor

from partlabel.labels import LabelTable, State
from partlabel.masking.keyed import name_words, ranks_within
from partlabel.methods.fitted import Fit
from partlabel.methods.tools.moments import whole
from partlabel.models.heads.pooled import Transform, transformed

MOST_JUDGED = 40_000_000
"""Scores that are kept at a time to choose by: images × classes × candidates."""
LEAST_JUDGED = 500
"""Images to choose by, however many classes there are."""
_BLOCK = 1024
"""Images worked on at a time, at least."""


class Block(NamedTuple):
    """Some training images.

    Args:
        fold: int64 `[n]`, the fold of each image.
        states: int8 `[n, C]`: +1 present, -1 absent, 0 unknown.
        features: float64 `[n, d]`, whole numbers, in steps.
    """

    fold: Int64[Tensor, " n"]
    states: Int8[Tensor, "n classes"]
    features: Float[Tensor, "n d"]


class FeaturePasses:
    """Passes over training images, in the order of the table.

    Args:
        data: what is fitted to.
        folds: number of folds K that the images are shared out to, by a keyed hash of their names.

    Attributes:
        judging: the labels by which candidates are compared: without recovered cells, which a model guessed, unless
            there are no others.
    """

    def __init__(self, data: Fit, folds: int) -> None:
        self.data, self.folds = data, max(min(folds, len(data.labels)), 2)
        words = name_words(data.labels.images, "folds of a fit/image", data.seed)
        ranks = ranks_within(np.zeros(len(words), np.int64), words)
        self.order, self.fold = ranks, torch.from_numpy(ranks % self.folds)
        self.passes = 0
        own = data.labels.without_recovered()
        self.judging = own if own.counts_by_class().present.any() else data.labels

    def largest(self) -> float:
        """The largest absolute value of a pooled feature."""
        found = [float(features.abs().max()) for _, features in self._seen(None)]
        return max(found, default=0.0)

    def blocks(self, transform: Transform, step: float, rows: NDArray[np.int64] | None = None) -> Iterator[Block]:
        """Images a batch at a time: all, or those with these ascending numbers."""
        for index, features in self._seen(rows):
            states = torch.from_numpy(self.data.labels.rows(index.numpy()))
            yield Block(self.fold[index], states, whole(transformed(features, transform), step))

    def judged(self, candidates: int) -> NDArray[np.int64]:
        """Numbers of the images by which so many candidates are compared, int64, ascending: those with a known cell, or
        as many of them as can be kept in memory, drawn by a keyed hash of their names.
        """
        labels = self.judging
        counts = labels.counts_by_image()
        known = np.flatnonzero(counts.present + counts.absent)
        most = max(MOST_JUDGED // (candidates * len(labels.classes)), LEAST_JUDGED)
        return np.sort(known[np.argsort(self.order[known])][:most])

    def _seen(self, rows: NDArray[np.int64] | None) -> Iterator[tuple[Tensor, Tensor]]:
        self.passes += 1
        wanted = None if rows is None else torch.from_numpy(rows)
        total, done = len(self.data.labels) if rows is None else len(rows), 0
        held: list[tuple[Tensor, Tensor]] = []
        with self.data.reporter.track(f"fitting, pass {self.passes}") as tick:
            for seen in self.data.images(wanted):
                held.append((seen.index.cpu(), seen.features.cpu()))
                done += len(seen.index)
                if done == total or sum(len(index) for index, _ in held) >= _BLOCK:
                    yield torch.cat([index for index, _ in held]), torch.cat([features for _, features in held])
                    held.clear()
                tick(done, total)


def contrasted(labels: LabelTable, rows: NDArray[np.int64]) -> NDArray[np.int8]:
    """States to rank the cells of some images by, int8 `[n, C]`: where no absent cell of the whole table is known,
    unknown cells stand in for them, to compare candidates and for nothing else.
    """
    states = labels.rows(rows)
    if labels.counts_by_class().absent.any():
        return states
    return np.where(states == State.UNKNOWN, np.int8(State.ABSENT), states)
