"""Multi-label recognition with graph convolutional networks (ML-GCN), trained with partial BCE.

Chen, Wei, Wang, Guo: Multi-Label Image Recognition with Graph Convolutional Networks, CVPR 2019; C-GCN in its longer
version. Durand, Mehrasa, Mori: Learning a Deep ConvNet for Multi-Label Classification with Partial Labels, CVPR 2019
(the loss).

Two graph layers turn label vectors into classifiers of the pooled features (`models.heads.ml_gcn`). Label i takes from
those labels j for which P(j | i) >= threshold, counted from known cells (`models.label_graph`). Loss: as `bce`; unknown
is ignored, unless `unknown="absent"`, which then holds for the graph too.

Assumes of labels: both signs known somewhere; with `unknown="absent"`, known present cells.
Rows of the paper's ablations: `threshold` and `reweight`.
Known deviations: the paper trains on complete labels with plain BCE, which partial BCE is where all labels are known;
the official code transposes the graph (see `ml_gcn_adjacency`). P-GCN, the other model of the longer version, is not
this one.
"""

import torch
from pydantic import Field
from torch import Tensor

from partlabel.losses.normalization import Normalization
from partlabel.methods.base import Clock, Context, Index, Labels, Outputs, PoolConfig
from partlabel.methods.bce import PartialBCE, PartialBCEConfig
from partlabel.methods.tools.label_vectors import fill_label_vectors, label_vector_settings
from partlabel.methods.tools.unknown import UnknownConfig, as_told
from partlabel.models.encoders.base import Pool
from partlabel.models.graphs.label_graph import co_occurrence, ml_gcn_adjacency
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger


class MLGCNConfig(PoolConfig, PartialBCEConfig, UnknownConfig):
    """Settings of `ml_gcn`."""

    label_vectors: str = "auto"
    """Source of label vectors: "auto", "learned", a text encoder, or a .txt or .vec file of word vectors. Paper:
    GloVe.
    """
    label_features: int = Field(default=300, gt=0)
    """Length of learned label vectors. Paper: 300, GloVe's."""
    hidden: int = Field(default=1024, gt=0)
    """Width of the first graph layer. Paper: 1024."""
    threshold: float = Field(default=0.4, ge=0, le=1)
    """Conditional probability from which two labels are linked. Paper: 0.4."""
    reweight: float = Field(default=0.2, ge=0, lt=1)
    """Share of a node that its neighbours give. Paper: 0.2."""
    pool: Pool = "max"
    """Pooling of the head. Paper: "max"."""
    normalization: Normalization = "partial_bce"
    """What the sum is divided by. Durand et al."""


class MLGCN(PartialBCE):
    """Classifiers from a graph of labels."""

    Config = MLGCNConfig

    def __init__(self, tagger: Tagger, config: MLGCNConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        self.unknown = config.unknown
        self.learns_from_unknown = config.unknown == "absent"
        shares = co_occurrence(context.labels, config.unknown)
        adjacency = ml_gcn_adjacency(shares, config.threshold, config.reweight)
        with torch.no_grad():
            tagger.head.get_buffer("adjacency").copy_(adjacency)
        fill_label_vectors(tagger, context)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """As `bce`; cells that the settings call absent count as known."""
        return super().objective(outputs, as_told(labels, self.unknown), index, clock)

    @classmethod
    def label_vectors(cls, config: MLGCNConfig) -> str:  # type: ignore[override]
        """The source that the settings name."""
        return config.label_vectors

    @classmethod
    def head(cls, config: MLGCNConfig, context: Context) -> HeadSpec:  # type: ignore[override]
        """Graph layers over the label vectors."""
        return HeadSpec(
            kind="ml_gcn",
            settings={
                **label_vector_settings(context, config.label_features),
                "hidden": config.hidden,
                "pool": config.pool,
            },
        )
