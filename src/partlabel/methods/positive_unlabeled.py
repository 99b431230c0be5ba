"""Positive-unlabelled multi-label classification (PU-MLC): learns from known present cells alone.

Source
Yuan, Zhang, Huang: Positive Label Is All You Need for Multi-Label Classification, ICME 2024.

Objective
With s the logits, τ_c = min(α · standard deviation of s_c over the batch, 1), q = σ(s/τ) and p̄_c the batch mean of
q_c:
    L = L_var + w · L_reg
    L_var = Σ_c [p̄_c^γ · log p̄_c - mean of log q over the present cells of c]; no gradient through p̄^γ and τ
    L_reg = mean over mixed images of Σ_c (log mixed target - log σ(mixed logit))²; a target is 1 if present, else σ(s)
Images are tagged by σ(s), without temperature. The unlabelled set is the whole batch.

Unknown cells
Unlabelled, as is every cell. Known present cells are needed; known absent ones are not used.

Settings
γ: the official code gives 0.55 (COCO) and 0.85 (VOC) at 10 % known; the paper says that it grows as less is known. The
default for a share r of known cells is γ = 0.25 + 0.6 · log10(1/r): 0.85 at 10 %, 0.43 at 50 %, 0.25 at 100 %. A table
without known absent cells cannot tell r and gets 0.55. r is the share after cells are held out: with a tenth held out
of 10 %, γ is 0.88. Evidence: mAP of held-out known training cells of Corel5k, frozen MobileNetV2, learning rate 1e-3,
one seed, printed with the test mAP by `partlabel bench benchmarks/corel5k_gamma.toml --out runs/corel5k_gamma`:
    γ               0      0.25   0.55   0.85   1      default
    10 % known      21.6   45.5   52.7   55.5   57.9   56.9
    50 % known      47.3   61.5   60.3   59.4   58.7   60.5
    100 % known     59.0   59.1   57.8   56.5   55.9   59.0
With less known a larger γ is better, and 0 fails where little is known. Differences below one point mean little, and
one data set does not fix the two numbers of the rule.
Rows of the paper's ablations, and the official code:
    unbalanced             gamma=0
    without temperature    temperature=False
    without mixup          mixup_weight=0
    without LgConv         local_global=False of the loop
    official code          head="ssgrl" reduction=1024 gamma=0.55 (VOC: 0.85, alpha=2), and of the loop
                           local_global=True frozen_norm=True train_parts="last_stage"

Known deviations
- The head of the official code, which the paper does not describe, is an option, without the 2 × 2 pooling that comes
  before it there. Its graph is counted from known present cells alone, as there, with an empty row for a class without
  any (there NaN).
- τ has a floor.
- With a frozen backbone its cached maps are mixed in place of images: what is mixed is what the trainable part
  receives.
- Images and mixed ones pass in one batch, which with frozen_norm differs from two only in the batch norm of the "ssgrl"
  head: it is frozen in the official code, and here it trains on the statistics of both.
- Each process mixes its own part of a batch.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from partlabel.labels import LabelTable, State
from partlabel.losses.positive_unlabeled import adaptive_temperature, mix_halves, mixup_consistency, variational_loss
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs
from partlabel.methods.ssgrl import SSGRLHeadConfig, fill_ssgrl, ssgrl_spec
from partlabel.methods.tools.distributed import gather_batch
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger


class PositiveUnlabeledConfig(SSGRLHeadConfig):
    """Settings of `positive_unlabeled`; those of the SSGRL head count only with head="ssgrl"."""

    gamma: float | None = Field(default=None, ge=0)
    """Exponent of the re-balance factor; 0: no re-balance. Default: by the known ratio, ours, through VOC's 0.85 at 10
    %.
    """
    temperature: bool = True
    """Divide logits by an adaptive temperature in L_var. Paper."""
    alpha: float = Field(default=1.0, gt=0)
    """Scale of the temperature. Paper: 1 on COCO, 2 on VOC."""
    temperature_floor: float = Field(default=0.1, gt=0, le=1)
    """Least temperature. Ours: the paper's is 0 for one image and for a head of zeros, and gradients grow by 1/τ, so
    tenfold at most. A new linear layer starts above it (its logits have a standard deviation of 0.2 to 0.4), so little
    else changes.
    """
    mixup_weight: float = Field(default=1.0, ge=0)
    """Weight of L_reg; 0: no mixing. Paper: 1 (the binary method that it extends, vPU: 0.03)."""
    mixup_alpha: float = Field(default=0.3, gt=0)
    """Both parameters of the Beta distribution of λ. Official code: 0.3."""
    head: Literal["pooled", "ssgrl"] = "pooled"
    """Average pooling and a linear layer, or the official code's semantic decoupling with a graph of labels."""


class PositiveUnlabeled(Method[PositiveUnlabeledConfig]):
    """Positive-unlabelled learning of many classes at once."""

    Config = PositiveUnlabeledConfig
    learns_from_unknown = True
    batch_global = ("standard deviation of logits", "mean probability", "number of present cells")

    def __init__(self, tagger: Tagger, config: PositiveUnlabeledConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.gamma = gamma_of(context.labels) if config.gamma is None else config.gamma
        if config.head == "ssgrl":
            fill_ssgrl(tagger, Context(_present_alone(context.labels), context.assets))

    @classmethod
    def label_vectors(cls, config: PositiveUnlabeledConfig) -> str | None:
        """The source that the settings name, for the SSGRL head."""
        return config.label_vectors if config.head == "ssgrl" else None

    @classmethod
    def head(cls, config: PositiveUnlabeledConfig, context: Context) -> HeadSpec:
        """The head that the settings name."""
        return ssgrl_spec(config, context) if config.head == "ssgrl" else HeadSpec(kind="pooled")

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits of the weak view and, as `mixed`, of its mixed images, with the permutation and λ that mixed them."""
        images, pairs = views["weak"], len(views["weak"]) // 2
        if self.config.mixup_weight == 0 or pairs == 0:
            return super().forward(views)
        alpha, device = self.config.mixup_alpha, images.device
        permutation = torch.randperm(pairs).to(device)
        lam = torch.distributions.Beta(alpha, alpha).sample().to(device)
        # in one pass, because a small batch may make a single mixed image, and batch norms need two
        logits = self.tagger(torch.cat([images, mix_halves(images, permutation, lam)])).logits
        return {"logits": logits[: len(images)], "mixed": logits[len(images) :], "permutation": permutation, "lam": lam}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`variational` of the whole batch, across processes, and `mixup` of the mixed images."""
        logits, present = gather_batch(outputs["logits"]), gather_batch(labels) == 1
        variational = variational_loss(logits, present, self.gamma, self._temperature(logits))
        if "mixed" not in outputs:
            return {"total": variational}
        mixup = mixup_consistency(
            outputs["mixed"], outputs["logits"], labels == 1, outputs["permutation"], outputs["lam"]
        )
        return {"total": variational + self.config.mixup_weight * mixup, "variational": variational, "mixup": mixup}

    def _temperature(self, logits: Tensor) -> Tensor | int:
        config = self.config
        return adaptive_temperature(logits, config.alpha, config.temperature_floor) if config.temperature else 1


def gamma_of(table: LabelTable) -> float:
    """The rule for γ, of the table's share of known cells; see the module."""
    counts = table.counts_by_class()
    present, absent = int(counts.present.sum()), int(counts.absent.sum())
    if absent == 0:
        return 0.55
    known_ratio = (present + absent) / (len(table) * len(table.classes))
    return 0.25 + 0.6 * math.log10(1 / known_ratio)


def _present_alone(table: LabelTable) -> LabelTable:
    """The table with everything taken as absent that is not known present, so that a class's share is of all its
    images.
    """
    cells = table.cells()
    kept = cells.states == State.PRESENT
    return LabelTable.from_cells(
        table.images,
        table.classes,
        cells.image_index[kept],
        cells.class_index[kept],
        cells.states[kept],
        cells.sources[kept],
        State.ABSENT,
    )
