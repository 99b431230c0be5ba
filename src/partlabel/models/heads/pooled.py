"""Global pooling, then one linear layer."""

from jaxtyping import Float
from torch import Tensor, nn

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Maps, check_pool


class PooledHead(Head):
    """Global pooling, then one linear layer.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        pool: "avg" or "max".
    """

    def __init__(self, features: int, classes: int, pool: Pool = "avg") -> None:
        super().__init__()
        check_pool(pool)
        self.pool = pool
        self.linear = nn.Linear(features, classes)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The rows of the linear layer."""
        return {"linear.weight": (0,), "linear.bias": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of pooled features."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        return HeadOutput(self.linear(pooled), {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The linear layer applied at every place (class activation maps)."""
        return nn.functional.conv2d(maps, self.linear.weight[:, :, None, None], self.linear.bias)
