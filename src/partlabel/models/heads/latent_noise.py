"""What is seen, and what is said of it."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Logits, Maps, check_pool

_FIRST = 2.0


class LatentNoiseHead(Head):
    """Head of Misra et al. (CVPR 2016): p(said) = p(said | seen)·p(seen) + p(said | not seen)·(1 - p(seen)), the three
    by a linear layer each of the pooled features.

    At first p(said | seen) is σ(2) and p(said | not seen) is σ(-2) for every image (ours): with equal ones nothing
    could be learned of what is seen.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        tag_by: whether logits are those of "visual" p(seen) or of "relevance" p(said).
        pool: "avg" or "max".
    """

    def __init__(
        self, features: int, classes: int, *, tag_by: Literal["visual", "relevance"] = "visual", pool: Pool = "avg"
    ) -> None:
        super().__init__()
        check_pool(pool)
        self.pool, self.tag_by = pool, tag_by
        self.linear = nn.Linear(features, classes)
        self.said_if_seen = nn.Linear(features, classes)
        self.said_if_not = nn.Linear(features, classes)
        for layer, start in ((self.said_if_seen, _FIRST), (self.said_if_not, -_FIRST)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, start)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """The rows of the linear layers."""
        layers = ("linear", "said_if_seen", "said_if_not")
        return {f"{layer}.{name}": (0,) for layer in layers for name in ("weight", "bias")}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of what is seen or of what is said, as `tag_by` names it, and `said`, the logits of what is said."""
        pooled = maps.mean((2, 3)) if self.pool == "avg" else maps.amax((2, 3))
        seen = self.linear(pooled)
        said = reported(seen, self.said_if_seen(pooled), self.said_if_not(pooled))
        return HeadOutput(seen if self.tag_by == "visual" else said, {"said": said})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """The layer of what is seen, applied at every place."""
        return functional.conv2d(maps, self.linear.weight[:, :, None, None], self.linear.bias)


def reported(seen: Logits, if_seen: Logits, if_not: Logits) -> Logits:
    """Logit of p(said) from the logits of p(seen), p(said | seen) and p(said | not seen), without leaving log space."""
    sure = functional.logsigmoid
    said = torch.logaddexp(sure(if_seen) + sure(seen), sure(if_not) + sure(-seen))
    not_said = torch.logaddexp(sure(-if_seen) + sure(seen), sure(-if_not) + sure(-seen))
    return said - not_said
