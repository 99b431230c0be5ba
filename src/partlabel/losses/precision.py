"""Precision in which losses are computed."""

import torch
from jaxtyping import Float
from torch import Tensor


def at_least_float32(logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Half precision becomes float32, because it cannot tell 1 - 1e-5 from 1; float64 stays."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
