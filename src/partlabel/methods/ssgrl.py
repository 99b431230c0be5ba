"""Semantic-specific graph representation learning (SSGRL), trained on known cells.

Chen, Xu, Hui, Wu, Lin: Learning Semantic-Specific Graph Representation for Multi-Label Image Recognition, ICCV 2019.

The head is in `models.heads.ssgrl`; its graph holds P(j | i), counted from known cells (`models.label_graph`). Loss:
binary cross-entropy of known cells, divided as `normalization` says; unknown is ignored, unless `unknown="absent"`,
which then holds for the graph too.

Assumes of labels: both signs known somewhere; with `unknown="absent"`, known present cells.
Known deviations: the paper trains on complete labels with the sum over classes; the graph of the public code for
partial labels counts unknown as absent. Label vectors are GloVe in the paper: name such a file with `label_vectors`.
"""

import torch
from pydantic import Field
from torch import Tensor

from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import Normalization
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.methods.tools.label_vectors import fill_label_vectors, label_vector_settings
from partlabel.methods.tools.unknown import Unknown, UnknownConfig, as_told
from partlabel.models.graphs.label_graph import co_occurrence
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger


class SSGRLHeadConfig(MethodConfig):
    """Settings of the head, for every method that uses it."""

    label_vectors: str = "auto"
    """Source of label vectors: "auto", "learned", a text encoder, or a .txt or .vec file of word vectors. Paper:
    GloVe.
    """
    label_features: int = Field(default=300, gt=0)
    """Length of learned label vectors. Paper: 300, GloVe's."""
    reduction: int | None = Field(default=None, gt=0)
    """Channels that the maps are first brought to. Paper: none; public code for partial labels: 1024; 256 suits a
    laptop.
    """
    hidden: int = Field(default=512, gt=0)
    """Width of the attention. Public code for partial labels: 512; paper: 1024."""
    steps: int = Field(default=3, ge=0)
    """Steps of the gated graph. Paper: 3."""
    map_pool: int = Field(default=1, ge=1, le=100)
    """Side of the squares of places of the maps whose means are taken first; 1: none. PU-MLC's official code: 2,
    which at 448 pixels leaves 7 × 7 places of 14 × 14.
    """


class SSGRLConfig(SSGRLHeadConfig, UnknownConfig):
    """Settings of `ssgrl`."""

    normalization: Normalization = "batch"
    """What the sum is divided by. As in `bce`; public code for partial labels: "batch"."""


def ssgrl_spec(config: SSGRLHeadConfig, context: Context) -> HeadSpec:
    """The head for the label vectors at hand."""
    return HeadSpec(
        kind="ssgrl",
        settings={
            **label_vector_settings(context, config.label_features),
            "reduction": config.reduction,
            "hidden": config.hidden,
            "steps": config.steps,
            **({"map_pool": config.map_pool} if config.map_pool > 1 else {}),
        },
    )


def fill_ssgrl(tagger: Tagger, context: Context, unknown: Unknown = "ignored") -> None:
    """Give the head its graph, counted with unknown cells taken so, and its label vectors, if these are not learned."""
    with torch.no_grad():
        tagger.head.get_buffer("graph").copy_(co_occurrence(context.labels, unknown))
    fill_label_vectors(tagger, context)


class SSGRL(Method[SSGRLConfig]):
    """Semantic decoupling and a gated graph of labels."""

    Config = SSGRLConfig
    batch_global = ("number of known cells",)

    def __init__(self, tagger: Tagger, config: SSGRLConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.learns_from_unknown = config.unknown == "absent"
        fill_ssgrl(tagger, context, config.unknown)

    @classmethod
    def label_vectors(cls, config: SSGRLConfig) -> str:
        """The source that the settings name."""
        return config.label_vectors

    @classmethod
    def head(cls, config: SSGRLConfig, context: Context) -> HeadSpec:
        """Semantic decoupling and the gated graph."""
        return ssgrl_spec(config, context)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Known cells, and those that the settings call absent."""
        labels = as_told(labels, self.config.unknown)
        return {"total": self.reduce(bce_cells(outputs["logits"], labels), labels != 0, self.config.normalization)}
