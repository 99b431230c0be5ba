"""A covariance shrunk towards a multiple of the identity, and directions that it gives.

Friedman: Regularized Discriminant Analysis, JASA 1989; Ledoit and Wolf: A well-conditioned estimator for
large-dimensional covariance matrices, JMVA 2004, have the same form.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


class ShrunkCovariance:
    """S(λ) = (1 - λ) S + λ (tr S / d) I for any λ, from one eigendecomposition.

    Args:
        covariance: S, float64 `[d, d]`.
    """

    def __init__(self, covariance: Float[Tensor, "d d"]) -> None:
        values, self.vectors = torch.linalg.eigh(covariance)
        self.values = values.clamp(min=0)
        self.identity = self.values.mean().clamp(min=torch.finfo(torch.float64).tiny)

    def directions(
        self, differences: Float[Tensor, "classes d"], shrinkages: Sequence[float]
    ) -> Float[Tensor, "shrinkages classes d"]:
        """S(λ)⁻¹ times each row of differences, scaled so that wᵀ S w = 1: the scores of the images have deviation 1.

        A row of zeros gives zeros.

        Args:
            differences: float64 `[C, d]`.
            shrinkages: values of λ, above 0 and at most 1.
        """
        turned, found = differences @ self.vectors, []
        for shrinkage in shrinkages:
            weights = turned / ((1 - shrinkage) * self.values + shrinkage * self.identity)
            deviation = (weights**2 @ self.values)[:, None].sqrt()
            found.append(torch.where(deviation > 0, weights / deviation, 0.0) @ self.vectors.T)
        return torch.stack(found)


def stage_factors(variances: Float[Tensor, " d"], stages: Sequence[int], weight: float) -> Float[Tensor, " d"]:
    """Factors of features by which each stage has the same variance in all, that of the second one then weighted.

    Args:
        variances: of the features.
        stages: how many features each stage has.
        weight: of the second stage.
    """
    parts = torch.split(variances, list(stages))
    total = [part.sum().clamp(min=torch.finfo(torch.float64).tiny) for part in parts]
    factors = [(weight if number else 1.0) / variance.sqrt() for number, variance in enumerate(total)]
    return torch.cat([factor.expand(width) for factor, width in zip(factors, stages, strict=True)])
