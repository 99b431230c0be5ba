"""Binary cross-entropy of single cells."""

from jaxtyping import Float, Int8
from torch import Tensor
from torch.nn import functional


def bce_cells(
    logits: Float[Tensor, "batch classes"], labels: Int8[Tensor, "batch classes"]
) -> Float[Tensor, "batch classes"]:
    """-log p of present cells, -log(1 - p) of absent ones, 0 where the label is unknown; stable at any logit."""
    return functional.softplus(-labels * logits) * (labels != 0)
