"""Hill loss and self-paced loss correction (Zhang et al., 2021), both with the focal margin loss for present cells."""

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.precision import at_least_float32

Cells = Float[Tensor, "batch classes"]
Labels = Int8[Tensor, "batch classes"]


def hill_cells(
    logits: Cells,
    labels: Labels,
    *,
    margin: int | float = 1.0,
    gamma: int | float = 2.0,
    down_weight: int | float = 1.5,
) -> Cells:
    """Present: -(1 - p_m)^γ log p_m with p_m = σ(z - m); unknown: (λ - p)·p², whose slope in p is steepest at λ/3.

    Known absent cells (ours; the paper has none) cannot be missed labels, so the -p that spares these is left out:
    λ·p².

    Args:
        logits: z, with p = σ(z).
        labels: +1, -1, 0.
        margin: m.
        gamma: γ; gradient flows through the focusing weight.
        down_weight: λ; at 1.5 the slope is steepest at p = 0.5 and nothing at p = 1.
    """
    logits = at_least_float32(logits)
    present = _focal(logits - margin, torch.ones_like(logits), gamma)
    p = torch.sigmoid(logits)
    absent = torch.where(labels == -1, down_weight, down_weight - p) * p**2
    return torch.where(labels == 1, present, absent)


def missed_labels(logits: Cells, labels: Labels, tau: int | float) -> Bool[Tensor, "batch classes"]:
    """The unknown cells that are taken as present because p > τ."""
    return (labels == 0) & (torch.sigmoid(at_least_float32(logits)) > tau)


def splc_cells(
    logits: Cells,
    labels: Labels,
    missed: Bool[Tensor, "batch classes"],
    *,
    margin: int | float = 1.0,
    gamma: int | float = 2.0,
) -> Cells:
    """Focal loss with y = 1 where present or `missed`, else 0; present cells have the margin: z ← z - m, missed ones
    not.

    -[y log p + (1 - y) log(1 - p)]·((1 - p)·y + p·(1 - y))^γ; gradient flows through the weight.
    """
    logits = at_least_float32(logits)
    present = labels == 1
    return _focal(logits - margin * present, (present | missed).to(logits.dtype), gamma)


def _focal(logits: Cells, targets: Cells, gamma: int | float) -> Cells:
    return asymmetric_cells(logits, targets, gamma_positive=gamma, gamma_negative=gamma, detach_weight=False)
