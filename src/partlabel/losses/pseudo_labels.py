"""Labels that a model gives to cells nobody labelled."""

import torch
from jaxtyping import Float, Int8
from torch import Tensor


def confident_pseudo_labels(
    logits: Float[Tensor, "batch classes"], labels: Int8[Tensor, "batch classes"], tau: float
) -> Int8[Tensor, "batch classes"]:
    """+1 where p >= tau, -1 where 1 - p >= tau, else 0; always 0 where the label is known (saliency regularization).

    No gradient flows back.
    """
    p = torch.sigmoid(logits.detach().float())
    pseudo = (p >= tau).to(torch.int8) - (1 - p >= tau).to(torch.int8)
    return torch.where(labels == 0, pseudo, torch.zeros_like(pseudo))
