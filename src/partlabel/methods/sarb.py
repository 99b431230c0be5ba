"""Semantic-aware representation blending (SARB): label features of known present cells mixed into unknown ones.

Pu, Chen, Wu, Lin: Semantic-Aware Representation Blending for Multi-Label Image Recognition with Partial Labels, AAAI
2022.

On the label features S of the `ssgrl` head, L = L_known + L_instance + L_prototype + 0.05 L_contrast:
    L_known      binary cross-entropy of known cells, divided by their number in the batch.
    L_instance   the same with S' = α S + (1 - α) S° at the cells that are unknown here and known present in the other
                 image °, whose target is 1 - α; the others of a batch are its images in reverse order. From epoch 5.
    L_prototype  the same with S' = β S + (1 - β) P at one unknown cell of each image, whose target is 1 - β; P is a
                 prototype of the class, the same number of all. From epoch 5.
    L_contrast   1 - cos of two images' features of a class that both show, else 1 + cos, over known cells.
α and β are learned, start at 0.5 and are cut to [0, 1].

Unknown cells: soft targets where something is mixed in, else ignored.
Settings: those of the official code, where nothing else is said.
Known deviations: prototypes are the centres of the last 100 features of known present cells, of length 1, and brought
to the length of S where they are mixed in; the official code takes the features of all images, in a pass of its own. An
image without unknown cells is left as it is; the official code mixes into its first class. Contrast: as in `sst`.
Several processes: images are mixed among those of the same process.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from partlabel.methods.base import Clock, Context, Index, Labels, Look, Outputs
from partlabel.methods.tools.label_transfer import LabelTransfer, LabelTransferConfig
from partlabel.models.heads.ssgrl import SSGRLHead
from partlabel.models.tagger import Tagger


class SARBConfig(LabelTransferConfig):
    """Settings of `sarb`."""

    alpha: float = Field(default=0.5, ge=0, le=1)
    """Share that an unknown cell keeps of itself beside another image, at first. Official code: 0.5."""
    beta: float = Field(default=0.5, ge=0, le=1)
    """The same beside a prototype. Official code: 0.5."""
    prototypes: int = Field(default=10, gt=0)
    """Prototypes of a class. Official code: 10."""
    prototypes_every: int = Field(default=5, gt=0)
    """Epochs after which prototypes are taken anew. Official code: 5."""


class SARB(LabelTransfer[SARBConfig]):
    """Semantic-aware representation blending."""

    Config = SARBConfig
    prototypes: Tensor

    def __init__(self, tagger: Tagger, config: SARBConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.alpha, self.beta = (nn.Parameter(torch.tensor(start)) for start in (config.alpha, config.beta))
        self.register_buffer("prototypes", torch.zeros(len(tagger.classes), config.prototypes, self.width))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger and of the bank, and the prototypes."""
        return {**super().class_axes, "prototypes": (0,)}

    def refresh_due(self, clock: Clock) -> bool:
        """When unknown cells begin to count, and every few epochs from then on."""
        since = clock.epoch - self.config.from_epoch
        return since >= 0 and since % self.config.prototypes_every == 0 and clock.starts_epoch

    def refresh(self, clock: Clock, images: Look) -> None:
        """Take the prototypes of the bank; no image is looked at."""
        self.prototypes.copy_(self.bank.prototypes(self.config.prototypes))

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """`logits`, `semantic` `[B, C, d]`, and draws: `place` `[B]` in [0, 1), and `number` of a prototype."""
        outputs = super().forward(views)
        device = outputs["logits"].device
        place = torch.rand(len(outputs["logits"]), device=device)
        return {**outputs, "place": place, "number": torch.randint(self.config.prototypes, (), device=device)}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised` and `contrast`; from the epoch on in which unknown cells count, `instance` and `prototype`."""
        losses = self.supervised(outputs, labels, index)
        total = losses["supervised"] + self.config.contrast_weight * losses["contrast"]
        if clock.epoch >= self.config.from_epoch:
            dtype = self.alpha.dtype
            semantic = outputs["semantic"].to(dtype)
            there = (labels == 0) & (labels.flip(0) == 1)
            losses["instance"] = self._mixed(semantic, semantic.flip(0), there, self.alpha, labels)
            here = chosen(outputs["logits"], (labels == 0) & (self.bank.count > 0), outputs["place"])
            length = semantic.detach().norm(dim=2, keepdim=True)
            prototypes = self.prototypes[:, outputs["number"]].to(dtype)[None] * length
            losses["prototype"] = self._mixed(semantic, prototypes, here, self.beta, labels)
            total = total + losses["instance"] + losses["prototype"]
        else:  # no parameter without gradient, for which several processes would wait
            total = total + 0 * (self.alpha + self.beta)
        self.keep(outputs, labels, index)
        return {**losses, "total": total}

    def _mixed(self, own: Tensor, other: Tensor, where: Tensor, share: Tensor, labels: Labels) -> Tensor:
        """Binary cross-entropy of known cells and of those where other features are mixed in."""
        head = self.tagger.head
        assert isinstance(head, SSGRLHead)
        share = share.clamp(0, 1)
        mixed = torch.where(where[:, :, None], share * own + (1 - share) * other, own)
        targets = torch.where(where, 1 - share, (labels == 1).to(own.dtype))
        cells = functional.binary_cross_entropy_with_logits(head.logits_of(mixed), targets, reduction="none")
        return self.reduce(cells, where | (labels != 0), "batch")


def chosen(logits: Tensor, among: Tensor, place: Tensor) -> Tensor:
    """Bool `[B, C]`: one of the cells of each image, if it has some, by a number in [0, 1) that is drawn evenly.

    The number picks one in the order of the logits, so that the order of the classes does not count.
    """
    count = among.sum(1)
    wanted = (place * count).long().clamp(max=(count - 1).clamp(min=0))
    ranks = logits.detach().float().masked_fill(~among, torch.inf).argsort(dim=1, stable=True).argsort(1)
    return among & (ranks == wanted[:, None])
