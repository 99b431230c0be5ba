"""Asymmetric loss (Ridnik et al., ICCV 2021), for hard and soft targets; with equal gammas and no clip it is the focal
loss.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def asymmetric_cells(
    logits: Float[Tensor, "batch classes"],
    targets: Float[Tensor, "batch classes"],
    *,
    gamma_positive: int | float,
    gamma_negative: int | float,
    clip: int | float = 0.0,
    detach_weight: bool = True,
) -> Float[Tensor, "batch classes"]:
    """Per cell -[y log p + (1 - y) log q] · (1 - p·y - q·(1 - y))^(γ₊·y + γ₋·(1 - y)), with q = min(1 - p + clip, 1).

    Args:
        logits: z, with p = σ(z).
        targets: y in [0, 1].
        gamma_positive: γ₊, focusing of present cells.
        gamma_negative: γ₋, focusing of absent cells.
        clip: probability margin by which easy absent cells are dropped.
        detach_weight: let no gradient pass through the focusing weight (as in the public training scripts).
    """
    p = torch.sigmoid(logits)
    log_p = functional.logsigmoid(logits)
    if clip > 0:
        q = (1 - p + clip).clamp(max=1)
        log_q = torch.log(q)
    else:
        q = torch.sigmoid(-logits)
        log_q = functional.logsigmoid(-logits)
    entropy = -(targets * log_p + (1 - targets) * log_q)
    gamma = gamma_positive * targets + gamma_negative * (1 - targets)
    base = (1 - p * targets - q * (1 - targets)).clamp(min=0)
    # the derivative of x^γ is infinite at 0 for γ < 1
    base = base.detach() if detach_weight else base.clamp(min=torch.finfo(base.dtype).tiny)
    return entropy * base**gamma
