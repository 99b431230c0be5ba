"""Saliency regularization for self-training with partial annotations (SR).

Wang, Wan, Xiang, Zeng: Saliency Regularization for Self-Training with Partial Annotations, ICCV 2023.

Class maps A_c by a 1 × 1 convolution (eq. 1); a_c = mean of A_c (eq. 4), s_c = mean of its k largest values (eq. 3),
p̂_c = σ(a_c + α·s_c) (eq. 5), by which images are tagged too. L = L_s + L_u (eq. 12): L_s is BCE of known cells
(eq. 9, 10), L_u is BCE of the strong view's p̂ against pseudo-labels of the unknown cells (eq. 11), made where the weak
view is confident: +1 if p̂ >= τ, -1 if 1 - p̂ >= τ (eq. 8).

L_s is taken on both views, as the paper has it in three places: "Our supervised and unsupervised learning share
different data augmentations" (section 2); "Different data augmentations are shared by supervised and unsupervised
learning", with p = p(y | A(I)) and A both weak and strong (section 3.5); and Fig. 2, where "different data
augmentations are fed into the Encoder" and known labels supervise what comes out. `supervised="weak"` takes the weak
view alone.

Assumes of labels: both signs known (the paper states that it needs observed negatives).
Rows of the paper's Table 2, as settings:
    S-BCE              saliency=False pseudo="none" normalization="class"
    BN-BCE             saliency=False pseudo="none"        +SR                pseudo="none"
    +PL                saliency=False pseudo="weak"        +SR +CR (SR)       the defaults
    +CR (w/o SR)       saliency=False pseudo="strong"
    +SR +CR (no SR)    pseudo_from="plain" pseudo_into="plain": L_u without the term, of teacher and student, as we read
                       "CR without SR and with SR are explored in unsupervised learning"; pseudo_from alone leaves it to
                       the student
Recipe of the paper: ResNet-101 trained on ImageNet, SGD with momentum 0.9, weight decay 1e-4, batch 32, α = 0.5, k = 5,
τ = 0.6. Learning rate, schedule, epochs, image size and augmentations are in its supplement, which we do not have.
Known deviations: the 1 × 1 convolution has a bias b, which the printed A_c = θ_c·f has not; it enters the logit as
(1 + α)·b. Where the paper is silent: L_s is the mean of those of the two views, as if they were images of one batch,
and in every row of Table 2; both parts are divided by their number of cells in the batch, as its ablation does
(BN-BCE). Its eq. 9 divides by image, and eq. 10 and 11 then sum over images: normalization="image_sum"; "image" is the
mean over images, smaller by the batch size. Propositions 1 and 2 follow from eq. 5 and need no code.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import Normalization
from partlabel.losses.pseudo_labels import confident_pseudo_labels
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger

LogitKind = Literal["saliency", "plain"]


class SaliencyConfig(MethodConfig):
    """Settings of `saliency`."""

    saliency: bool = True
    """Add the saliency term to the logit (SR)."""
    alpha: float = Field(default=0.5, ge=0)
    """Weight of the saliency term. Paper: 0.5, searched from 0.1 to 0.5."""
    k: float = Field(default=5, gt=0)
    """Places that the saliency averages: a whole number of them, or, below 1, a fraction; all places where a map has
    fewer. Paper: 5, searched from 1 to 5; it does not say of how many places. Fractions are ours."""
    supervised: Literal["both", "weak"] = "both"
    """Views whose known labels are learned: both (paper), or the weak one alone, which costs less."""
    pseudo: Literal["none", "weak", "strong"] = "strong"
    """Which view learns from pseudo-labels: none, the weak one itself (PL) or the strong one (consistency, CR)."""
    pseudo_from: LogitKind = "saliency"
    """Logit that makes the pseudo-labels: with the saliency term (paper's best) or without."""
    pseudo_into: LogitKind = "saliency"
    """Logit that learns from the pseudo-labels: with the saliency term (paper's best) or without."""
    tau: float = Field(default=0.6, ge=0.5, le=1)
    """Confidence from which a pseudo-label is made. Paper: 0.6, searched from 0.5 to 0.9."""
    pseudo_weight: float = Field(default=1.0, ge=0)
    """Weight of L_u. Paper: 1."""
    normalization: Normalization = "batch"
    """What each part is divided by. Paper's ablation: "batch" (BN-BCE) and "class" (S-BCE); its eq. 9 to 11:
    "image_sum"; "image" divides that by the number of images."""

    @field_validator("k")
    @classmethod
    def _places(cls, k: float) -> float:
        if k > 1 and k != int(k):
            raise ValueError(f"a number of places is whole, and a fraction of them is below 1, unlike {k:g}")
        return k


class Saliency(Method[SaliencyConfig]):
    """Saliency-regularized self-training."""

    Config = SaliencyConfig
    learns_from_unknown = True
    batch_global = ("number of known cells", "number of pseudo-labels")

    def __init__(self, tagger: Tagger, config: SaliencyConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.learns_from_unknown = config.pseudo != "none"

    @classmethod
    def head(cls, config: SaliencyConfig, context: Context) -> HeadSpec:
        """Class maps; without saliency, alpha = 0 leaves plain average pooling."""
        return HeadSpec(kind="saliency", settings={"alpha": config.alpha if config.saliency else 0.0, "k": config.k})

    @property
    def views(self) -> tuple[str, ...]:
        """The weak view, and the strong one where anything is learned from it."""
        config = self.config
        return ("weak", "strong") if config.supervised == "both" or config.pseudo == "strong" else ("weak",)

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits of the weak view, `strong` ones where there is a strong view, and `plain` and `strong_plain` ones
        without the saliency term.
        """
        weak = self.tagger(views["weak"])
        outputs = {"logits": weak.logits, "plain": weak.extra["plain"]}
        if "strong" in self.views:
            strong = self.tagger(views["strong"])
            outputs |= {"strong": strong.logits, "strong_plain": strong.extra["plain"]}
        return outputs

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised` on known cells, `pseudo` on confidently pseudo-labelled unknown ones."""
        config = self.config
        supervised = self._bce(outputs["logits"], labels)
        if config.supervised == "both":
            supervised = (supervised + self._bce(outputs["strong"], labels)) / 2
        if config.pseudo == "none":
            return {"total": supervised}
        teacher = outputs["plain" if config.pseudo_from == "plain" else "logits"]
        pseudo_labels = confident_pseudo_labels(teacher, labels, config.tau)
        pseudo = self._bce(outputs[_STUDENTS[config.pseudo, config.pseudo_into]], pseudo_labels)
        share = (pseudo_labels != 0).to(torch.float32).mean()
        total = supervised + config.pseudo_weight * pseudo
        return {"total": total, "supervised": supervised, "pseudo": pseudo, "pseudo_share": share}

    def _bce(self, logits: Tensor, labels: Labels) -> Tensor:
        counted = labels != 0
        return self.reduce(bce_cells(logits, labels), counted, self.config.normalization)


_STUDENTS = {
    ("weak", "saliency"): "logits",
    ("weak", "plain"): "plain",
    ("strong", "saliency"): "strong",
    ("strong", "plain"): "strong_plain",
}
"""Output that learns from pseudo-labels, by the view and the logit."""
