"""Entropy maximization with asymmetric pseudo-labels (Zhou et al., ECCV 2022)."""

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor

from partlabel.losses.assume_negative import observed_cells, sides
from partlabel.losses.precision import at_least_float32


def entropy_maximization_cells(
    logits: Float[Tensor, "batch classes"],
    labels: Int8[Tensor, "batch classes"],
    soft: Float[Tensor, "batch classes"],
    *,
    alpha: int | float,
    beta: int | float,
) -> Float[Tensor, "batch classes"]:
    """Loss of each cell, with nl(u) = -log(u + 1e-5).

    present: nl(p); known absent: nl(1 - p); unknown without a soft label: -alpha·[p·nl(p) + (1 - p)·nl(1 - p)];
    unknown with soft label s: beta·[s·nl(p) + (1 - s)·nl(1 - p)]. The entropy is differentiated as a whole.

    Args:
        logits: z, with p = σ(z).
        labels: +1, -1, 0.
        soft: soft label in [0, 1]; below 0: none. Ignored where the label is known.
        alpha: weight of the entropy.
        beta: weight of soft labels.
    """
    p = torch.sigmoid(at_least_float32(logits))
    if_present, if_absent = sides(logits)
    target = soft.to(p.dtype)
    entropy = p * if_present + (1 - p) * if_absent
    towards_soft = target * if_present + (1 - target) * if_absent
    unknown = torch.where(target >= 0, beta * towards_soft, -alpha * entropy)
    return torch.where(labels == 0, unknown, observed_cells(logits, labels))


def lowest_of_each_class(
    scores: Float[Tensor, "images classes"], eligible: Bool[Tensor, "images classes"], counts: Int64[Tensor, "classes"]
) -> Bool[Tensor, "images classes"]:
    """Mask of the `counts` lowest scores of each class among the eligible cells, or of all of these where they are
    fewer.

    Of equal scores the one of the smaller row number counts as lower. Takes 16 bytes a cell for the time being.
    """
    order = torch.where(eligible, scores, torch.inf).argsort(dim=0, stable=True)
    first = torch.arange(len(scores), device=scores.device)[:, None] < counts
    return torch.zeros_like(eligible).scatter_(0, order, first) & eligible
