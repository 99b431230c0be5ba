"""Heterogeneous semantic transfer (HST): labels found by co-occurrence within an image and by prototypes of classes.

Chen, Pu, Liu, Shi, Yang, Lin: Heterogeneous Semantic Transfer for Multi-label Recognition with Partial Labels, IJCV
2024.

As `sst`, with prototypes in place of the single features of other images, and a loss of them. On the label features S
of the `ssgrl` head, L = L_known + L_intra + L_inter + 10 L_pair + 0.05 (L_contrast + L_prototype):
    L_inter      from epoch 5: unknown cells as present whose mean cosine to the prototypes of the class reaches the
                 margin.
    L_prototype  mean over known cells of 1 - t cos, with the mean cosine to the prototypes; from epoch 5.

Unknown cells: ignored, and taken as present where found so; never as absent, unless `unknown_pairs="absent"`.
Settings: those of the official code, where nothing else is said.
Known deviations, each a setting where the official code can be had: the margins are those of `sst` by default. In the
official code they are parameters that start at 1 (`margins="learned"`): no score is above 1, so that nothing is found
and no gradient reaches them, and only weight decay moves them, by about one learning rate a step; scores above them,
cut to [0, 1], also get a loss of weight 0.1 as if they were logits of known cells. The loss of prototypes has the other
sign there (`prototype_sign="official"`), which drives present cells from their prototypes. Prototypes are the centres
of the last 100 features of known present cells; the official code takes the features of all images, in a pass of its
own. How a cell's score follows from several prototypes is ours: their mean. Pairs and contrast: as in `sst`.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from partlabel.losses.bce import bce_cells
from partlabel.methods.base import Clock, Context, Index, Labels, Look, Outputs
from partlabel.methods.sst import PairTransfer, PairTransferConfig
from partlabel.methods.tools.label_transfer import ramp
from partlabel.methods.tools.positive_bank import unit
from partlabel.models.label_pairs import mean_pair_probability
from partlabel.models.tagger import Tagger


class HSTConfig(PairTransferConfig):
    """Settings of `hst`."""

    margins: Literal["falling", "learned"] = "falling"
    """How the margins go: as in `sst`, or as parameters that start at 1. Ours; official code: "learned"."""
    known_score_weight: float = Field(default=0.1, ge=0)
    """Weight of the loss of known cells' scores, with learned margins. Official code: 0.1."""
    prototypes: int = Field(default=10, gt=0)
    """Prototypes of a class. Official code: 10."""
    prototypes_every: int = Field(default=5, gt=0)
    """Epochs after which prototypes are taken anew. Official code: 5."""
    prototype_weight: float = Field(default=0.05, ge=0)
    """Weight of the loss of prototypes. Official code: 0.05."""
    prototype_sign: Literal["paper", "official"] = "paper"
    """Whether present cells are drawn to their prototypes, or driven from them. Paper; official code: "official"."""


class HST(PairTransfer[HSTConfig]):
    """Heterogeneous semantic transfer."""

    Config = HSTConfig
    prototypes: Tensor

    def __init__(self, tagger: Tagger, config: HSTConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.register_buffer("prototypes", torch.zeros(len(tagger.classes), config.prototypes, self.width))
        self.learned = nn.Parameter(torch.ones(2)) if config.margins == "learned" else None

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of `sst`, and the prototypes."""
        return {**super().class_axes, "prototypes": (0,)}

    def refresh_due(self, clock: Clock) -> bool:
        """When unknown cells begin to count, and every few epochs from then on."""
        since = clock.epoch - self.config.from_epoch
        return since >= 0 and since % self.config.prototypes_every == 0 and clock.starts_epoch

    def refresh(self, clock: Clock, images: Look) -> None:
        """Take the prototypes of the bank; no image is looked at."""
        self.prototypes.copy_(self.bank.prototypes(self.config.prototypes))

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Those of `sst`; from the epoch on in which unknown cells count, `prototype` too, and with learned margins
        `score`.
        """
        config = self.config
        losses = self.supervised(outputs, labels, index)
        losses["pairs"] = self.pair_loss(outputs["pairs"], labels, config.unknown_pairs)
        structure = config.pair_weight * losses["pairs"] + config.contrast_weight * losses["contrast"]
        total = losses["supervised"] + ramp(clock) * structure
        if self.learned is not None:  # no parameter without gradient, for which several processes would wait
            total = total + 0 * self.learned.sum()
        if clock.epoch >= config.from_epoch:
            losses |= self._transfer(outputs, labels, clock)
            total = total + losses["intra"] + losses["inter"] + config.prototype_weight * losses["prototype"]
            total = total + config.known_score_weight * losses.get("score", 0.0)
        self.keep(outputs, labels, index)
        return {**losses, "total": total}

    def _transfer(self, outputs: Outputs, labels: Labels, clock: Clock) -> dict[str, Tensor]:
        """What counts from some epoch on."""
        logits, cosine = outputs["logits"], self.prototype_cosine(outputs["semantic"])
        scores = mean_pair_probability(outputs["pairs"], labels), cosine
        losses: dict[str, Tensor] = {}
        if self.learned is None:
            found = [score >= self.margin(clock) for score in scores]
        else:
            over = [(score - margin).clamp(0, 1) for score, margin in zip(scores, self.learned, strict=True)]
            found = [score > 0 for score in over]
            parts = [self.reduce(bce_cells(score, labels), labels != 0, "batch") for score in over]
            losses["score"] = parts[0] + parts[1]
        losses["intra"], losses["inter"] = (self.with_found(logits, labels, each) for each in found)
        sign = 1 if self.config.prototype_sign == "official" else -1
        cells, counted = prototype_cells(cosine, labels, sign), (labels != 0) & (self.bank.count > 0)
        losses["prototype"] = self.reduce(cells, counted, "batch")
        return losses

    def prototype_cosine(self, semantic: Tensor) -> Tensor:
        """Mean cosine `[B, C]` to the prototypes of each class; 0 for a class without any."""
        return (unit(semantic).to(self.prototypes.dtype) * self.prototypes_mean()).sum(2)

    def prototypes_mean(self) -> Tensor:
        """Mean of the prototypes at length 1, `[C, d]`."""
        return unit(self.prototypes).to(self.prototypes.dtype).mean(1)


def prototype_cells(cosine: Tensor, labels: Labels, sign: int) -> Tensor:
    """1 + sign · t · cos of each cell."""
    return 1 + sign * labels * cosine
