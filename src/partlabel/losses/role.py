"""Regularized online label estimation (Cole et al., CVPR 2021): a classifier and a table of estimates teach each
other.
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from partlabel.losses.assume_negative import observed_cells, sides
from partlabel.losses.precision import at_least_float32


def role_cells(
    logits: Float[Tensor, "batch classes"],
    estimates: Float[Tensor, "batch classes"],
    labels: Int8[Tensor, "batch classes"],
) -> Float[Tensor, "batch classes"]:
    """½·[observed(P) + observed(Q) + CE(Q → P) + CE(P → Q)] of each cell, without the regularisers.

    CE(A → B) = a·nl(b) + (1 - a)·nl(1 - b) runs over all cells, known ones too, with no gradient into the target a.

    Args:
        logits: of the classifier, P = σ(logits).
        estimates: logits of the label estimates, Q = σ(estimates).
        labels: +1, -1, 0; `observed` counts known cells only.
    """
    observed = observed_cells(logits, labels) + observed_cells(estimates, labels)
    return (observed + _cross_entropy(estimates, logits) + _cross_entropy(logits, estimates)) / 2


def _cross_entropy(
    teacher: Float[Tensor, "batch classes"], student: Float[Tensor, "batch classes"]
) -> Float[Tensor, "batch classes"]:
    target = torch.sigmoid(at_least_float32(teacher.detach()))
    if_present, if_absent = sides(student)
    return target * if_present + (1 - target) * if_absent
