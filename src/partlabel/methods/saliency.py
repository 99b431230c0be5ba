"""Saliency regularization for self-training with partial annotations (SR).

Wang, Wan, Xiang, Zeng: Saliency Regularization for Self-Training with Partial Annotations, ICCV 2023.

Class maps A_c by a 1 × 1 convolution; a_c = mean of A_c, s_c = mean of its k largest values, p̂_c = σ(a_c + α·s_c).
L = L_s + L_u: L_s is BCE of known cells, L_u is BCE of the strong view's p̂ against pseudo-labels of the unknown cells,
made where the weak view is confident: +1 if p̂ >= τ, -1 if 1 - p̂ >= τ.

Assumes of labels: both signs known (the paper states that it needs observed negatives).
Rows of the paper's Table 2, as settings:
    BN-BCE            saliency=False pseudo="none"         +SR                saliency=True pseudo="none"
    +PL               saliency=False pseudo="weak"         +SR +CR (no SR)    saliency=True pseudo="strong"
    pseudo_from="plain" +CR (no SR)       saliency=False pseudo="strong"       +SR +CR (SR)       the defaults
Known deviations: none that the paper states. Where it is silent: L_s is taken on the weak view; both parts are divided
by their number of cells in the batch (the paper's ablation; its eq. 9 divides by image: `normalization="image"`).
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import Normalization
from partlabel.losses.pseudo_labels import confident_pseudo_labels
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.models.heads import HeadSpec


class SaliencyConfig(MethodConfig):
    """Settings of `saliency`."""

    saliency: bool = True
    """Add the saliency term to the logit (SR)."""
    alpha: float = 0.5
    """Weight of the saliency term. Paper: 0.5."""
    k: float = Field(default=5, gt=0)
    """Places (or, below 1, fraction of the places) that the saliency averages. Paper: 5 of 14 × 14 places."""
    pseudo: Literal["none", "weak", "strong"] = "strong"
    """Which view learns from pseudo-labels: none, the weak one itself (PL) or the strong one (consistency, CR)."""
    pseudo_from: Literal["saliency", "plain"] = "saliency"
    """Logit that makes the pseudo-labels: with the saliency term (paper's best) or without."""
    tau: float = Field(default=0.6, ge=0.5, le=1)
    """Confidence from which a pseudo-label is made. Paper: 0.6."""
    pseudo_weight: float = 1.0
    """Weight of L_u. Paper: 1."""
    normalization: Normalization = "batch"
    """What each part is divided by. Paper's ablation: "batch" (BN-BCE); its eq. 9: "image"; S-BCE: "class"."""


class Saliency(Method[SaliencyConfig]):
    """Saliency-regularized self-training."""

    Config = SaliencyConfig
    learns_from_unknown = True
    batch_global = ("number of known cells", "number of pseudo-labels")

    @classmethod
    def head(cls, config: SaliencyConfig, context: Context) -> HeadSpec:
        """Class maps; without saliency, alpha = 0 leaves plain average pooling."""
        return HeadSpec(kind="saliency", settings={"alpha": config.alpha if config.saliency else 0.0, "k": config.k})

    @property
    def views(self) -> tuple[str, ...]:
        """The weak view, and the strong one for consistency."""
        return ("weak", "strong") if self.config.pseudo == "strong" else ("weak",)

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits of the views; `plain` are the weak view's logits without the saliency term."""
        weak = self.tagger(views["weak"])
        outputs = {"logits": weak.logits, "plain": weak.extra["plain"]}
        if self.config.pseudo == "strong":
            outputs["strong"] = self.tagger(views["strong"]).logits
        return outputs

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised` on known cells, `pseudo` on confidently pseudo-labelled unknown ones."""
        supervised = self._bce(outputs["logits"], labels)
        if self.config.pseudo == "none":
            return {"total": supervised}
        teacher = outputs["plain" if self.config.pseudo_from == "plain" else "logits"]
        pseudo_labels = confident_pseudo_labels(teacher, labels, self.config.tau)
        student = outputs["strong" if self.config.pseudo == "strong" else "logits"]
        pseudo = self._bce(student, pseudo_labels)
        share = (pseudo_labels != 0).to(torch.float32).mean()
        total = supervised + self.config.pseudo_weight * pseudo
        return {"total": total, "supervised": supervised, "pseudo": pseudo, "pseudo_share": share}

    def _bce(self, logits: Tensor, labels: Labels) -> Tensor:
        counted = labels != 0
        return self.reduce(bce_cells(logits, labels), counted, self.config.normalization)
