"""Losses that take unknown cells as absent, or softly so (Cole et al., CVPR 2021).

All take the logarithm as nl(u) = -log(u + 1e-5), as the official code does: a cell costs at most 11.5, and one that is
wrong beyond |logit| of about 11 has hardly any gradient.
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from partlabel.losses.precision import at_least_float32

Cells = Float[Tensor, "batch classes"]
Labels = Int8[Tensor, "batch classes"]

EPSILON = 1e-5


def unknown_as_absent(labels: Labels) -> Labels:
    """The labels with every unknown cell taken as absent: what a method that assumes negatives learns."""
    return torch.where(labels == 1, labels, -torch.ones_like(labels))


def negative_log(probability: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """nl(u) = -log(u + 1e-5)."""
    return -torch.log(probability + EPSILON)


def sides(logits: Cells) -> tuple[Cells, Cells]:
    """nl(p) and nl(1 - p): what each cell costs if it is present, and if it is absent; at least float32."""
    logits = at_least_float32(logits)
    return negative_log(torch.sigmoid(logits)), negative_log(torch.sigmoid(-logits))


def observed_cells(logits: Cells, labels: Labels) -> Cells:
    """nl(p) of present cells, nl(1 - p) of known absent ones, 0 of unknown ones."""
    if_present, if_absent = sides(logits)
    return if_present * (labels == 1) + if_absent * (labels == -1)


def label_smoothing_cells(logits: Cells, labels: Labels, smoothing: int | float) -> Cells:
    """(1 - e)·right side + e·opposite side, where unknown counts as absent; e = 0 is assume negative (AN).

    The official code gives the opposite side e, not e / 2 as smoothing over two outcomes would.
    """
    if_present, if_absent = sides(logits)
    right = torch.where(labels == 1, if_present, if_absent)
    opposite = torch.where(labels == 1, if_absent, if_present)
    return (1 - smoothing) * right + smoothing * opposite


def weak_assume_negative_cells(logits: Cells, labels: Labels) -> Cells:
    """nl(p) of present cells, nl(1 - p) of known absent ones, nl(1 - p) / (C - 1) of unknown ones (WAN)."""
    _, if_absent = sides(logits)
    weak = if_absent / max(labels.shape[1] - 1, 1)
    return torch.where(labels == 0, weak, observed_cells(logits, labels))


def expected_positive_penalty(counts: Float[Tensor, "batch"], expected: int | float, classes: int) -> Float[Tensor, ""]:
    """((mean count - K) / C)²: how far a whole batch is from the expected number of present classes an image (EPR).

    Args:
        counts: sum of the probabilities of each image.
        expected: K, present classes expected in an image.
        classes: C.
    """
    return ((counts.mean() - expected) / classes) ** 2
