"""Asymmetric loss on known cells, and the focal loss as its symmetric case.

Ridnik et al.: Asymmetric Loss for Multi-Label Classification, ICCV 2021. Lin et al.: Focal Loss, ICCV 2017.
Loss per known cell: see `losses.asymmetric`. Assumes of labels: both signs known somewhere; unknown is ignored. With
`unknown="absent"`, known present cells.
Known deviation: the public code sums over the batch; here the sum is divided by the number of known cells, which with
Adam changes nothing but the scale ("sum" is an option).
"""

from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.normalization import Normalization
from partlabel.methods.base import Clock, Context, Index, Labels, LinearConfig, Method, Outputs
from partlabel.methods.tools.unknown import UnknownConfig, as_told
from partlabel.models.tagger import Tagger


class AsymmetricLossConfig(UnknownConfig):
    """Settings of the loss."""

    gamma_positive: float = Field(default=0.0, ge=0)
    """Focusing of present cells. Official training script: 0 (the class default there is 1)."""
    gamma_negative: float = Field(default=4.0, ge=0)
    """Focusing of absent cells. Paper and official script: 4."""
    clip: float = Field(default=0.05, ge=0, lt=1)
    """Probability margin of absent cells. Paper: 0.05."""
    detach_weight: bool = True
    """No gradient through the focusing weight. Official training script."""


_Config = TypeVar("_Config", bound=AsymmetricLossConfig)


class AsymmetricLoss(Method[_Config]):
    """Asymmetric loss on known cells, whatever the head is; subclasses say what its sum is divided by."""

    batch_global = ("number of known cells",)

    def __init__(self, tagger: Tagger, config: _Config, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.learns_from_unknown = config.unknown == "absent"

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Known cells, and those that the settings call absent."""
        config = self.config
        labels = as_told(labels, config.unknown)
        cells = asymmetric_cells(
            outputs["logits"].float(),
            (labels == 1).to(torch.float32),
            gamma_positive=config.gamma_positive,
            gamma_negative=config.gamma_negative,
            clip=config.clip,
            detach_weight=config.detach_weight,
        )
        return {"total": self.normalized(cells, labels != 0)}

    def normalized(self, cells: Float[Tensor, "batch classes"], known: Bool[Tensor, "batch classes"]) -> Tensor:
        """One number of the losses of the known cells."""
        raise NotImplementedError


class AsymmetricConfig(LinearConfig, AsymmetricLossConfig):
    """Settings of `asl`."""

    normalization: Normalization = "batch"
    """What the sum is divided by. Ours; official code: "sum"."""


class Asymmetric(AsymmetricLoss[AsymmetricConfig]):
    """Asymmetric loss on known cells."""

    Config = AsymmetricConfig

    def normalized(self, cells: Float[Tensor, "batch classes"], known: Bool[Tensor, "batch classes"]) -> Tensor:
        """Divided as the settings say."""
        return self.reduce(cells, known, self.config.normalization)


class FocalConfig(AsymmetricConfig):
    """Settings of `focal`: gamma 2 on both sides and no clip (paper: gamma 2)."""

    gamma_positive: float = Field(default=2.0, ge=0)
    """Focusing of present cells. Paper: 2 for both states."""
    gamma_negative: float = Field(default=2.0, ge=0)
    """Focusing of absent cells. Paper: 2 for both states."""
    clip: float = Field(default=0.0, ge=0, lt=1)
    """Probability margin of absent cells, which the focal loss has not."""
    detach_weight: bool = False
    """The focal loss differentiates its weight (paper)."""


class Focal(Asymmetric):
    """Focal loss on known cells."""

    Config = FocalConfig
