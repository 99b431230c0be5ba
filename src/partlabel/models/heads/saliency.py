"""Class maps whose largest values count extra."""

from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Logits, Maps


class SaliencyHead(Head):
    """Class maps by a 1 × 1 convolution; logit = mean of the map + alpha × mean of its k largest values.

    Source: saliency regularization (ICCV 2023), the probability p̂ = σ(a + alpha·s).

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        alpha: weight of the saliency term; 0 leaves plain average pooling. Paper: 0.5.
        k: number of places, or, below 1, fraction of the places (at least one); all of them where a map has fewer.
            Paper: 5.
    """

    scales = MappingProxyType({"heat": "unit"})

    def __init__(self, features: int, classes: int, alpha: float = 0.5, k: int | float = 5) -> None:
        super().__init__()
        if k <= 0:
            raise UsageError(f"k is a number of places or a fraction of them and must be positive, not {k}")
        self.alpha, self.k = alpha, k
        self.classifier = nn.Conv2d(features, classes, 1)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The rows of the linear layer."""
        return {"classifier.weight": (0,), "classifier.bias": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Saliency logits, with the plain average logits under `plain`."""
        class_maps = self.class_maps(maps)
        plain = class_maps.mean((2, 3))
        return HeadOutput(saliency_logits(class_maps, self.alpha, self.k), {"plain": plain})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """Class maps, C of them."""
        return self.classifier(maps)  # type: ignore[no-any-return]

    def other_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> dict[str, Maps]:
        """`heat`: M_c = ReLU(A_c) / max ReLU(A_c) of the class maps A_c (eq. 1)."""
        return {"heat": heat_maps(self.class_maps(maps))}


def heat_maps(class_maps: Maps) -> Maps:
    """What is positive of each class map, divided by its largest value; 0 everywhere where nothing is positive."""
    positive = class_maps.clamp(min=0)
    largest = positive.amax((2, 3), keepdim=True)
    return positive / torch.where(largest > 0, largest, torch.ones_like(largest))


def saliency_logits(class_maps: Maps, alpha: float, k: int | float) -> Logits:
    """Mean of each class map plus alpha times the mean of its k largest values (k < 1: a fraction of the places)."""
    places = class_maps.flatten(2)
    mean = places.mean(2)
    if alpha == 0:
        return mean
    count = min(max(round(k * places.shape[2]) if k < 1 else int(k), 1), places.shape[2])
    return mean + alpha * torch.topk(places, count, dim=2, sorted=False).values.mean(2)
