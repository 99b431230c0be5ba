"""WSABIE: the WARP loss on images and classes in one space of few dimensions.

Weston, Bengio, Usunier: WSABIE: Scaling Up To Large Vocabulary Image Annotation, IJCAI 2011.

The score of a class is the inner product of its vector and of the image's, which is a linear map of the pooled features
(`models.heads.low_rank`); so classes share what is learned of them. Loss of an image: `losses.pairwise.warp_images`.
L = mean over the images that have a present and a known absent class.

Assumes of labels: both signs known, in the same images. The paper has complete labels and ranks each present class
against all others; here unknown cells take no part, as for the other peers that IMCL compares itself with.
Logits order the classes of an image and say nothing else (see `warp`).
Known deviations: the paper bounds the norms of all vectors by a constant, for which weight decay stands here; it
estimates a rank by drawing classes until one violates, which is counted here; ours is the space's dimension.
"""

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from partlabel.losses.pairwise import warp_images
from partlabel.methods.base import Context, Labels, PoolConfig
from partlabel.methods.pairwise import PairRanking
from partlabel.models.heads import HeadSpec


class WsabieConfig(PoolConfig):
    """Settings of `wsabie`."""

    rank: int = Field(default=100, ge=1)
    """Dimensions of the space of images and classes. Ours: a size for some thousand classes."""


class Wsabie(PairRanking[WsabieConfig]):
    """Weighted approximate ranking in a joint embedding."""

    Config = WsabieConfig

    @classmethod
    def head(cls, config: WsabieConfig, context: Context) -> HeadSpec:
        """The joint space."""
        return HeadSpec(kind="low_rank", settings={"rank": config.rank, "pool": config.pool})

    def image_losses(self, logits: Float[Tensor, "batch classes"], labels: Labels) -> Float[Tensor, "batch"]:
        """The loss of each image."""
        return warp_images(logits, labels)
