"""Co-teaching, for many labels with BCE.

Han et al.: Co-teaching: Robust training of deep neural networks with extremely noisy labels, NeurIPS 2018. Unknown
cells are assumed negative. Each network ranks the mini-batch by its own loss; its peer learns from the share R(e) of
smallest losses, R(e) = 1 - tau · min(e / E_k, 1) after e epochs.

What is ranked (`unit`): images by their mean cell loss, as in the paper, or single assumed negatives. The latter is
co-label selection's step H alone, so it is the fairer peer there.
Assumes of labels: known present cells; an unknown cell is most likely absent. With `unit="cell"` known cells always
count.
"""

from typing import ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.losses.bce import bce_cells
from partlabel.losses.precision import at_least_float32
from partlabel.losses.selection import smallest_share
from partlabel.methods.base import Clock, Index, Labels, Outputs
from partlabel.methods.tools.distributed import gather_batch
from partlabel.methods.tools.two_networks import TwoNetworks, TwoNetworksConfig

Cells = Bool[Tensor, "batch classes"]


class CoTeachingConfig(TwoNetworksConfig):
    """Settings of `co_teaching`."""

    tau: float = Field(default=0.1, ge=0, le=1)
    """Share that is left out at the end. Paper: the (known) share of noise; ours for an unknown one."""
    ramp: float = Field(default=10, gt=0)
    """E_k: epochs until that share is reached. Paper: 10 of 200."""
    unit: Literal["image", "cell"] = "image"
    """What is ranked and left out: whole images, or single assumed negatives."""


_Config = TypeVar("_Config", bound=CoTeachingConfig)


class CoTeaching(TwoNetworks[_Config]):
    """Co-teaching: each network learns from what its peer finds easy."""

    Config = CoTeachingConfig
    batch_global: ClassVar[tuple[str, ...]] = ("ranking by loss",)

    def keep_share(self, clock: Clock) -> float:
        """R with which an epoch trains."""
        return 1 - self.config.tau * min(clock.epoch / self.config.ramp, 1)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`first` and `second`, each network on what the other chose."""
        completed = unknown_as_absent(labels)
        logits = at_least_float32(outputs["first"]), at_least_float32(outputs["second"])
        losses = [bce_cells(each, completed) for each in logits]
        candidates = self._candidates(logits, clock)
        parts = {}
        for name, own, peer in (("first", 0, 1), ("second", 1, 0)):
            chosen = small_loss_cells(losses[peer], candidates, labels, self.config.unit, self.keep_share(clock))
            parts[name] = self.reduce(losses[own], chosen)
            parts[f"{name}_dropped_share"] = (~chosen).to(torch.float32).mean()
        return {"total": parts["first"] + parts["second"], **parts}

    def _candidates(self, logits: tuple[Tensor, Tensor], clock: Clock) -> Cells:
        """Cells that may be chosen."""
        return torch.ones_like(logits[0], dtype=torch.bool)


def small_loss_cells(
    losses: Float[Tensor, "batch classes"],
    candidates: Cells,
    labels: Labels,
    unit: Literal["image", "cell"],
    share: float,
) -> Cells:
    """Cells of the images, or the assumed negatives beside all known cells, whose loss is among the smallest share.

    Args:
        losses: by which to rank, of this process.
        candidates: cells that take part; an image takes part if one of its cells does.
        labels: int8 `[B, C]`.
        unit: rank images by mean loss, or assumed negatives.
        share: of those that take part, over all processes.
    """
    if unit == "cell":
        ranked, part = losses.detach(), candidates & (labels == 0)
        border = smallest_share(gather_batch(ranked), gather_batch(part), share)
        return (part & (ranked <= border)) | (candidates & (labels != 0))
    mean, taking = losses.detach().mean(1, keepdim=True), candidates.any(1, keepdim=True)
    border = smallest_share(gather_batch(mean), gather_batch(taking), share)
    return (taking & (mean <= border)).expand_as(candidates)
