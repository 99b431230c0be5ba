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
Unlabelled, as is every cell. Known present cells are needed; known absent ones are not used, but for the share r below
and for `class_prior`.

Settings
What is shipped by default is the method without LgConv, on the pooled head: LgConv and the head of the official code
are options. Where values come from: the paper states λ = 1 (here `mixup_weight`), that γ is larger where less is known,
and the scale of LgConv's norm; everything else of its recipe is in an appendix that is not at hand, or in the official
code alone. That code, by its README for 10 % known:
    COCO       gamma=0.55 alpha=1 lr=1e-4 batch_size=35 devices=2 ema=0.9997 epochs=41
    VOC 2007   gamma=0.85 alpha=2 lr=4e-5 batch_size=45 devices=2 ema=0.991 epochs=56
    both       head="ssgrl" reduction=1024 map_pool=2 temperature_floor=0 label_vectors=<GloVe, 300> mixup_alpha=0.3
               and of the loop: backbone="resnet101.tv_in1k" (the README leaves the file of weights open) size=448
               holdout=0 local_global=True branch_scale="normal" frozen_norm="all" train_parts="last_stage"
               optimizer="adam" weight_decay=1e-4 decay_on="all" schedule="onecycle" warmup=0.2 cycle_momentum=True
               schedule_epochs=80 ema_warmup=False random_crop="scales" amp="fp16"
It leaves the last incomplete batch out and reports the best epoch on the test images, of the network or its average,
which is never done here. γ at other shares is published nowhere.
The default for a share r of known cells is γ = 0.25 + 0.6 · log10(1/r), ours: 0.85 at 10 %, 0.43 at 50 %, 0.25 at
100 %. A table without known absent cells cannot tell r and gets 0.55. r is the share after cells are held out: with a
tenth held out of 10 %, γ is 0.88. Evidence: mAP of held-out known training cells of Corel5k, frozen MobileNetV2,
learning rate 1e-3, one seed, printed with the test mAP by
`partlabel bench benchmarks/corel5k_gamma.toml --out runs/corel5k_gamma`:
    γ               0      0.25   0.55   0.85   1      default
    10 % known      21.6   45.5   52.7   55.5   57.9   56.9
    50 % known      47.3   61.5   60.3   59.4   58.7   60.5
    100 % known     59.0   59.1   57.8   56.5   55.9   59.0
With less known a larger γ is better, and 0 fails where little is known. Differences below one point mean little, and
one data set does not fix the two numbers of the rule.
Rows of the paper:
    whole method           local_global=True of the loop
    without LgConv         local_global=False of the loop, the default
    unbalanced             gamma=0
    without temperature    temperature=False
    fixed temperature      fixed_temperature=0.5, or any other
    without mixup          mixup_weight=0
    U without P            unlabelled="without_present"
    uPU (eq. 5)            risk="unbiased" mixup_weight=0
    nnPU                   risk="non_negative" mixup_weight=0 (not a row of the paper, which cites it)

Known deviations
- The graph of the official code's head, which the paper does not describe, is counted from known present cells alone,
  as there, with an empty row for a class without any (there NaN).
- τ has a floor, unless temperature_floor=0.
- With a frozen backbone its cached maps are mixed in place of images: what is mixed is what the trainable part
  receives.
- Images and mixed ones pass in one batch, which is the same as the two of the official code where all batch norms are
  frozen (frozen_norm="all"), as they are there.
- Each process mixes its own part of a batch. L_var is of the batches of all processes together; in the official code
  each has its own, of 35 or 45 images.
- uPU and nnPU: the paper does not say which losses L+ and L- are, nor how the prior was had; logistic ones, and see
  `class_prior`: ours. Without a known absent cell the prior must be given.
"""

import math
from collections.abc import Mapping
from typing import Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.labels import LabelTable, State
from partlabel.losses.positive_unlabeled import (
    adaptive_temperature,
    mix_halves,
    mixup_consistency,
    prior_risk,
    variational_loss,
)
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs
from partlabel.methods.config import HeadConfig
from partlabel.methods.ssgrl import SSGRLHeadConfig, fill_ssgrl, ssgrl_spec
from partlabel.methods.tools.distributed import gather_batch
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger


class PositiveUnlabeledConfig(SSGRLHeadConfig, HeadConfig):
    """Settings of `positive_unlabeled`; those of the SSGRL head count only with head="ssgrl", those of the heads
    "ml_decoder" and "query2label" are in `head_settings`.
    """

    gamma: float | None = Field(default=None, ge=0)
    """Exponent of the re-balance factor; 0: no re-balance. Official code at 10 %: COCO 0.55, VOC 0.85. Default: by the
    known ratio, ours, through the 0.85.
    """
    temperature: bool = True
    """Divide logits by an adaptive temperature in L_var. Paper."""
    fixed_temperature: float | None = Field(default=None, gt=0)
    """One temperature for all classes in place of the adaptive one. Paper: COCO gains from less than 1, VOC from more;
    it gives no values.
    """
    alpha: float = Field(default=1.0, gt=0)
    """Scale of the temperature. Official code: 1 on COCO, 2 on VOC; the paper gives no value."""
    temperature_floor: float = Field(default=0.1, ge=0, le=1)
    """Least temperature. Ours: without it (0, as in the paper) σ(s/τ) is undefined for one image and for a head of
    zeros, and gradients grow by 1/τ without bound. The pooled head starts above it, the heads "ssgrl" and "ml_decoder"
    around it.
    """
    mixup_weight: float = Field(default=1.0, ge=0)
    """Weight of L_reg; 0: no mixing. Paper: 1 (the binary method that it extends, vPU: 0.03)."""
    mixup_alpha: float = Field(default=0.3, gt=0)
    """Both parameters of the Beta distribution of λ. Official code: 0.3."""
    unlabelled: Literal["all", "without_present"] = "all"
    """The unlabelled set U: the whole batch, or without the known present cells P. Paper: with P, against the usual of
    learning from positive and unlabelled data.
    """
    risk: Literal["variational", "unbiased", "non_negative"] = "variational"
    """L_var, or in its place the risk of uPU (paper, eq. 5) or nnPU, which need the class prior; γ and τ belong to
    L_var alone.
    """
    class_prior: float | dict[str, float] | None = None
    """For uPU and nnPU: share of present cells, of all classes alike or by class name. Default: of the known cells of a
    class the share that is present, which is right where cells are hidden whatever their sign. Ours.
    """
    head: Literal["pooled", "ssgrl", "ml_decoder", "query2label"] = "pooled"  # type: ignore[assignment]
    """Average pooling and a linear layer, the official code's semantic decoupling with a graph of labels ("ssgrl"), or
    a head that asks the map one question for each class or group of classes, with the settings in head_settings.
    """

    @model_validator(mode="after")
    def _what_counts(self) -> Self:
        if self.fixed_temperature is not None and not self.temperature:
            raise ValueError("fixed_temperature counts only with temperature; leave one of them out")
        if self.class_prior is not None and self.risk == "variational":
            raise ValueError('class_prior counts only with risk "unbiased" or "non_negative"; leave it out')
        given = self.class_prior.values() if isinstance(self.class_prior, dict) else [self.class_prior]
        if any(prior is not None and not 0 < prior < 1 for prior in given):
            raise ValueError("class_prior is a share between 0 and 1")
        return self


class PositiveUnlabeled(Method[PositiveUnlabeledConfig]):
    """Positive-unlabelled learning of many classes at once."""

    Config = PositiveUnlabeledConfig
    learns_from_unknown = True
    prior: Tensor | None
    batch_global = ("standard deviation of logits", "mean probability", "number of present cells")

    def __init__(self, tagger: Tagger, config: PositiveUnlabeledConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.gamma = gamma_of(context.labels) if config.gamma is None else config.gamma
        self.register_buffer("prior", None if config.risk == "variational" else prior_of(context.labels, config))
        if config.head == "ssgrl":
            fill_ssgrl(tagger, Context(_present_alone(context.labels), context.assets))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and the priors."""
        return super().class_axes if self.prior is None else {**super().class_axes, "prior": (0,)}

    @classmethod
    def label_vectors(cls, config: PositiveUnlabeledConfig) -> str | None:
        """The source that the settings name, for the SSGRL head."""
        return config.label_vectors if config.head == "ssgrl" else None

    @classmethod
    def head(cls, config: PositiveUnlabeledConfig, context: Context) -> HeadSpec:
        """The head that the settings name."""
        if config.head == "ssgrl":
            return ssgrl_spec(config, context)
        return config.worn or HeadSpec(kind="pooled")

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
        """The risk of the whole batch, across processes, by its name, and `mixup` of the mixed images."""
        logits, present = gather_batch(outputs["logits"]), gather_batch(labels) == 1
        risk, name = self._risk(logits, present), self.config.risk
        if "mixed" not in outputs:
            return {"total": risk}
        mixup = mixup_consistency(
            outputs["mixed"], outputs["logits"], labels == 1, outputs["permutation"], outputs["lam"]
        )
        return {"total": risk + self.config.mixup_weight * mixup, name: risk, "mixup": mixup}

    def _risk(self, logits: Tensor, present: Tensor) -> Tensor:
        config = self.config
        unlabelled = ~present if config.unlabelled == "without_present" else None
        if self.prior is None:
            return variational_loss(logits, present, self.gamma, self._temperature(logits), unlabelled)
        return prior_risk(logits, present, self.prior, unlabelled, non_negative=config.risk == "non_negative")

    def _temperature(self, logits: Tensor) -> Tensor | float:
        config = self.config
        if config.fixed_temperature is not None:
            return config.fixed_temperature
        return adaptive_temperature(logits, config.alpha, config.temperature_floor) if config.temperature else 1


def gamma_of(table: LabelTable) -> float:
    """The rule for γ, of the table's share of known cells; see the module."""
    counts = table.counts_by_class()
    present, absent = int(counts.present.sum()), int(counts.absent.sum())
    if absent == 0:
        return 0.55
    known_ratio = (present + absent) / (len(table) * len(table.classes))
    return 0.25 + 0.6 * math.log10(1 / known_ratio)


def prior_of(table: LabelTable, config: PositiveUnlabeledConfig) -> Float[Tensor, "classes"]:
    """π of each class, as the settings say.

    Raises:
        UsageError: a class has no known absent or no known present cell to count, or no prior among those given.
    """
    given = config.class_prior
    if given is None:
        counts = table.counts_by_class()
        one_sided = [
            name for name, *both in zip(table.classes, counts.present, counts.absent, strict=True) if min(both) == 0
        ]
        if one_sided:
            raise UsageError(
                f"risk {config.risk!r} needs the share of present cells of each class, and of {one_sided[0]!r}"
                f"{f' and {len(one_sided) - 1} more' if len(one_sided) > 1 else ''} not both signs are known; give "
                "class_prior"
            )
        return torch.as_tensor(counts.present / (counts.present + counts.absent), dtype=torch.float32)
    if not isinstance(given, dict):
        return torch.full((len(table.classes),), given)
    if missing := [name for name in table.classes if name not in given]:
        raise UsageError(f"class_prior has no share for {', '.join(map(repr, missing[:5]))}; give one for every class")
    return torch.tensor([given[name] for name in table.classes])


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
