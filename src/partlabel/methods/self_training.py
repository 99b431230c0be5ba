"""Self-training: known labels, and for unknown cells the probabilities of the run that it starts from.

Hinton, Vinyals, Dean: Distilling the knowledge in a neural network, 2015 (probabilities as targets). Xie, Luong, Hovy,
Le: Self-training with Noisy Student improves ImageNet classification, CVPR 2020 (of a teacher that labels what has no
label). The form for incomplete labels is ours.

L = mean over known cells of l + weight · mean over unknown cells of -q log p - (1 - q) log(1 - p)
with l the binary cross-entropy or the asymmetric loss of the cell. q = σ(z + b): z is the logit of the weights that the
training starts from (`--init`), for the plain view, before the first step; b, one for each class, brings the mean of q
over the unknown cells of the class to the share of present among its known ones, or, where no absent cell of the class
is known, is 0. q stays as it is; repeating the step made the discriminant worse (docs/discriminant.md).

Assumes of labels: both signs known somewhere. Needs a run to start from.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int8
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from partlabel.labels import LabelTable
from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.bce import bce_cells
from partlabel.methods.base import Clock, Context, Index, Labels, LinearConfig, Look, Method, Outputs
from partlabel.models.tagger import Tagger

_HALVINGS = 50
_NOT_SEEN = -1.0
"""Stands for the soft label of an image that was not looked at yet."""
_REACH = 60.0
"""Largest change of a logit."""


class SelfTrainingConfig(LinearConfig):
    """Settings of `self_training`."""

    loss: Literal["bce", "asl"] = "bce"
    """Loss of known cells: binary cross-entropy, or the asymmetric loss with gamma 0 and 4 and clip 0.05."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of unknown cells. Ours."""


class SelfTraining(Method[SelfTrainingConfig]):
    """Known labels, and soft labels of the weights at the start."""

    Config = SelfTrainingConfig
    learns_from_unknown = True
    batch_global = ("number of known cells",)
    soft: Tensor

    def __init__(self, tagger: Tagger, config: SelfTrainingConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.table: LabelTable = context.labels
        self.learns_from_unknown = config.soft_weight > 0
        self.register_buffer("soft", torch.full(self.table.shape, _NOT_SEEN, dtype=torch.float16))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and the columns of soft labels."""
        return {**super().class_axes, "soft": (1,)}

    def refresh_due(self, clock: Clock) -> bool:
        """Before the first step."""
        return clock.step == 0

    def refresh(self, clock: Clock, images: Look) -> None:
        """Take the probabilities of the starting weights."""
        logits = torch.zeros(self.table.shape)
        for seen in images():
            logits[seen.index.cpu()] = seen.logits.cpu().float()
        states = torch.from_numpy(self.table.dense())
        self.soft.copy_(matched(logits, states))

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised` of known and `soft` of unknown cells."""
        logits, soft = outputs["logits"], self.soft[index].float()
        cells = bce_cells(logits, labels)
        if self.config.loss == "asl":
            present = (labels == 1).to(torch.float32)
            cells = asymmetric_cells(logits.float(), present, gamma_positive=0, gamma_negative=4, clip=0.05)
        supervised = self.reduce(cells, labels != 0, "batch")
        unknown = (labels == 0) & (soft != _NOT_SEEN)
        likely = torch.where(unknown, soft, 0.5)
        cells = functional.binary_cross_entropy_with_logits(logits.float(), likely, reduction="none")
        found = self.reduce(cells, unknown, "batch")
        return {"total": supervised + self.config.soft_weight * found, "supervised": supervised, "soft": found}


def matched(
    logits: Float[Tensor, "images classes"], states: Int8[Tensor, "images classes"]
) -> Float[Tensor, "images classes"]:
    """Probabilities σ(z + b) whose mean over the unknown cells of a class is the share of present among the known ones,
    half a cell of each added; b is 0 for a class of which no absent cell is known.
    """
    unknown = states == 0
    present, absent = (states == 1).sum(0), (states == -1).sum(0)
    share = (present + 0.5) / (present + absent + 1)
    low, high = torch.full_like(share, -_REACH), torch.full_like(share, _REACH)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        mean = (torch.sigmoid(logits + middle) * unknown).sum(0) / unknown.sum(0).clamp(min=1)
        low, high = torch.where(mean < share, middle, low), torch.where(mean < share, high, middle)
    return torch.sigmoid(logits + torch.where((absent > 0) & unknown.any(0), (low + high) / 2, 0.0))
