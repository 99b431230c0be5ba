"""Regularized online label estimation (ROLE).

Cole, Mac Aodha, Lorieul, Perona, Morris, Jojic: Multi-Label Learning from Single Positive Labels, CVPR 2021.

A classifier P = σ(z) and a table of label estimates Q = σ(θ), one logit for each image and class, learn together:
L = ½·[observed(P) + observed(Q) + CE(Q → P) + CE(P → Q)] / (B·C) + ½·[R(P) + R(Q)], observed = nl of known cells,
CE over all cells without gradient into its target, R = ((mean over the batch of Σ_c p_c - K) / C)²; nl as in
`single_positive`. The table is drawn from the seed: unknown uniform in ±logit(0.6), known present logit(0.995), known
absent logit(0.005).

Assumes of labels: known present cells, and K (see `single_positive`).
The table is dense: 4·N·C bytes for N images and C classes, 12·N·C with what Adam keeps of it, 16·N·C with its gradient,
and 12·N·C in a checkpoint. That is 0.1 GB for COCO, and 86 GB for 9 million images of 600 classes, for which this is no
method. Every step touches all of it, as in the official code: cells outside the batch go on moving with Adam's
momentum. It belongs to the training, not to the tagger: it is in the checkpoints, not in the bundle nor in the moving
average of weights. Known deviations: observed(P) and observed(Q) count known absent cells as well, nl(1 - p); the
official code initialises their estimates but refuses them in the loss. The table has no weight decay (official: Adam
without any). The paper's start from a linear classifier trained first ("LinearInit") can be had as a run to start from;
the table then begins anew.
"""

import numpy as np
import torch
from jaxtyping import Float, Int8
from pydantic import Field
from torch import Tensor, nn

from partlabel.labels import LabelTable
from partlabel.losses.assume_negative import observed_cells, sides
from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Method, OptimizerRule, Outputs
from partlabel.methods.single_positive import ExpectedPositiveConfig, batch_penalty, expected_positives
from partlabel.models.tagger import Tagger


class RoleConfig(ExpectedPositiveConfig):
    """Settings of `role`."""

    estimate_lr_factor: float = Field(default=10.0, gt=0)
    """Learning rate of the table of estimates over that of the classifier. Paper and official code: 10."""


class Role(Method[RoleConfig]):
    """Regularized online label estimation."""

    Config = RoleConfig
    learns_from_unknown = True
    batch_global = ("mean number of present classes",)

    def __init__(self, tagger: Tagger, config: RoleConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.expected = expected_positives(config.expected_positives, context.labels)
        self.estimates = nn.Parameter(initial_estimates(context.labels))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The table has its classes along the second axis."""
        return {**super().class_axes, "estimates": (1,)}

    @property
    def optimizer_rules(self) -> dict[str, OptimizerRule]:
        """The table learns faster, and nothing pulls it towards one half."""
        return {"estimates": OptimizerRule(lr_factor=self.config.estimate_lr_factor, decay=False)}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`mutual` between classifier and estimates, and the `penalty` on the number of present classes of both."""
        logits, estimates = outputs["logits"], self.estimates[index]
        mutual = self.reduce(role_cells(logits, estimates, labels))
        penalty = (batch_penalty(logits, self.expected) + batch_penalty(estimates, self.expected)) / 2
        return {"total": mutual + penalty, "mutual": mutual, "penalty": penalty}


def initial_estimates(labels: LabelTable) -> Tensor:
    """Float32 `[N, C]` logits: uniform in ±logit(0.6) where unknown, ±logit(0.995) where known."""
    spread, sure = (float(np.log(p / (1 - p))) for p in (0.6, 0.995))
    states = torch.from_numpy(labels.dense())
    drawn = torch.rand(labels.shape).mul_(2 * spread).sub_(spread)
    return torch.where(states == 0, drawn, sure * states)


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
