"""Curriculum labelling: unknown labels are predicted, the easy ones first, and learned from then on.

Durand, Mehrasa, Mori: Learning a Deep ConvNet for Multi-Label Classification with Partial Labels, CVPR 2019, section
3.2.

L = partial BCE, (1/B) Σ_images g(n/C)/C Σ_c l(cell), over the n cells of an image that are known or added, g as in
`bce`. After every few epochs the network scores the training images, and unknown cells of which it is confident, by
max(p, 1 - p), are added with the sign that it gives them:
    rule="threshold"   all whose confidence is at least `threshold` (score threshold strategy)
    rule="proportion"  the share `proportion` of most confident ones, over all images and classes, of those still
    unknown
                           (score proportion strategy); rounded down, cells that tie with the last one are added too
What was added stays. The user's table is never changed: added labels are in the method's state, one byte for each cell
of the training table; the ranking by proportion takes about 35 bytes more a cell while it lasts.

Assumes of labels: both signs known.
Known deviations: the paper's graph network, and its strategies by model uncertainty, of present labels alone, and of an
oracle, are left out. Thresholds, proportions and times are ours, and so is it that predicted labels stay as they are.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from partlabel.labels import LabelTable
from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import Normalization
from partlabel.losses.pseudo_labels import confident_pseudo_labels
from partlabel.losses.selection import largest_share
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PooledConfig, Seen
from partlabel.models.tagger import Tagger


class CurriculumConfig(PooledConfig):
    """Settings of `curriculum`."""

    rule: Literal["threshold", "proportion"] = "threshold"
    """How easy unknown cells are told from others. Ours; the paper compares both."""
    threshold: float = Field(default=0.95, ge=0.5, le=1)
    """Confidence from which a label is added ("threshold"). Ours."""
    proportion: float = Field(default=0.2, gt=0, le=1)
    """Share of the cells still unknown that is added each time ("proportion"). Ours."""
    every: int = Field(default=3, ge=1)
    """Epochs before labels are first added, and between the times. Ours."""
    normalization: Normalization = "partial_bce"
    """What the sum is divided by. Paper: "partial_bce"."""
    g_alpha: float = -4.45
    """g(p) = g_alpha · p^g_gamma + g_beta of "partial_bce". Two public re-implementations; g(0.1) = 5.005, g(1) = 1."""
    g_beta: float = 5.45
    g_gamma: float = 1.0


class Curriculum(Method[CurriculumConfig]):
    """Partial BCE on known cells and on those added so far."""

    Config = CurriculumConfig
    learns_from_unknown = True
    batch_global = ("number of known and added cells",)
    added: Tensor

    def __init__(self, tagger: Tagger, config: CurriculumConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.table: LabelTable = context.labels
        self.register_buffer("added", torch.zeros(self.table.shape, dtype=torch.int8))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and the columns of added labels."""
        return {**super().class_axes, "added": (1,)}

    def refresh_due(self, clock: Clock) -> bool:
        """Before every `every`-th epoch but the first."""
        return clock.starts_epoch and clock.epoch > 0 and clock.epoch % self.config.every == 0

    def refresh(self, clock: Clock, images: Callable[[], Iterator[Seen]]) -> None:
        """Add labels of cells that are unknown yet."""
        if self.config.rule == "threshold":
            for seen in images():
                self.added[seen.index] += confident_pseudo_labels(
                    seen.logits, self._labels(seen.index), self.config.threshold
                )
        else:
            self._add_proportion(images())

    def _add_proportion(self, images: Iterator[Seen]) -> None:
        # the distance of the logit from 0 orders cells as the confidence does, and does not saturate
        logits = torch.zeros(self.table.shape)
        for seen in images:
            logits[seen.index.cpu()] = seen.logits.cpu().float()
        unknown = (self._labels(torch.arange(len(logits), device=self.added.device)) == 0).cpu()
        border = largest_share(logits.abs(), unknown, self.config.proportion)
        chosen = unknown & (logits.abs() >= border)
        self.added += (logits.sign().to(torch.int8) * chosen).to(self.added.device)

    def _labels(self, index: Index) -> Labels:
        """Known and added labels of some images."""
        return self._with_added(torch.from_numpy(self.table.rows(index.cpu().numpy())).to(index.device), index)

    def _with_added(self, labels: Labels, index: Index) -> Labels:
        return torch.where(labels == 0, self.added[index], labels)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Partial BCE; `added_share` is the share of the cells that were added."""
        config = self.config
        completed = self._with_added(labels, index)
        counted = completed != 0
        g = (config.g_alpha, config.g_beta, config.g_gamma)
        total = self.reduce(bce_cells(outputs["logits"], completed), counted, config.normalization, g=g)
        return {"total": total, "added_share": (completed != labels).to(torch.float32).mean()}
