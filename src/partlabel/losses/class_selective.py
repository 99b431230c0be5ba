"""The asymmetric loss that tells unknown cells from known absent ones (Ben-Baruch et al., CVPR 2022)."""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from partlabel.losses.asymmetric import asymmetric_cells


def partial_asymmetric_cells(
    logits: Float[Tensor, "batch classes"],
    labels: Int8[Tensor, "batch classes"],
    *,
    gamma_positive: int | float,
    gamma_negative: int | float,
    gamma_unknown: int | float,
) -> Float[Tensor, "batch classes"]:
    """Loss of each cell (P-ASL), with p = σ(z) and unknown cells pushed down; no gradient passes through the weights.

    present: -(1 - p)^γ₊ log p; known absent: -p^γ₋ log(1 - p); unknown: -p^γᵤ log(1 - p).
    """
    present = (labels == 1).to(logits.dtype)
    known = asymmetric_cells(logits, present, gamma_positive=gamma_positive, gamma_negative=gamma_negative)
    unknown = asymmetric_cells(logits, torch.zeros_like(logits), gamma_positive=0, gamma_negative=gamma_unknown)
    return torch.where(labels == 0, unknown, known)
