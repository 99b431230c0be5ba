"""What the methods that transfer labels by label features have in common: head, bank, and losses of batches."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.bce import bce_cells
from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.methods.ssgrl import SSGRLHeadConfig, fill_ssgrl, ssgrl_spec
from partlabel.methods.tools.distributed import gather_batch
from partlabel.methods.tools.positive_bank import PositiveBank, contrast
from partlabel.models.heads import HeadSpec
from partlabel.models.label_pairs import pair_states
from partlabel.models.tagger import Tagger


class LabelTransferConfig(SSGRLHeadConfig):
    """Settings that these methods share."""

    from_epoch: int = Field(default=5, ge=0)
    """Epoch, from 0, in which unknown cells begin to count. Official code: 5."""
    bank_size: int = Field(default=100, gt=0)
    """Features of known present cells kept of each class. Official code of SST: 100."""
    contrast_weight: float = Field(default=0.05, ge=0)
    """Weight of the contrast between the images of a batch. Official code: 0.05."""


_Config = TypeVar("_Config", bound=LabelTransferConfig)


class LabelTransfer(Method[_Config]):
    """Base: the head of `ssgrl`, a bank of features of known present cells, and the supervised losses.

    All processes have the same bank: it is filled from the whole batch, in the order of the images' numbers.
    """

    learns_from_unknown = True
    batch_global = ("number of known cells", "pairs of images", "bank of features")

    def __init__(self, tagger: Tagger, config: _Config, context: Context) -> None:
        super().__init__(tagger, config, context)
        fill_ssgrl(tagger, context)
        self.width = config.reduction or tagger.backbone.num_features
        self.bank = PositiveBank(len(tagger.classes), self.width, config.bank_size)

    @classmethod
    def label_vectors(cls, config: MethodConfig) -> str | None:
        """The source that the settings name."""
        assert isinstance(config, SSGRLHeadConfig)
        return config.label_vectors

    @classmethod
    def head(cls, config: MethodConfig, context: Context) -> HeadSpec:
        """Semantic decoupling and the gated graph."""
        assert isinstance(config, SSGRLHeadConfig)
        return ssgrl_spec(config, context)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger and of the bank."""
        return {**super().class_axes, **{f"bank.{name}": axes for name, axes in self.bank.class_axes.items()}}

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """`logits` and the label features `semantic` `[B, C, d]`."""
        found = self.tagger(views["weak"])
        return {"logits": found.logits, "semantic": found.extra["semantic"]}

    def supervised(self, outputs: Outputs, labels: Labels, index: Index) -> dict[str, Tensor]:
        """Binary cross-entropy of known cells, and the contrast of the images of a batch."""
        cells = bce_cells(outputs["logits"], labels)
        features, states, _ = _of_all(outputs["semantic"], labels, index)
        return {"supervised": self.reduce(cells, labels != 0, "batch"), "contrast": contrast(features, states)}

    def keep(self, outputs: Outputs, labels: Labels, index: Index) -> None:
        """Put the features of the known present cells of the whole batch into the bank."""
        features, states, _ = _of_all(outputs["semantic"].detach(), labels, index)
        self.bank.add(features, states)

    def with_found(self, logits: Tensor, labels: Labels, found: Bool[Tensor, "batch classes"]) -> Float[Tensor, ""]:
        """Binary cross-entropy of known cells and of unknown ones that are found to be present."""
        states = torch.where(found & (labels == 0), 1, labels).to(labels.dtype)
        return self.reduce(bce_cells(logits, states), states != 0, "batch")

    def pair_loss(
        self, pairs: Float[Tensor, "batch classes classes"], labels: Labels, unknown: str
    ) -> Float[Tensor, ""]:
        """Asymmetric loss of pairs of classes, a pair present where both are known present; mean over the pairs that
        count: those in which one is known absent or both are known, or all of them, unknown ones as absent.
        """
        first, second = torch.triu_indices(pairs.shape[1], pairs.shape[1], 1, device=pairs.device)
        logits, states = at_least_float32(pairs[:, first, second]), pair_states(labels)[:, first, second]
        counted = states != 0 if unknown == "ignored" else torch.ones_like(states, dtype=torch.bool)
        cells = asymmetric_cells(logits, (states == 1).to(logits.dtype), gamma_positive=1, gamma_negative=2, clip=0.05)
        return self.reduce(cells, counted, "batch")


def ramp(clock: Clock) -> float:
    """From near 0 to 1 along the first epoch (official code), then 1."""
    in_epoch = clock.steps // clock.epochs
    return min((clock.step + 1) / in_epoch, 1.0)


def _of_all(features: Tensor, labels: Labels, index: Index) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and numbers of the images of all processes, in the order of the numbers."""
    parts: tuple[Any, ...] = tuple(gather_batch(part) for part in (features, labels, index))
    order = parts[2].argsort()
    return parts[0][order], parts[1][order], parts[2][order]
