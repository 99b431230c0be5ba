"""Global pooling, then one linear layer."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.errors import UsageError
from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, HeadSpec, ImageVector, Maps, check_pool

Transform = Literal["none", "sqrt"]
"""What becomes of pooled features f before the linear layer. "sqrt": f / sqrt(|f| + 1e-4), the signed square root of
Perronnin, Sánchez, Mensink (Improving the Fisher kernel, ECCV 2010) with a finite slope at 0.
"""
_SOFTENED = 1e-4


class PooledHead(Head):
    """Global pooling, then one linear layer.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        pool: "avg" or "max".
        transform: of pooled features.

    Raises:
        UsageError: no such pooling or transform.
    """

    def __init__(self, features: int, classes: int, pool: Pool = "avg", transform: Transform = "none") -> None:
        super().__init__()
        check_pool(pool)
        if transform not in get_args(Transform):
            raise UsageError(f"transform {transform!r} is not 'none' or 'sqrt'")
        self.pool, self.transform = pool, transform
        self.linear = nn.Linear(features, classes)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The rows of the linear layer."""
        return {"linear.weight": (0,), "linear.bias": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of pooled features."""
        pooled = self.pooled(maps)
        return HeadOutput(self.linear(transformed(pooled, self.transform)), {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The linear layer applied at every place (class activation maps).

        A transform scales each channel by what it does to the pooled channel of this image, so that with average
        pooling the mean of a class map is the logit all the same.
        """
        return nn.functional.conv2d(self._scaled(maps), self.linear.weight[:, :, None, None], self.linear.bias)

    def _scaled(self, maps: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch features h w"]:
        if self.transform == "none":
            return maps
        return maps / torch.sqrt(self.pooled(maps).abs() + _SOFTENED)[:, :, None, None]

    def pooled(self, maps: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch features"]:
        """Pooled features, before any transform."""
        return maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))


def transformed(features: Float[Tensor, "n features"], transform: Transform) -> Float[Tensor, "n features"]:
    """Pooled features as the linear layer reads them."""
    return features / torch.sqrt(features.abs() + _SOFTENED) if transform == "sqrt" else features


def pooled_spec(pool: Pool, transform: Transform) -> HeadSpec:
    """The head by its settings; what earlier releases did not know is left out where it does nothing."""
    return HeadSpec(kind="pooled", settings={"pool": pool, **({} if transform == "none" else {"transform": transform})})
