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

λ and γ are chosen by leaving out classes and images at once: a part of the classes of the run is taken for new, and
told by the others, on images of a fold whose labels are in no mean; the mean average precision of known cells decides.
What is said of its quality is, of each class, that with the λ and γ that other classes chose.
The form, and the text that names stand in ("a photo of a NAME"), were chosen by such a measure: docs/new_class.md.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from partlabel.errors import UsageError
from partlabel.evaluation.average_precision import average_precision, chance_average_precision
from partlabel.methods.tools.feature_passes import FeaturePasses, contrasted
from partlabel.methods.tools.fold_sums import (
    FoldSums,
    added,
    known_differences,
    scores_of_folds,
    without_each,
)
from partlabel.methods.tools.moments import ClassSums

SHRINKAGES = (1.0, 0.97, 0.9, 0.7, 0.4)
"""Values of λ that are tried; of equally good ones the first is taken."""
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
"""Values of γ that are tried, likewise."""
PARTS = 20
"""Parts of the classes that are left out in turn; of fewer classes each is a part."""
LEAST = 3
"""Classes with a known present image that it takes."""
_UNJUDGED = (0.97, 1.0)


class WordRidge(NamedTuple):
    """Rows of n new classes.

    Args:
        directions: float64 `[n, d]`, w of each.
        shrinkage: λ.
        penalty: γ.
        left_out_mAP: mean average precision of the run's own classes, left out in turn, each with the λ and γ that are
            best for other classes; NaN where none could be judged.
        chance: what random orders are expected to have there.
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
    (shrinkage, penalty), judged, chance = _chosen(passes, sums, differences[:-1], noise[:-1], known)
    guessed = told_by_words(differences[-1], noise[-1], known, new, penalty)
    return WordRidge(sums.directions(guessed, [shrinkage])[0], shrinkage, penalty, judged, chance)


def noises(sums: FoldSums) -> list[Float[Tensor, " classes"]]:
    """The diagonal of N without each fold, and last with all; infinite for a class without a known present image."""
    return [_noise(*parts) for parts in zip(without_each(sums.present), without_each(sums.absent), strict=True)]


def _noise(present: ClassSums, absent: ClassSums) -> Float[Tensor, " classes"]:
    variance = 1 / present.weight + torch.where(absent.weight > 0, 1 / absent.weight, 0.0)
    return variance / variance[present.weight > 0].mean()


def told_by_words(
    differences: Float[Tensor, "classes d"],
    noise: Float[Tensor, " classes"],
    known: Float[Tensor, "classes t"],
    new: Float[Tensor, "new t"],
    penalty: float,
) -> Float[Tensor, "new d"]:
    """The differences d of new classes. Known classes of infinite noise have no part in them; without any, d is 0."""
    seen = torch.isfinite(noise)
    if not seen.any():
        return torch.zeros(len(new), differences.shape[1], dtype=differences.dtype)
    mean = known[seen].double().mean(0)
    units, their = (normalize(vectors.double() - mean, dim=1) for vectors in (known[seen], new))
    weights = torch.linalg.solve(units @ units.T + penalty * torch.diag(noise[seen]), units @ their.T)
    guessed: Tensor = weights.T @ differences[seen]
    return guessed


def left_out_differences(
    differences: Float[Tensor, "classes d"],
    noise: Float[Tensor, " classes"],
    known: Float[Tensor, "classes t"],
    penalty: float,
) -> Float[Tensor, "classes d"]:
    """The same of the known classes: each by those of the other parts, as if its own were new.

    By the well-known formula for residuals left out, all at once, a class would have had a part in the mean of the
    vectors; then it is, but for the penalty, a sum of the others, and "none of the others" stands in for its words.
    """
    part = torch.arange(len(known)) % min(PARTS, len(known))
    found = torch.zeros_like(differences)
    for number in range(int(part.max()) + 1):
        out = part == number
        others = torch.where(out, torch.inf, noise)
        found[out] = told_by_words(differences, others, known, known[out], penalty)
    return found


def _chosen(
    passes: FeaturePasses,
    sums: FoldSums,
    differences: list[Tensor],
    noise: list[Tensor],
    known: Float[Tensor, "classes t"],
) -> tuple[tuple[float, float], float, float]:
    """λ and γ, the mean average precision that they have, and that of chance."""
    rows = passes.judged(len(SHRINKAGES))
    states = contrasted(passes.judging, rows)
    values = np.full((len(SHRINKAGES), len(PENALTIES), len(known)), np.nan)
    for column, penalty in enumerate(PENALTIES):
        weights = []
        for of_fold, its in zip(differences, noise, strict=True):
            guessed = left_out_differences(of_fold, its, known, penalty)
            weights.append(sums.directions(guessed, SHRINKAGES).flatten(0, 1).float())
        scores = scores_of_folds(passes, sums, rows, weights).reshape(len(rows), len(SHRINKAGES), -1)
        values[:, column] = [average_precision(scores[:, place], states) for place in range(len(SHRINKAGES))]
    judged = np.isfinite(values).all(axis=(0, 1))
    if not judged.any():
        return _UNJUDGED, float("nan"), float("nan")
    row, column = _best(values[..., judged])
    parts = np.arange(int(judged.sum())) % PARTS
    left_out = [_as_chosen_by_others(values[..., judged], parts == number) for number in range(int(parts.max()) + 1)]
    chance = chance_average_precision(states)[judged]
    return (SHRINKAGES[row], PENALTIES[column]), float(np.concatenate(left_out).mean()), float(chance.mean())


def _best(values: NDArray[np.float64]) -> tuple[int, int]:
    """Position of the highest mean over classes, of `[λ, γ, C]`."""
    row, column = divmod(int(values.mean(axis=2).argmax()), len(PENALTIES))
    return row, column


def _as_chosen_by_others(values: NDArray[np.float64], part: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What the classes of a part have with the λ and γ that are best for the others."""
    row, column = _best(values[..., ~part] if not part.all() else values)
    return np.asarray(values[row, column, part])
