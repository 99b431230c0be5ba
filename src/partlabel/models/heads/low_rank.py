"""Images and classes in one space of few dimensions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Maps, check_pool


class LowRankHead(Head):
    """Head of WSABIE (Weston et al., IJCAI 2011): logits = W V f, with pooled features f, a map V of images and a row
    of W for each class in a space of `rank` dimensions; no constants.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        rank: dimensions of the space.
        pool: "avg" or "max".
    """

    def __init__(self, features: int, classes: int, *, rank: int = 100, pool: Pool = "avg") -> None:
        super().__init__()
        check_pool(pool)
        self.pool = pool
        self.images = nn.Linear(features, rank, bias=False)
        self.labels = nn.Parameter(torch.randn(classes, rank) / rank**0.5)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The vectors of classes by row."""
        return {"labels": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of pooled features."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        return HeadOutput(self.images(pooled) @ self.labels.T, {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The same at every place."""
        return torch.einsum("bdhw,cd->bchw", maps, self.labels @ self.images.weight)
