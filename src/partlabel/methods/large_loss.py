"""Large loss matters: LL-R, LL-Ct and LL-Cp.

Kim, Kim, Akata, Lee: Large Loss Matters in Weakly Supervised Multi-Label Classification, CVPR 2022.

Unknown cells are taken as absent, and those of them whose loss is among the k largest of the mini-batch are taken for
missed positives. L = (1 / (B·C)) Σ l(cell), with l the binary cross-entropy, but for those k cells:
    LL-R   scheme="reject"               l = 0
    LL-Ct  scheme="correct_temporarily"  l = -log p, in this batch
    LL-Cp  scheme="correct_permanently"  l = -log p, and the cell is learned as present from then on
k = ceil(B·C·Δ·e) in epoch e = 0, 1, ...; for LL-Cp ceil(B·C·Δ) from epoch 1 on. A cell that ties with the k-th is
modified too; LL-Cp keeps only what is strictly above the k-th loss (official code), so at most k - 1 cells of a batch.

Assumes of labels: known present cells; most unknown cells are absent. The user's table is never changed: what LL-Cp
keeps is in the method's state, one byte for each cell of the training table (82,783 images × 80 classes: 6.6 MB).
Known deviations from the official code: known cells of either sign are never modified (there, present ones too in a
batch whose k-th loss is 0; known absent ones do not occur); k takes no rounding error of 1 - clean rate, by which it
was one too many at times; k counts the batch of all processes.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.losses.bce import bce_cells
from partlabel.losses.precision import at_least_float32
from partlabel.losses.selection import largest_count
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PooledConfig
from partlabel.methods.tools.distributed import gather_batch
from partlabel.models.tagger import Tagger


class LargeLossConfig(PooledConfig):
    """Settings of `large_loss`."""

    scheme: Literal["reject", "correct_temporarily", "correct_permanently"] = "reject"
    """What happens to cells of large loss: LL-R, LL-Ct or LL-Cp. Official script: LL-R."""
    delta_rel: float = Field(default=0.2, ge=0, le=100)
    """Δ, in percent of the cells. Tried by the authors: 0.1 to 0.5, over 10 epochs; the default within that range is
    ours.
    """


class LargeLoss(Method[LargeLossConfig]):
    """Assume negative, without the cells of largest loss."""

    Config = LargeLossConfig
    learns_from_unknown = True
    batch_global = ("ranking of the cells taken as absent",)
    flipped: Tensor

    def __init__(self, tagger: Tagger, config: LargeLossConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        if config.scheme == "correct_permanently":
            self.register_buffer("flipped", torch.zeros(context.labels.shape, dtype=torch.uint8))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and the columns of what was flipped."""
        own: dict[str, tuple[int, ...]] = {"flipped": (1,)} if self.config.scheme == "correct_permanently" else {}
        return {**super().class_axes, **own}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells; `modified_share` is the share of them that was rejected or corrected."""
        config, logits = self.config, at_least_float32(outputs["logits"])
        if config.scheme == "correct_permanently":
            labels = torch.where((labels == 0) & self.flipped[index].bool(), torch.ones_like(labels), labels)
        unknown = labels == 0
        losses = bce_cells(logits, unknown_as_absent(labels))
        border = self._border(losses, unknown, index, clock)
        large = unknown & (losses >= border)
        corrected = (
            torch.zeros_like(losses) if config.scheme == "reject" else bce_cells(logits, torch.ones_like(labels))
        )
        total = self.reduce(torch.where(large, corrected, losses))
        return {"total": total, "modified_share": large.to(torch.float32).mean()}

    def _border(self, losses: Tensor, unknown: Tensor, index: Index, clock: Clock) -> Tensor:
        """The k-th largest loss of unknown cells over all processes; what lies above it is flipped where that is to be
        kept.
        """
        keep = self.config.scheme == "correct_permanently"
        if clock.epoch == 0:
            return losses.new_full((), torch.inf)
        losses, unknown = gather_batch(losses.detach()), gather_batch(unknown)
        count = large_loss_count(losses.numel(), clock.epoch, self.config.delta_rel, grows=not keep)
        border = largest_count(losses, unknown, count)
        if keep:
            # every process keeps the flips of all, because their buffers are kept equal to those of the first
            self.flipped[gather_batch(index)] |= (unknown & (losses > border)).to(torch.uint8)
        return border


def large_loss_count(cells: int, epoch: int, delta_rel: int | float, *, grows: bool) -> int:
    """How many cells of a mini-batch: ceil(cells · delta_rel / 100 · e), e the epoch or, if it does not grow,
    min(epoch, 1).

    Args:
        cells: B·C, over all processes; known cells are counted too.
        epoch: from 0, in which nothing is modified.
        delta_rel: percentage of the cells.
        grows: whether the share grows from epoch to epoch.

    Returns:
        The number, at most `cells`; what is whole but for rounding errors counts as whole.
    """
    times = epoch if grows else min(epoch, 1)
    return min(math.ceil(cells * delta_rel / 100 * times - 1e-9), cells)
