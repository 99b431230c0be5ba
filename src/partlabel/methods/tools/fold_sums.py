"""Sums over images, those of each fold of images apart: what a linear discriminant and a choice by folds rest on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from partlabel.evaluation.average_precision import average_precision
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.methods.tools.moments import ClassSums, Moments, mean_differences, step_for
from partlabel.methods.tools.shrunk_covariance import ShrunkCovariance, stage_factors
from partlabel.models.heads.pooled import Transform, transformed


class FoldSums(NamedTuple):
    """Sums over all images, and over those of each fold: of known present, known absent and unknown cells by class;
    the factors of the features, and the covariance of the features times these.
    """

    transform: Transform
    moments: Moments
    present: list[ClassSums]
    absent: list[ClassSums]
    unknown: list[ClassSums]
    scale: Float[Tensor, " d"]
    covariance: ShrunkCovariance
    stage_weight: float = 1.0

    def scaled(self, stages: tuple[int, ...], weight: float) -> "FoldSums":
        """With the features of each stage scaled to the same variance in all, those of the second one then weighted."""
        covariance = self.moments.covariance
        scale = stage_factors(covariance.diag(), stages, weight)
        shrunk = ShrunkCovariance(scale[:, None] * covariance * scale)
        return self._replace(scale=scale, covariance=shrunk, stage_weight=weight)

    def directions(self, differences: Float[Tensor, "classes d"], shrinkages: Sequence[float]) -> Tensor:
        """`ShrunkCovariance.directions` of scaled features, for features as they are."""
        return self.covariance.directions(differences * self.scale, shrinkages) * self.scale


def fold_sums(passes: FeaturePasses, transform: Transform, largest: float) -> FoldSums:
    """One pass over features, of which `largest` is the largest absolute value before the transform."""
    step = step_for(float(transformed(torch.tensor([[largest]]), transform)))
    classes, moments = len(passes.data.labels.classes), None
    by_state: dict[int, list[ClassSums]] = {}
    for block in passes.blocks(transform, step):
        found = Moments.of(block.features, step)
        moments = found if moments is None else moments + found
        for state in (1, -1, 0):
            empty = ClassSums.none(classes, block.features.shape[1])
            of_folds = by_state.setdefault(state, [empty] * passes.folds)
            for fold in range(passes.folds):
                mine = block.fold == fold
                of_folds[fold] += ClassSums.of(block.states[mine] == state, block.features[mine])
    assert moments is not None
    covariance = ShrunkCovariance(moments.covariance)
    return FoldSums(
        transform, moments, by_state[1], by_state[-1], by_state[0], torch.ones_like(moments.total), covariance
    )


def known_differences(sums: FoldSums) -> list[Tensor]:
    """Differences of the class means without each fold, and last of all images."""
    return [
        mean_differences(sums.moments, *parts)
        for parts in zip(without_each(sums.present), without_each(sums.absent), strict=True)
    ]


def without_each(of_folds: list[ClassSums]) -> list[ClassSums]:
    """Sums without each fold, and last of all folds."""
    whole = added(of_folds)
    return [*(whole - part for part in of_folds), whole]


def added(of_folds: list[ClassSums]) -> ClassSums:
    """Sums of all folds."""
    total = of_folds[0]
    for part in of_folds[1:]:
        total += part
    return total


def scores_of(features: Tensor, sums: FoldSums, directions: Tensor) -> Float[Tensor, "n classes"]:
    """Scores z in the precision of the directions."""
    return (sums.moments.step * features - sums.moments.mean).to(directions.dtype) @ directions.T


def scores_of_folds(
    passes: FeaturePasses, sums: FoldSums, rows: NDArray[np.int64], weights: list[Tensor]
) -> NDArray[np.float32]:
    """Scores of images, each by the weights without its fold, float32 `[n, directions]`."""
    found = np.empty((len(rows), len(weights[0])), np.float32)
    done = 0
    for block in passes.blocks(sums.transform, sums.moments.step, rows):
        for fold in range(passes.folds):
            mine = (block.fold == fold).nonzero()[:, 0]
            found[done + mine.numpy()] = scores_of(block.features[mine], sums, weights[fold]).numpy()
        done += len(block.fold)
    return found


def mean_over_classes(scores: NDArray[np.float32], states: NDArray[np.int8]) -> float:
    """Mean average precision (raw) over the classes with both signs; NaN if there is none."""
    values = average_precision(scores, states)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
