"""Co-learning of semantic-aware features and label recovery (CSL; CLSL in its first version).

He, Xie, Li, Liu, Hu: Incomplete Multi-Label Image Recognition by Co-learning Semantic-Aware Features and Label
Recovery, arXiv:2510.10055, 2025.

The head is in `models.heads.colearning`: refined logits z from regions and label features, coarse logits z0 from a
global maximum. L = λ1·ASL(z; known labels) + λ2·ASL(z0; ỹ), where ỹ is the label of known cells and σ(z), without
gradient, of unknown ones; ASL is the asymmetric loss for soft targets (`losses.asymmetric`), its weight without
gradient. At test time: σ(z).

Assumes of labels: both signs known somewhere.
Rows of the paper's Table 6, as settings (each row keeps what the rows above switched on):
    base       region=False self_attention=False sgfe=False srfl=False colearning=False: global maximum of a linear map
    +region    region=True             +SA    self_attention=True       +SGFE  sgfe=True
    +SRFL      srfl=True               +CL    colearning=True, the defaults
Recipe of the paper: AdamW, RandAugment and Cutout (view="strong"), EMA 0.9997, ResNet-101 and BERT, λ1 = 1; on COCO
448 px, batch 52, learning rate 5e-5, λ2 = 0.8; on VOC 2007 448 px, batch 64, 5e-5, λ2 = 0.1; on NUS-WIDE 224 px, batch
128, 9e-5, λ2 = 2. Of its public code alone: 60 epochs of one cycle that rises for a fifth of the steps, weight decay
1e-4 on all parameters, cycled momentum, an EMA without warm-up, views that are mirrored and not cropped, torchvision's
weights (backbone resnet101.tv_in1k; timm's resnet101 has others); EMA 0.9983 on VOC 2007 and NUS-WIDE, and learning
rate 9e-5 on VOC 2007. It takes the epoch that is best on the test set, which nothing here does.

What λ2 means depends on `normalization`, and the paper's text has lost what its losses are divided by. "mean" sets a
mean over all cells against a mean over the known ones; "official", the public code, sets it against their *sum*. So at
equal λ2 recovered labels weigh as many times more under "mean" as a batch has known cells: with 10 % known, 416 times
in its recipe on COCO (0.1 · 52 · 80), 128 times on VOC 2007 and 1,037 times on NUS-WIDE. Which of
the two gave the published numbers the paper does not say; divide λ2 by the number of known cells in a batch to have the
public code's balance with means.

With CLIP ("clip" in the paper's tables; its text names neither the network nor LoRA). Recipe of the paper: on COCO 448
px, batch 32, learning rate 5e-5, λ2 = 0.8; on VOC 2007 448 px, batch 32, 2.4e-5, λ2 = 0.1; on NUS-WIDE 224 px, batch
128, 9e-5, λ2 = 2; the rest as above. Of its public code alone, with backbone="resnet101_clip":
    tower     joint_space="projected" at 448 px, "attended" at 224; preprocessing="imagenet" in place of CLIP's own
    head      image_vector="encoder" feed_forward=2048 expansion=2048
    LoRA      lora_rank=8 lora_alpha=32 lora_dropout=0.01 lora_targets="residual" lora_norm="batch"
    EMA       0.9983 on VOC 2007 and NUS-WIDE; λ2 = 0.1 stands in the code, to be edited for the other data sets
Whether this is what gave the published numbers cannot be known: the code does not run as published, because the import
of peft is commented out and yet used (at 2f9e916, 2025-11-04), and other lists of LoRA's targets stand in comments
beside the one that is taken here. That one also names the four projections of the attention pooling; they are left out,
because they are read there as weights, past LoRA, and so most likely stay as they are.

Known deviations: each part is a mean over its cells by default (above; at completely known labels a mean in both).
SRFL has two layers with a batch norm (public code) where the paper writes of a linear projection
(srfl_projection="linear"). Position codes are the public code's; the paper names none (positions=False). One
self-attention layer (public code), the paper has "layers". Attention and fused features have one width; the paper
names two, which are equal in the public code. Logarithms are stable and not cut off at 1e-5. Without SRFL the places
see the label vectors themselves (public code). Learned label vectors start from N(0, 1) (public code: uniform, with a
standard deviation of 0.02). The public code's "baseline" is our +region.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float, Int8
from pydantic import Field
from torch import Tensor

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.methods.tools.distributed import per_process_total
from partlabel.methods.tools.label_vectors import fill_label_vectors, label_vector_settings
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.colearning import ImageSource, Projection
from partlabel.models.tagger import Tagger

Recovery = Literal["probability", "scaled"]

OFFICIAL_SCALE = 1000
"""By which the public code multiplies both losses."""

_OF_THE_HEAD = {
    "region",
    "self_attention",
    "sgfe",
    "srfl",
    "srfl_projection",
    "reduction",
    "hidden",
    "temperature",
    "layers",
    "positions",
    "heads",
    "dropout",
    "mlp_dropout",
    "feed_forward",
    "expansion",
    "image_vector",
}


class CoLearningConfig(MethodConfig):
    """Settings of `colearning`."""

    region: bool = True
    """Aggregate region scores by their softmax over the places; else take the largest."""
    self_attention: bool = True
    """Transformer layers over the places."""
    sgfe: bool = True
    """Semantic-guided feature enhancement: attention over the labels at each place."""
    srfl: bool = True
    """Semantic-related feature learning: label features that see the image. Needs sgfe."""
    srfl_projection: Projection = "mlp"
    """How: "mlp", two layers with a batch norm (public code), or "linear", one linear map (paper)."""
    colearning: bool = True
    """Coarse head, which learns from recovered labels."""
    lambda_1: float = Field(default=1.0, ge=0)
    """Weight of the known labels. Paper: 1."""
    lambda_2: float = Field(default=0.8, ge=0)
    """Weight of the recovered labels. Paper: 0.8 on COCO, 0.1 on VOC 2007, 2 on NUS-WIDE. In its public code
    (normalization="official") they weigh less, by the number of known cells in the batch."""
    view: Literal["weak", "strong"] = "weak"
    """The view that is learned from: "strong" adds Cutout and RandAugment (paper), "weak" is quicker and caches well.
    """
    gamma_positive: float = Field(default=0.0, ge=0)
    """Focusing of present cells. Public code: 0; lost in the paper."""
    gamma_negative: float = Field(default=2.0, ge=0)
    """Focusing of absent cells. Public code: 2; lost in the paper."""
    clip: float = Field(default=0.0, ge=0, lt=1)
    """Probability margin of absent cells. Public code: 0; lost in the paper."""
    pseudo: Recovery = "probability"
    """Recovered label: "probability", σ(z) (paper), or "scaled", σ(z · max z) (public code)."""
    normalization: Literal["mean", "official"] = "mean"
    """How cells become a loss. "mean": each part the mean over its cells; ours, because it is lost in the paper.
    "official": 1000 × the sum over known cells, and 1000 × the mean over all cells for the recovered ones (public
    code); the mean in both for a batch without an unknown cell. lambda_2 weighs less under "official", by the number
    of known cells in the batch."""
    label_vectors: str = "auto"
    """Source of label vectors: "auto", "learned", a text encoder, or a .txt or .vec file of word vectors. Paper:
    BERT.
    """
    label_features: int = Field(default=300, gt=0)
    """Length of learned label vectors. Ours, GloVe's length; public code: 768, BERT's."""
    reduction: int | None = Field(default=None, gt=0)
    """Channels that a 1 × 1 convolution first brings the maps to. Paper: none; 256 suits a laptop."""
    hidden: int = Field(default=1024, gt=0)
    """Width of the attention between places and labels. Public code: 1024; 256 suits a laptop."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature τ of that attention (eq. 4): the higher, the more even. Public code: 1; lost in the paper."""
    layers: int = Field(default=1, gt=0)
    """Number of transformer layers. Public code: 1; the paper has "self-attention layers"."""
    positions: bool = True
    """Add two-dimensional sine codes of the places to queries and keys (public code; the paper names none)."""
    heads: int = Field(default=8, gt=0)
    """Heads of each transformer layer. Public code: 8."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of each transformer layer. Public code: 0.1."""
    mlp_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout before the region scores, with sgfe. Public code: 0.5."""
    feed_forward: int | None = Field(default=None, gt=0)
    """Width of the feed-forward part of each transformer layer; None: as wide as the maps. Public code: 2048, which is
    as wide as the maps of ResNet-101 and not as those of CLIP's joint space.
    """
    expansion: int | None = Field(default=None, gt=0)
    """Channels that a 1 × 1 convolution with a batch norm brings the encoded places to; None: they stay. Public code
    with CLIP: 2048.
    """
    image_vector: ImageSource = "places"
    """What srfl knows of the image: the mean of the encoded "places" (paper, eq. 1), or the vector that the "encoder"
    has beside its maps (public code with CLIP; needs joint_space).
    """


class CoLearning(Method[CoLearningConfig]):
    """Semantic-aware features and label recovery."""

    Config = CoLearningConfig
    learns_from_unknown = True
    batch_global = ("number of known cells",)

    def __init__(self, tagger: Tagger, config: CoLearningConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.learns_from_unknown = config.colearning
        if config.sgfe:
            fill_label_vectors(tagger, context)

    @classmethod
    def label_vectors(cls, config: CoLearningConfig) -> str | None:
        """The source that the settings name; none is needed without sgfe."""
        return config.label_vectors if config.sgfe else None

    @classmethod
    def head(cls, config: CoLearningConfig, context: Context) -> HeadSpec:
        """The parts that are switched on."""
        return HeadSpec(
            kind="colearning",
            settings={
                **config.model_dump(include=_OF_THE_HEAD),
                "coarse": config.colearning,
                **label_vector_settings(context, config.label_features),
            },
        )

    @property
    def views(self) -> tuple[str, ...]:
        """The one that is learned from."""
        return (self.config.view,)

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Refined logits and, with co-learning, coarse ones."""
        refined, extra = self.tagger(views[self.config.view])
        return {"logits": refined, **extra}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`refined` on known cells, `coarse` on all, the unknown ones with recovered labels."""
        config, known = self.config, labels != 0
        official = config.normalization == "official"
        scale = OFFICIAL_SCALE if official else 1
        cells = self._cells(outputs["logits"], (labels == 1).to(torch.float32))
        summed = official and bool(per_process_total((~known).sum()) > 0)
        refined = self.reduce(cells, known, "sum" if summed else "batch")
        total = config.lambda_1 * scale * refined
        if not config.colearning:
            return {"total": total}
        targets = recovered_targets(outputs["logits"].float(), labels, config.pseudo)
        coarse = self.reduce(self._cells(outputs["coarse"], targets))
        return {"total": total + config.lambda_2 * scale * coarse, "refined": scale * refined, "coarse": scale * coarse}

    def _cells(self, logits: Tensor, targets: Tensor) -> Tensor:
        config = self.config
        return asymmetric_cells(
            logits.float(),
            targets,
            gamma_positive=config.gamma_positive,
            gamma_negative=config.gamma_negative,
            clip=config.clip,
        )


def recovered_targets(
    logits: Float[Tensor, "batch classes"], labels: Int8[Tensor, "batch classes"], recovery: Recovery = "probability"
) -> Float[Tensor, "batch classes"]:
    """1 for present cells, 0 for absent ones, a probability for unknown ones; no gradient flows back.

    Args:
        logits: z, of the network that recovers.
        labels: +1 present, -1 absent, 0 unknown.
        recovery: "probability": σ(z_c) (co-learning, eq. 8). "scaled": σ(z_c · max z) with the image's largest logit,
            as in its public code; where all logits of an image are negative it gives every unknown cell more than 1/2,
            and the most to the least likely one.
    """
    logits = logits.detach()
    if recovery == "scaled":
        logits = logits * logits.amax(1, keepdim=True)
    return torch.where(labels == 0, torch.sigmoid(logits), (labels == 1).to(logits.dtype))
