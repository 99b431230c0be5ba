"""What a head is: feature maps to logits, and to class maps where an image is to be explained."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from partlabel.errors import UsageError
from partlabel.models.encoders.base import Pool

Maps = Float[Tensor, "batch classes h w"]
Logits = Float[Tensor, "batch classes"]
ImageVector = Float[Tensor, "batch features"] | None
"""Vector of the whole image that some encoders have beside their maps (`encoders.base.Features`)."""


Scale = Literal["own", "unit", "shares"]
"""How a map is drawn: from its own lowest to its highest value; from 0 to 1; or, for shares of the places that sum to
1, the first where they differ by more than an even share and else the second.
"""


class HeadSpec(BaseModel):
    """Kind of head, a key of `HEADS`, and its settings: enough to build it again from a bundle."""

    model_config = ConfigDict(frozen=True)

    kind: str = "pooled"
    settings: dict[str, Any] = {}


def check_pool(pool: str) -> None:
    """Refuse the name of a pooling that there is not.

    Raises:
        UsageError: it is neither "avg" nor "max".
    """
    if pool not in {"avg", "max"}:
        raise UsageError(f"pool {pool!r} is not 'avg' or 'max'")


class HeadOutput(NamedTuple):
    """Logits `[B, C]`, by which the image is tagged, and named further tensors that an objective may want."""

    logits: Logits
    extra: dict[str, Tensor]


class Head(nn.Module):
    """Base of all heads: built as `Kind(features, classes, **settings)`, from the channels d of the maps and the number
    C.

    What a head must know beside its settings (label vectors, a label graph) are buffers of the right shape, filled by
    the method before training; so they travel in the bundle.

    All take the encoder's features, maps and image vector; most use the maps alone.

    Attributes:
        scales: how maps are to be drawn, by kind, `class` or one of `other_maps`; "own" where it says nothing.
        pool: the pooling that `forward` begins with and can find done already; None where it needs the places or
            the image vector.
        has_class_maps: whether there are `class_maps`.
        needs_image_vector: whether it uses the image vector, so that an encoder without one will not do.
    """

    scales: Mapping[str, Scale] = MappingProxyType({})
    pool: Pool | None = None
    has_class_maps: bool = True
    needs_image_vector: bool = False

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """For each parameter or buffer that has classes along some axes, which axes.

        So classes can be permuted, and taken over from another run.
        """
        raise NotImplementedError

    def reads_alike(self, other: "Head", mine: int, theirs: int) -> bool:
        """Whether what class number `mine` has of its own in this head would mean the same as what class number
        `theirs` has in another one, whose other weights are taken over with it.
        """
        return True

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of features."""
        raise NotImplementedError

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """How much each place speaks for each class; only where `has_class_maps`."""
        raise NotImplementedError

    def other_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> dict[str, Maps]:
        """Further maps of the classes, by kind, for whoever looks closely."""
        return {}
