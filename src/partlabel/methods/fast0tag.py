"""Fast image tagging by a principal direction among word vectors (Fast0Tag).

Zhang, Gong, Shah: Fast Zero-Shot Image Tagging, CVPR 2016; its network, not its linear map.

A network maps an image to a direction in the space of label vectors along which present classes come before absent ones
(`models.heads.fast0tag`). Loss of an image: the mean over its pairs of a present class p and an absent one n of
log(1 + exp(s_n - s_p)), with s the inner products of label vectors and direction. L = mean over the images that have a
pair.

Assumes of labels: both signs known, in the same images. The paper calls absent whatever is not listed; here unknown
cells take no part, as for the other peers that IMCL compares itself with.
Logits order the classes of an image and say nothing else: 0 is no border between present and absent. Thresholds come
from the held-out cells.
Known deviations: classes without pictures in training (zero-shot tagging) are not served; the widths of the two hidden
layers are ours; label vectors are learned where none are at hand, which is no longer Fast0Tag.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from partlabel.methods.base import Context, Labels, PoolConfig
from partlabel.methods.pairwise import PairRanking
from partlabel.methods.tools.label_vectors import fill_label_vectors, label_vector_settings
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger


class Fast0TagConfig(PoolConfig):
    """Settings of `fast0tag`."""

    label_vectors: str = "auto"
    """Source of label vectors: "auto", "learned", a text encoder, or a .txt or .vec file of word vectors. The
    paper is said to use GloVe (not checked against it).
    """
    label_features: int = Field(default=300, gt=0)
    """Length of learned label vectors: that of GloVe, which the paper is said to use (not checked against it)."""
    hidden: int = Field(default=1024, gt=0)
    """Width of the two hidden layers. Ours."""


class Fast0Tag(PairRanking[Fast0TagConfig]):
    """Ranking along a direction among label vectors."""

    Config = Fast0TagConfig

    def __init__(self, tagger: Tagger, config: Fast0TagConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        fill_label_vectors(tagger, context)

    @classmethod
    def label_vectors(cls, config: Fast0TagConfig) -> str:
        """The source that the settings name."""
        return config.label_vectors

    @classmethod
    def head(cls, config: Fast0TagConfig, context: Context) -> HeadSpec:
        """A direction in the space of the label vectors."""
        return HeadSpec(
            kind="fast0tag",
            settings={
                **label_vector_settings(context, config.label_features),
                "hidden": config.hidden,
                "pool": config.pool,
            },
        )

    def image_losses(self, logits: Float[Tensor, "batch classes"], labels: Labels) -> Float[Tensor, "batch"]:
        """The loss of each image."""
        return pair_images(logits, labels)


def pair_images(logits: Float[Tensor, "batch classes"], labels: Labels) -> Float[Tensor, "batch"]:
    """Mean over the pairs of each image of log(1 + exp(s_absent - s_present)); 0 where it has none.

    An image at a time, so that memory grows with the pairs of one.
    """
    losses = []
    for row, states in zip(logits, labels, strict=True):
        margins = row[states == -1][:, None] - row[states == 1][None, :]
        losses.append(functional.softplus(margins).sum() / max(margins.numel(), 1))
    return torch.stack(losses)
