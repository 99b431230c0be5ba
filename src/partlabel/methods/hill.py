"""Hill loss, and self-paced loss correction (SPLC).

Zhang, Cheng, Huang, Wen, Feng, Li, Guo: Simple and Robust Loss Design for Multi-Label Learning with Missing Labels,
2021.

Both learn present cells by the focal margin loss -(1 - p_m)^γ log p_m, p_m = σ(z - m). Of unknown cells
    hill  takes (λ - p)·p²: absent, but with a slope in p that falls again beyond p = λ/3, where labels may have been
    missed; splc  takes the focal loss of absent, -p^γ log(1 - p), and from epoch 1 on that of present, without margin,
    where p > τ.
Assumes of labels: known present cells; before it corrects itself, SPLC takes unknown as absent.
Published settings: m = 1, γ = 2, λ = 1.5; τ = 0.6, with 75 % of the positives left 0.65.
Known deviations: sums are divided by B·C (official code: plain sums), which with Adam changes nothing but the scale.
Known absent cells, which the paper has not, are never corrected: hill λ·p², splc the focal loss of absent.
"""

import torch
from pydantic import Field
from torch import Tensor

from partlabel.losses.hill import hill_cells, missed_labels, splc_cells
from partlabel.methods.base import Clock, Index, Labels, Method, Outputs, PooledConfig


class HillConfig(PooledConfig):
    """Settings of `hill`."""

    margin: float = Field(default=1.0, ge=0)
    """m, taken off the logits of present cells. Official code: 1, recommended 0.5 to 1."""
    gamma: float = Field(default=2.0, ge=0)
    """γ, focusing of present cells. Paper: 2."""
    down_weight: float = Field(default=1.5, ge=1)
    """λ of the weight (λ - p) of unknown cells. Paper: 1.5."""


class Hill(Method[HillConfig]):
    """Hill loss."""

    Config = HillConfig
    learns_from_unknown = True

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells."""
        config = self.config
        cells = hill_cells(
            outputs["logits"], labels, margin=config.margin, gamma=config.gamma, down_weight=config.down_weight
        )
        return {"total": self.reduce(cells)}


class SelfPacedConfig(PooledConfig):
    """Settings of `splc`."""

    tau: float = Field(default=0.6, ge=0, le=1)
    """Probability above which an unknown cell is taken as present. Paper: 0.6; 0.65 with 75 % of the positives left."""
    first_corrected_epoch: int = Field(default=1, ge=0)
    """Epoch, counted from 0, from which unknown cells are corrected. Official code: 1."""
    margin: float = Field(default=1.0, ge=0)
    """m, taken off the logits of present cells. Official code: 1."""
    gamma: float = Field(default=2.0, ge=0)
    """γ, focusing of all cells. Paper: 2."""


class SelfPaced(Method[SelfPacedConfig]):
    """Self-paced loss correction with the focal margin loss."""

    Config = SelfPacedConfig
    learns_from_unknown = True

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells; `corrected_share` is the share of cells taken as present against the assumption."""
        logits, config = outputs["logits"], self.config
        missed = missed_labels(logits, labels, config.tau)
        if clock.epoch < config.first_corrected_epoch:
            missed = torch.zeros_like(missed)
        cells = splc_cells(logits, labels, missed, margin=config.margin, gamma=config.gamma)
        return {"total": self.reduce(cells), "corrected_share": missed.to(torch.float32).mean()}
