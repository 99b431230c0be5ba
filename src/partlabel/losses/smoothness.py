"""Smoothness of labels and features over similar images.

Source: Huynh, Elhamifar: Interactive Multi-Label CNN Learning with Partial Labels, CVPR 2020, eqs. 1 to 7.
"""

import math

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor

Vectors = Float[Tensor, "images classes"]


def squash(logits: Vectors, c: int | float = 1.0, slope: int | float = 2.0) -> Vectors:
    """φ_c(x) = (1 + 1/c)·σ(slope·x - log c) - 1/c: from -1/c to 1, and 0 at 0.

    With slope 2 it is the official code's (e^u - e^-u / c) / (e^u + e^-u), u = x - log(c)/2, which for c = 1 is
    tanh(x). With slope 1 and c = 1 it is 2p - 1 = tanh(x/2), as in the paper.
    """
    return (1 + 1 / c) * torch.sigmoid(slope * logits - math.log(c)) - 1 / c


def fill_unknown(
    predictions: Vectors,
    labels: Int8[Tensor, "images classes"],
    c: int | float,
    side: Bool[Tensor, "classes"],
    side_magnitude: int | float,
) -> Vectors:
    """Label vectors y: 1 where present, -1/c where absent, the prediction where unknown.

    Classes of side information are given, never predicted: their magnitude where present, 0 where unknown.
    """
    present = torch.where(side, side_magnitude, 1.0).to(predictions.dtype)
    known = torch.where(labels > 0, present, -1 / c)
    return torch.where(labels != 0, known, torch.where(side, 0.0, predictions)).to(predictions.dtype)


def reconstruct(
    neighbours: Float[Tensor, "images steps width"], coefficients: Float[Tensor, "images steps"]
) -> Float[Tensor, "images width"]:
    """Sums of neighbours by coefficient."""
    return torch.einsum("qk,qkd->qd", coefficients, neighbours)


def smoothness(
    vectors: Float[Tensor, "images width"],
    reconstructions: Float[Tensor, "images width"],
    indices: Int64[Tensor, "images steps"],
) -> Float[Tensor, ""]:
    """Mean over images and entries of (vector - reconstruction)²; an image for which nothing was chosen adds 0.

    Args:
        vectors: y or f of each image.
        reconstructions: what its neighbours make of it.
        indices: the neighbours, -1 for none.
    """
    has_neighbours = (indices >= 0).any(1, keepdim=True)
    return ((vectors - reconstructions).square() * has_neighbours).mean()
