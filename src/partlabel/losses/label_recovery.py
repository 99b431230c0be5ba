"""Soft labels that a network gives to the cells nobody labelled."""

from typing import Literal

import torch
from jaxtyping import Float, Int8
from torch import Tensor

Recovery = Literal["probability", "scaled"]


def recovered_targets(
    logits: Float[Tensor, "batch classes"], labels: Int8[Tensor, "batch classes"], recovery: Recovery = "probability"
) -> Float[Tensor, "batch classes"]:
    """1 for present cells, 0 for absent ones, a probability for unknown ones; no gradient flows back.

    Args:
        logits: z, of the network that recovers.
        labels: +1 present, -1 absent, 0 unknown.
        recovery: "probability": σ(z_c) (co-learning, eq. 8). "scaled": σ(z_c · max z) with the image's largest logit,
            as in its public code; where all logits of an image are negative it gives every unknown cell more than 1/2,
            and the most to the least likely one.
    """
    logits = logits.detach()
    if recovery == "scaled":
        logits = logits * logits.amax(1, keepdim=True)
    return torch.where(labels == 0, torch.sigmoid(logits), (labels == 1).to(logits.dtype))
