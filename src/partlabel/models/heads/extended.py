"""The linear head of a finished model, with rows for classes that came later."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import HeadOutput, ImageVector, Maps
from partlabel.models.heads.pooled import PooledHead, Transform, transformed


class ExtendedHead(PooledHead):
    """Pooling and a linear layer, and a row of its own for each class that was added.

    The rows stand apart from the layer, and each is multiplied by itself: the products of a larger matrix are summed in
    another order, so that the logits of the other classes would differ in their last bits.

    Args:
        features: channels d of the maps.
        classes: number of classes C, the added ones last.
        added: how many of them were added, at least 1.
        pool: "avg" or "max".
        transform: of pooled features.
    """

    def __init__(
        self, features: int, classes: int, *, added: int = 1, pool: Pool = "avg", transform: Transform = "none"
    ) -> None:
        super().__init__(features, classes - added, pool, transform)
        self.added = nn.Linear(features, added)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """None: no parameter has all classes along an axis, and no training starts from this head."""
        return {}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of pooled features."""
        pooled = self.pooled(maps)
        features = transformed(pooled, self.transform)
        rows = zip(torch.split(self.added.weight, 1), torch.split(self.added.bias, 1), strict=True)
        added = [nn.functional.linear(features, weight, bias) for weight, bias in rows]
        return HeadOutput(torch.cat([self.linear(features), *added], dim=1), {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The rows applied at every place, as of `PooledHead`."""
        scaled = self._scaled(maps)
        added = nn.functional.conv2d(scaled, self.added.weight[:, :, None, None], self.added.bias)
        return torch.cat([super().class_maps(maps, image), added], dim=1)
