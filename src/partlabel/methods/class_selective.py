"""Class-aware selective loss (CSL; not to be mixed up with co-learning, CLSL, nor co-label selection, CLS).

Ben-Baruch, Ridnik, Friedman, Ben-Cohen, Zamir, Noy, Zelnik-Manor: Multi-label Classification with Partial Annotations
using Class-aware Selective Loss, CVPR 2022.

Unknown cells are pushed down as absent ones, with less weight (P-ASL, see `partial_asymmetric_cells`), except for two
sets that carry no loss because they may well be present:
    (i)  cells of classes whose prior is above a threshold;
    (ii) the K·B unknown cells of the batch with the largest p, those of (i) among them (K an image on average).
The prior of a class is the mean p, over the training images, of a temporary model that was trained on known cells
alone.

Assumes of labels: both signs known, because that temporary model must see both; tables without a known absent cell are
refused. Rows of the paper's ablation, as settings: ignore `prior_share=1`; negative `prior_share=0 top_k=0`; prior
alone `top_k=0`; likelihood alone `prior_share=0`.
Known deviations: the paper trains the temporary model in a run of its own and starts afresh; here it is the network
itself in the first part of the epochs, and training goes on from it. The public code takes the prior as a running mean
over training batches; here it is taken in one pass over the plain views. That code sums over the batch; here the sum is
divided by the number of cells that carry a loss ("sum" is an option). Cells that tie with the last one of (ii) are left
out as well.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float, Int8
from pydantic import Field
from torch import Tensor

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.normalization import Normalization
from partlabel.losses.precision import at_least_float32
from partlabel.losses.selection import largest_count
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PooledConfig, Seen
from partlabel.methods.tools.distributed import gather_batch
from partlabel.models.tagger import Tagger


class ClassSelectiveConfig(PooledConfig):
    """Settings of `class_selective`."""

    gamma_positive: float = Field(default=0.0, ge=0)
    """Focusing of present cells. Official code: 0."""
    gamma_negative: float = Field(default=1.0, ge=0)
    """Focusing of known absent cells. Official code: 1; its example for labels fixed per class: 3."""
    gamma_unknown: float = Field(default=2.0, ge=0)
    """Focusing of unknown cells. Official code: 2; its examples: 4."""
    prior_threshold: float = Field(default=0.05, ge=0, le=1)
    """Prior above which unknown cells of a class carry no loss. Official code: 0.05; its examples: 0.5."""
    top_k: int = Field(default=5, ge=0)
    """K, likeliest unknown cells left out for each image of the batch. Official code: 5, of 80 classes and more."""
    prior_share: float = Field(default=1 / 3, ge=0, le=1)
    """Share of the epochs in which unknown is ignored, to estimate the prior; 0: no prior. Ours."""
    normalization: Normalization = "batch"
    """What the sum is divided by. Ours; official code: "sum"."""


class ClassSelective(Method[ClassSelectiveConfig]):
    """Class-aware selective loss."""

    Config = ClassSelectiveConfig
    learns_from_unknown = True
    batch_global = ("number of cells that carry a loss", "ranking of the unknown cells")
    class_prior: Tensor

    def __init__(self, tagger: Tagger, config: ClassSelectiveConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.register_buffer("class_prior", torch.zeros(len(tagger.classes)))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and the class priors."""
        return {**super().class_axes, "class_prior": (0,)}

    def prior_epochs(self, clock: Clock) -> int:
        """Epochs in which unknown is ignored: at least one, unless the share is 0."""
        share = self.config.prior_share
        return max(round(share * clock.epochs), 1) if share else 0

    def refresh_due(self, clock: Clock) -> bool:
        """Once, when the epochs of the temporary model are over."""
        return 0 < self.prior_epochs(clock) == clock.epoch and clock.starts_epoch

    def refresh(self, clock: Clock, images: Callable[[], Iterator[Seen]]) -> None:
        """Take the mean probability of each class."""
        total, count = torch.zeros_like(self.class_prior), 0
        for seen in images():
            total += torch.sigmoid(seen.logits).sum(0)
            count += len(seen.logits)
        self.class_prior.copy_(total / count)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """P-ASL of the cells that carry a loss; `left_out_share` are the unknown cells that do not."""
        config, logits = self.config, at_least_float32(outputs["logits"])
        counted = labels != 0 if clock.epoch < self.prior_epochs(clock) else ~self.left_out(logits, labels)
        cells = partial_asymmetric_cells(
            logits,
            labels,
            gamma_positive=config.gamma_positive,
            gamma_negative=config.gamma_negative,
            gamma_unknown=config.gamma_unknown,
        )
        total = self.reduce(cells, counted, config.normalization)
        return {"total": total, "left_out_share": (~counted).to(torch.float32).mean()}

    def left_out(self, logits: Tensor, labels: Labels) -> Bool[Tensor, "batch classes"]:
        """Unknown cells of frequent classes, and the likeliest ones of the batch."""
        unknown = labels == 0
        all_logits, all_unknown = gather_batch(logits.detach()), gather_batch(unknown)
        border = largest_count(all_logits, all_unknown, self.config.top_k * len(all_logits))
        return unknown & ((logits >= border) | (self.class_prior > self.config.prior_threshold))


def partial_asymmetric_cells(
    logits: Float[Tensor, "batch classes"],
    labels: Int8[Tensor, "batch classes"],
    *,
    gamma_positive: int | float,
    gamma_negative: int | float,
    gamma_unknown: int | float,
) -> Float[Tensor, "batch classes"]:
    """Loss of each cell (P-ASL), with p = σ(z) and unknown cells pushed down; no gradient passes through the weights.

    present: -(1 - p)^γ₊ log p; known absent: -p^γ₋ log(1 - p); unknown: -p^γᵤ log(1 - p).
    """
    present = (labels == 1).to(logits.dtype)
    known = asymmetric_cells(logits, present, gamma_positive=gamma_positive, gamma_negative=gamma_negative)
    unknown = asymmetric_cells(logits, torch.zeros_like(logits), gamma_positive=0, gamma_negative=gamma_unknown)
    return torch.where(labels == 0, unknown, known)
