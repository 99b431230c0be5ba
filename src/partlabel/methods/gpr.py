"""Generalized pseudo-label robust loss (GPR).

Source
Tran, Vo, Nguyen, Dinh, Nguyen: More Reliable Pseudo-labels, Better Performance: A Generalized Approach to Single
Positive Multi-label Learning, ICCV 2025.

Objective
Mean over B·C, with p = σ(z) and nl(u) = -log(u + 1e-7), and reg·((mean over the batch of Σ_c p_c - K_pos) / C)²:
    present                 nl(p)
    taken as present        W·[rho·nl(p) + (1 - rho)·nl(1 - p)]
    taken as absent         V·nl(1 - p)
    every other unknown     V·[K·(1 - p^q2) / q2 + (1 - K)·(1 - (1 - p)^q3) / q3]
V = exp(-(p - mu)² / (2·sigma²)), W = 1 - V within lambda_2..lambda_1, K = σ(w·p + b); none of them has a gradient. So
an unknown cell is pulled up the more, the surer the network is of it. Of e = 1, ..., E epochs, mu and sigma go from
their first to their last values as e / E, w and b as (e - 1) / E.
Taken as present: of the unknown cells whose prior is at least `threshold`, those among the `top_k` largest priors of
the image, known classes counted. Taken as absent: the int(negative_share·C) smallest priors of the image.

Unknown cells
As above. A cell that the prior says nothing of is one of the others.

Settings
Official code: COCO, as the defaults; VOC w 0 to 2, b -2, lambda 0.7 and 0.4, reg 0.05; threshold 0.5, NUS 0.6 [paper];
q3 1.5 for CUB; 8 epochs (NUS and CUB 10), Adam at 1e-5, 1e-4 for the head, batch 16 (VOC 8). K_pos: VOC 1.5, COCO 2.9,
NUS 1.9, CUB 31.4.

Known deviations
The paper's prior is the mean of CLIP's softmax on the whole image and on a grid of 4 × 4 crops, of which a class takes
the largest or the smallest value. Here it is a file of scores of whatever tagger; `scale` says what becomes of them.
The official code marks cells as absent in a way that only takes pseudo-labels of presence back, so that
`negative_share` is 0 here. Known absent cells, which the paper has not, cost nl(1 - p).
"""

import torch
from jaxtyping import Float, Int8
from pydantic import Field
from torch import Tensor

from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Outputs
from partlabel.methods.single_positive import batch_penalty, expected_positives
from partlabel.methods.tools.prior import PriorConfig, PriorMethod
from partlabel.models.tagger import Tagger

EPSILON = 1e-7


class GPRConfig(PriorConfig):
    """Settings of `gpr`. Defaults: official code for COCO."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Prior from which on an unknown cell may be taken as present. Official code: 0.5."""
    top_k: int = Field(default=3, ge=0)
    """Classes of an image, by their priors, of which unknown ones may be taken as present. Official code: 3; CUB 32."""
    negative_share: float = Field(default=0.0, ge=0, le=1)
    """Share of the classes of an image, those of the smallest priors, that are taken as absent where unknown. Ours: 0,
    as the official code works; its setting of that name is 0.3 for COCO.
    """
    w: tuple[float, float] = (0.0, 10.0)
    """First and last slope of K. Official code: 0 to 10; VOC 0 to 2."""
    b: tuple[float, float] = (-2.0, -8.0)
    """First and last offset of K. Official code: -2 to -8; VOC -2 to -2."""
    mu: tuple[float, float] = (0.5, 0.8)
    """First and last centre of V. Official code: 0.5 to 0.8."""
    sigma: tuple[float, float] = (2.0, 0.5)
    """First and last width of V, above 0. Official code: 2 to 0.5."""
    q2: float = Field(default=0.01, gt=0)
    """Exponent of the side of presence. Official code: 0.01."""
    q3: float = Field(default=1.0, gt=0)
    """Exponent of the side of absence. Official code: 1; CUB 1.5."""
    lambda_1: float = Field(default=0.7, ge=0, le=1)
    """Largest weight of a cell taken as present. Official code: 0.7."""
    lambda_2: float = Field(default=0.5, ge=0, le=1)
    """Smallest weight of a cell taken as present. Official code: 0.5; VOC 0.4."""
    rho: float = Field(default=0.9, ge=0.5, le=1)
    """Weight of presence in cells taken as present, against absence. Official code: 0.9."""
    reg: float = Field(default=0.001, ge=0)
    """Weight of the penalty on the number of present classes. Official code: 0.001; VOC 0.05."""
    expected_positives: float | None = Field(default=None, gt=0)
    """K_pos, mean number of present classes in an image; None: estimated where both signs are known. Paper: given."""


class GPR(PriorMethod[GPRConfig]):
    """A robust loss of unknown cells, and pseudo-labels from a prior."""

    Config = GPRConfig
    batch_global = ("mean number of present classes",)

    pseudo: Tensor

    def __init__(self, tagger: Tagger, config: GPRConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.expected = expected_positives(config.expected_positives, context.labels) if config.reg else 0.0
        pseudo = pseudo_labels(self.prior, config.threshold, config.top_k, config.negative_share)
        self.register_buffer("pseudo", pseudo, persistent=False)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`cells`, their mean, and the `penalty`; `pseudo_share` is the share of cells that the prior makes present."""
        logits, config = outputs["logits"], self.config
        pseudo = self.pseudo[index] * (labels == 0)
        gradual, late = clock.epoch / clock.epochs, (clock.epoch + 1) / clock.epochs
        cells = self.reduce(
            gpr_cells(
                logits,
                labels,
                pseudo,
                line=(_between(config.w, gradual), _between(config.b, gradual)),
                bell=(_between(config.mu, late), _between(config.sigma, late)),
                q=(config.q2, config.q3),
                weights=(config.lambda_2, config.lambda_1),
                rho=config.rho,
            )
        )
        losses = {"total": cells, "cells": cells, "pseudo_share": (pseudo == 1).to(torch.float32).mean()}
        if config.reg:
            losses["penalty"] = config.reg * batch_penalty(logits, self.expected)
            losses["total"] = cells + losses["penalty"]
        return losses


def pseudo_labels(
    prior: Float[Tensor, "images classes"], threshold: float, top_k: int, negative_share: float
) -> Int8[Tensor, "images classes"]:
    """+1 for those of the largest priors of an image that reach the threshold, -1 for the smallest, else 0.

    A cell without a prior has neither; where a cell would have both, it has none.

    Args:
        prior: NaN where there is none.
        threshold: that a prior must reach.
        top_k: how many of an image may be +1.
        negative_share: share of the classes of an image that are -1, rounded down.
    """
    classes = prior.shape[1]
    largest = torch.topk(prior.nan_to_num(-torch.inf), min(top_k, classes), 1).indices
    smallest = torch.topk(prior.nan_to_num(torch.inf), int(negative_share * classes), 1, largest=False).indices
    up = torch.zeros_like(prior, dtype=torch.bool).scatter_(1, largest, True) & (prior >= threshold)
    down = torch.zeros_like(up).scatter_(1, smallest, True) & ~prior.isnan()
    return up.to(torch.int8) - down.to(torch.int8)


def gpr_cells(
    logits: Float[Tensor, "batch classes"],
    labels: Int8[Tensor, "batch classes"],
    pseudo: Int8[Tensor, "batch classes"],
    *,
    line: tuple[float, float],
    bell: tuple[float, float],
    q: tuple[float, float],
    weights: tuple[float, float],
    rho: float,
) -> Float[Tensor, "batch classes"]:
    """Loss of each cell, with nl(u) = -log(u + 1e-7); see the module.

    Args:
        logits: z, with p = σ(z).
        labels: +1, -1, 0.
        pseudo: +1 and -1 for unknown cells that are taken as present and absent; ignored where the label is known.
        line: w and b of K.
        bell: mu and sigma of V.
        q: q2 and q3.
        weights: smallest and largest weight of a cell taken as present.
        rho: weight of presence in these.
    """
    z = at_least_float32(logits)
    p, absent = torch.sigmoid(z), torch.sigmoid(-z)
    if_present, if_absent = -torch.log(p + EPSILON), -torch.log(absent + EPSILON)
    with torch.no_grad():
        up = torch.sigmoid(line[0] * p + line[1])
        trust = torch.exp(-((p - bell[0]) ** 2) / (2 * bell[1] ** 2))
    unknown = trust * (up * _robust(p, q[0]) + (1 - up) * _robust(absent, q[1]))
    softly = (1 - trust).clamp(*weights) * (rho * if_present + (1 - rho) * if_absent)
    guessed = torch.where(pseudo == 1, softly, torch.where(pseudo == -1, trust * if_absent, unknown))
    return torch.where(labels == 1, if_present, torch.where(labels == -1, if_absent, guessed))


def _robust(probability: Float[Tensor, "batch classes"], q: float) -> Float[Tensor, "batch classes"]:
    """(1 - u^q) / q; flat below 1e-7, where the gradient could not be computed."""
    return (1 - probability.clamp(min=EPSILON) ** q) / q


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share
