"""A linear classifier of a class of which no label is known, from those of other classes and the words of all names.

Romera-Paredes and Torr: An embarrassingly simple approach to zero-shot learning, ICML 2015, has a ridge from features
to labels and one from labels to attributes. Here the first is the discriminant of known cells (`methods.discriminant`),
so that unknown cells are in neither mean, and in the second a class counts by how many of its cells are known. Ours in
this form.

With p_c the vector of the name of class c, without the mean over the known classes and of length 1, d_c = m⁺ - m⁻ the
difference of its means over n⁺ known present and n⁻ known absent images, and S(λ) the shrunk covariance of all images:
    d = Σ_c a_c d_c,  a = (K + γ N)⁻¹ k,  K = P Pᵀ,  k_c = p_cᵀ p,  w = S(λ)⁻¹ d, scaled to wᵀ S w = 1
N is diagonal, 1/n⁺ + 1/n⁻ of a class over its mean: the sampling variance of d_c, so that a class that few images show
counts less. The same row is given by a ridge from the vectors p_c to the differences d_c, with weights 1/N_c.

λ and γ are chosen by leaving out classes and images at once: each class is scored by the others of the run, on images
of a fold whose labels are in no mean; the mean average precision of known cells decides. The form, and the text that
names stand in ("a photo of a NAME"), were chosen by the same measure: docs/new_class.md.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.methods.tools.feature_passes import FeaturePasses, contrasted
from partlabel.methods.tools.fold_sums import (
    FoldSums,
    added,
    known_differences,
    mean_over_classes,
    scores_of_folds,
    without_each,
)
from partlabel.methods.tools.moments import ClassSums

SHRINKAGES = (1.0, 0.97, 0.9, 0.7, 0.4)
"""Values of λ that are tried; of equally good ones the first is taken."""
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
"""Values of γ that are tried, likewise."""
LEAST = 3
"""Classes with a known present image that it takes."""
_UNJUDGED = (0.97, 1.0)


class WordRidge(NamedTuple):
    """Rows of n new classes.

    Args:
        directions: float64 `[n, d]`, w of each.
        shrinkage: λ.
        penalty: γ.
        left_out_mAP: mean average precision of the run's own classes, each left out; NaN where none could be judged.
        chance: what an order at random would have there.
    """

    directions: Float[Tensor, "new d"]
    shrinkage: float
    penalty: float
    left_out_mAP: float
    chance: float


def word_ridge(
    passes: FeaturePasses,
    sums: FoldSums,
    known: Float[Tensor, "classes text_features"],
    new: Float[Tensor, "new text_features"],
) -> WordRidge:
    """Rows for new classes.

    Args:
        passes: over images whose labels are of C known classes.
        sums: of these passes.
        known: float `[C, t]`, vectors of the names of the known classes.
        new: float `[n, t]`, vectors of those of the new ones.

    Raises:
        UsageError: fewer than `LEAST` classes have a known present image.
    """
    seen = added(sums.present).weight > 0
    if int(seen.sum()) < LEAST:
        raise UsageError(
            f"{int(seen.sum())} class(es) of the run have a known present image, and it takes {LEAST} to learn what "
            "words look like; label some images of the new class (partlabel review), and give the table of these"
        )
    differences, noise = known_differences(sums), noises(sums)
    within, between = kernels(known, new, seen)
    (shrinkage, penalty), judged, chance = _chosen(passes, sums, differences[:-1], noise[:-1], within)
    weights = weights_of(within, between, noise[-1], penalty)
    directions = sums.directions(weights @ differences[-1], [shrinkage])[0]
    return WordRidge(directions, shrinkage, penalty, judged, chance)


def kernels(
    known: Float[Tensor, "classes t"], new: Float[Tensor, "new t"], seen: Tensor
) -> tuple[Float[Tensor, "classes classes"], Float[Tensor, "new classes"]]:
    """K among known classes, and k between new ones and them, float64, from vectors without the mean over the classes
    that are `seen`.
    """
    mean = known[seen].double().mean(0)
    units = [torch.nn.functional.normalize(vectors.double() - mean, dim=1) for vectors in (known, new)]
    return units[0] @ units[0].T, units[1] @ units[0].T


def noises(sums: FoldSums) -> list[Float[Tensor, " classes"]]:
    """The diagonal of N without each fold, and last with all; infinite for a class without a known present image."""
    return [_noise(*parts) for parts in zip(without_each(sums.present), without_each(sums.absent), strict=True)]


def _noise(present: ClassSums, absent: ClassSums) -> Float[Tensor, " classes"]:
    variance = 1 / present.weight + torch.where(absent.weight > 0, 1 / absent.weight, 0.0)
    return variance / variance[present.weight > 0].mean()


def weights_of(
    within: Float[Tensor, "classes classes"],
    between: Float[Tensor, "new classes"],
    noise: Float[Tensor, " classes"],
    penalty: float,
) -> Float[Tensor, "new classes"]:
    """The weights a of the known classes for each new one; 0 for classes of infinite noise."""
    found, seen = torch.zeros_like(between), torch.isfinite(noise)
    system = within[seen][:, seen] + penalty * torch.diag(noise[seen])
    found[:, seen] = torch.linalg.solve(system, between[:, seen].T).T
    return found


def left_out_differences(
    differences: Float[Tensor, "classes d"],
    within: Float[Tensor, "classes classes"],
    noise: Float[Tensor, " classes"],
    penalty: float,
) -> Float[Tensor, "classes d"]:
    """What the other classes say of each, as if it were new: for all at once, d - (K + γ N)⁻¹ d / diag (K + γ N)⁻¹.

    Of a class of infinite noise it is what all others say.
    """
    seen = torch.isfinite(noise)
    inverse = torch.linalg.inv(within[seen][:, seen] + penalty * torch.diag(noise[seen]))
    found = weights_of(within, within, noise, penalty) @ differences
    found[seen] = differences[seen] - inverse @ differences[seen] / inverse.diag()[:, None]
    return found


def _chosen(
    passes: FeaturePasses,
    sums: FoldSums,
    differences: list[Tensor],
    noise: list[Tensor],
    within: Float[Tensor, "classes classes"],
) -> tuple[tuple[float, float], float, float]:
    """λ and γ, the mean average precision that they have, and that of chance."""
    rows = passes.judged(len(SHRINKAGES))
    states = contrasted(passes.judging, rows)
    values = np.full((len(SHRINKAGES), len(PENALTIES)), np.nan)
    for column, penalty in enumerate(PENALTIES):
        weights = []
        for of_fold, its in zip(differences, noise, strict=True):
            guessed = left_out_differences(of_fold, within, its, penalty)
            weights.append(sums.directions(guessed, SHRINKAGES).flatten(0, 1).float())
        scores = scores_of_folds(passes, sums, rows, weights).reshape(len(rows), len(SHRINKAGES), -1)
        values[:, column] = [mean_over_classes(scores[:, place], states) for place in range(len(SHRINKAGES))]
    chance = mean_over_classes(np.zeros(states.shape, np.float32), states)
    if np.isnan(values).all():
        return _UNJUDGED, float("nan"), chance
    row, column = divmod(int(np.nanargmax(values)), len(PENALTIES))
    return (SHRINKAGES[row], PENALTIES[column]), float(values[row, column]), chance
