"""Smoothness of labels and features over similar images.

Source: Huynh, Elhamifar: Interactive Multi-Label CNN Learning with Partial Labels, CVPR 2020, eqs. 3 to 6 and
section 4.3.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int8, Int64
from torch import Tensor

Vectors = Float[Tensor, "images classes"]
Imputation = Literal["affine", "phi"]


def impute(logits: Vectors, lowest: float, by: Imputation = "affine", slope: float = 2.0) -> Vectors:
    """What stands for an unknown label, from `lowest` (below 0) to 1.

    "affine" (paper): 2p - 1, which lies in [-1, 1], moved to [lowest, 1]; that is lowest + (1 - lowest)·p. Its value at
    p = 1/2 is (1 + lowest) / 2.
    "phi" (official code): φ_c(x) with c = -1/lowest, which is 0 at p = 1/2; see `squash`.
    """
    if by == "phi":
        return squash(logits, -1 / lowest, slope)
    return lowest + (1 - lowest) * torch.sigmoid(logits)


def squash(logits: Vectors, c: int | float = 1.0, slope: int | float = 2.0) -> Vectors:
    """φ_c(x) = (1 + 1/c)·σ(slope·x - log c) - 1/c: from -1/c to 1, and 0 at 0.

    With slope 2 it is the official code's (e^u - e^-u / c) / (e^u + e^-u), u = x - log(c)/2, which for c = 1 is
    tanh(x). With slope 1 and c = 1 it is 2p - 1 = tanh(x/2), as in eq. 3.
    """
    return (1 + 1 / c) * torch.sigmoid(slope * logits - math.log(c)) - 1 / c


def fill_unknown(predictions: Vectors, labels: Int8[Tensor, "images classes"], lowest: float) -> Vectors:
    """Label vectors y: 1 where present, `lowest` where absent, the prediction where unknown."""
    known = torch.where(labels > 0, 1.0, lowest).to(predictions.dtype)
    return torch.where(labels != 0, known, predictions)


def reconstruct(
    neighbours: Float[Tensor, "images steps width"], coefficients: Float[Tensor, "images steps"]
) -> Float[Tensor, "images width"]:
    """Sums of neighbours by coefficient."""
    return torch.einsum("qk,qkd->qd", coefficients, neighbours)


def smoothness(
    vectors: Float[Tensor, "images width"],
    reconstructions: Float[Tensor, "images width"],
    indices: Int64[Tensor, "images steps"],
) -> Float[Tensor, "images width"]:
    """(vector - reconstruction)² of every entry; 0 for an image for which nothing was chosen.

    Args:
        vectors: y or f of each image.
        reconstructions: what its neighbours make of it.
        indices: the neighbours, -1 for none.
    """
    has_neighbours = (indices >= 0).any(1, keepdim=True)
    return (vectors - reconstructions).square() * has_neighbours
