"""Entropy maximization with asymmetric pseudo-labelling (EM + APL).

Zhou, Chen, Wang, Chen, Heng: Acknowledging the Unknown for Multi-label Learning with Single Positive Labels, ECCV
2022.

Loss / (B·C), with p = σ(z) and nl(u) = -log(u + 1e-5):
    present                      nl(p)
    unknown                      -alpha·[p·nl(p) + (1 - p)·nl(1 - p)], so that the network stays undecided
    unknown with soft label s    beta·[s·nl(p) + (1 - s)·nl(1 - p)]
Soft labels: before each epoch from `warmup_epochs` on, of the still unlabelled cells of class c the lowest-scoring
int(proportion · n_c / (epochs - warmup_epochs)) get their own probability, once and for all; n_c is the number of
unknown cells at the start. So the surest absences, `proportion` of the unknown cells in the end, leave the entropy
term. Presences are never pseudo-labelled.

Assumes of labels: known present cells.
Published settings (alpha / beta / warmup_epochs / batch / learning rate, 10 epochs):
    VOC .2/.02/5/8/1e-5    COCO .1/.9/5/16/1e-5    NUS .1/.2/4/16/1e-5    CUB .01/.4/3/8/1e-4
Row of the ablation: EM alone is proportion=0.
Soft labels are state of the method, 2·N·C bytes, in its checkpoints; the label table is never touched.
Known deviations: known absent cells, which the paper has not, cost nl(1 - p). Probabilities come from the plain view in
eval mode (official code: the training view in eval mode); ranking goes by logit, ties to the earlier image. Soft labels
are kept in float16.
"""

from collections.abc import Callable, Iterator

import torch
from pydantic import Field
from torch import Tensor

from partlabel.losses.entropy_maximization import entropy_maximization_cells, lowest_of_each_class
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PooledConfig, Seen
from partlabel.models.tagger import Tagger


class EntropyMaximizationConfig(PooledConfig):
    """Settings of `entropy_maximization`."""

    alpha: float = Field(default=0.1, ge=0)
    """Weight of the entropy of unknown cells. Paper: 0.1 for COCO; others in the module's text."""
    beta: float = Field(default=0.9, ge=0)
    """Weight of soft labels. Paper: 0.9 for COCO; others in the module's text."""
    warmup_epochs: int = Field(default=5, ge=0)
    """Epochs before the first soft labels. Paper: 5 of 10 for COCO; with no more epochs than this there are none."""
    proportion: float = Field(default=0.9, ge=0, le=1)
    """Share of the unknown cells of a class that have a soft label in the last epoch; 0: EM alone. Official code:
    0.9.
    """


class EntropyMaximization(Method[EntropyMaximizationConfig]):
    """Entropy maximization on unknown cells, the surest of which get soft labels."""

    Config = EntropyMaximizationConfig
    learns_from_unknown = True

    soft: Tensor

    def __init__(self, tagger: Tagger, config: EntropyMaximizationConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.labels = context.labels
        self.register_buffer("soft", torch.full(context.labels.shape, -1.0, dtype=torch.float16))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Soft labels have their classes along the second axis."""
        return {**super().class_axes, "soft": (1,)}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells; `soft_share` is the share of cells with a soft label."""
        soft, config = self.soft[index], self.config
        cells = entropy_maximization_cells(outputs["logits"], labels, soft, alpha=config.alpha, beta=config.beta)
        share = ((soft >= 0) & (labels == 0)).to(torch.float32).mean()
        return {"total": self.reduce(cells), "soft_share": share}

    def refresh_due(self, clock: Clock) -> bool:
        """At the first step of each epoch after the warm-up."""
        first_step = clock.step % (clock.steps // clock.epochs) == 0
        return first_step and clock.epoch >= self.config.warmup_epochs and self.config.proportion > 0

    def refresh(self, clock: Clock, images: Callable[[], Iterator[Seen]]) -> None:
        """Give the next of the unlabelled cells their soft labels. Takes about 24·N·C bytes for the time being."""
        logits = torch.empty(self.soft.shape, device=self.soft.device)
        for part in images():
            logits[part.index] = part.logits
        unlabelled = torch.from_numpy(self.labels.dense() == 0).to(self.soft.device) & (self.soft < 0)
        unknown = torch.from_numpy(self.labels.counts_by_class().unknown)
        counts = (self.config.proportion * unknown.double() / (clock.epochs - self.config.warmup_epochs)).long()
        chosen = lowest_of_each_class(logits, unlabelled, counts.to(logits.device))
        self.soft.copy_(torch.where(chosen, torch.sigmoid(logits), self.soft))
