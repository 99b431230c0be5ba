"""Heads: feature maps to logits, and to class maps where a picture is to be explained."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from partlabel.errors import UsageError
from partlabel.models.backbone import Pool

Maps = Float[Tensor, "batch classes h w"]
Logits = Float[Tensor, "batch classes"]


class HeadSpec(BaseModel):
    """Kind of head, a key of `HEADS`, and its settings: enough to build it again from a bundle."""

    model_config = ConfigDict(frozen=True)

    kind: str = "pooled"
    settings: dict[str, Any] = {}


class HeadOutput(NamedTuple):
    """Logits `[B, C]`, by which the picture is tagged, and named further tensors that an objective may want."""

    logits: Logits
    extra: dict[str, Tensor]


class PooledHead(nn.Module):
    """Global pooling, then one linear layer.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        pool: "avg" or "max".
    """

    def __init__(self, features: int, classes: int, pool: Pool = "avg") -> None:
        super().__init__()
        if pool not in {"avg", "max"}:
            raise UsageError(f"pool {pool!r} is not 'avg' or 'max'")
        self.pool = pool
        self.linear = nn.Linear(features, classes)

    def forward(self, maps: Float[Tensor, "batch features h w"]) -> HeadOutput:
        """Logits of pooled features."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        return HeadOutput(self.linear(pooled), {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"]) -> Maps:
        """The linear layer applied at every place (class activation maps)."""
        return nn.functional.conv2d(maps, self.linear.weight[:, :, None, None], self.linear.bias)


class SaliencyHead(nn.Module):
    """Class maps by a 1 × 1 convolution; logit = mean of the map + alpha × mean of its k largest values.

    Source: saliency regularization (ICCV 2023), the probability p̂ = σ(a + alpha·s).

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        alpha: weight of the saliency term; 0 leaves plain average pooling. Paper: 0.5.
        k: number of places, or, below 1, fraction of the places (at least one). Paper: 5 (of 196 places).
    """

    def __init__(self, features: int, classes: int, alpha: float = 0.5, k: int | float = 5) -> None:
        super().__init__()
        if k <= 0:
            raise UsageError(f"k is a number of places or a fraction of them and must be positive, not {k}")
        self.alpha, self.k = alpha, k
        self.classifier = nn.Conv2d(features, classes, 1)

    def forward(self, maps: Float[Tensor, "batch features h w"]) -> HeadOutput:
        """Saliency logits, with the plain average logits under `plain`."""
        class_maps = self.class_maps(maps)
        plain = class_maps.mean((2, 3))
        return HeadOutput(saliency_logits(class_maps, self.alpha, self.k), {"plain": plain})

    def class_maps(self, maps: Float[Tensor, "batch features h w"]) -> Maps:
        """Class maps, C of them."""
        return self.classifier(maps)  # type: ignore[no-any-return]


def saliency_logits(class_maps: Maps, alpha: float, k: int | float) -> Logits:
    """Mean of each class map plus alpha times the mean of its k largest values (k < 1: a fraction of the places)."""
    places = class_maps.flatten(2)
    mean = places.mean(2)
    if alpha == 0:
        return mean
    count = min(max(round(k * places.shape[2]) if k < 1 else int(k), 1), places.shape[2])
    return mean + alpha * torch.topk(places, count, dim=2, sorted=False).values.mean(2)


HEADS: dict[str, type[PooledHead] | type[SaliencyHead]] = {"pooled": PooledHead, "saliency": SaliencyHead}


def build_head(spec: HeadSpec, features: int, classes: int) -> PooledHead | SaliencyHead:
    """Build a head from its spec.

    Raises:
        UsageError: unknown kind or setting.
    """
    if spec.kind not in HEADS:
        raise UsageError(f"no head {spec.kind!r}; heads are {', '.join(HEADS)}")
    try:
        return HEADS[spec.kind](features, classes, **spec.settings)
    except TypeError as error:
        raise UsageError(f"head {spec.kind!r} does not take these settings: {error}") from error
