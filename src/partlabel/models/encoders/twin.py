"""Two backbones of one architecture, side by side."""

import torch
from jaxtyping import Float
from torch import Tensor

from partlabel.models.encoders.base import Backbone


class TwinBackbone(Backbone):
    """Two backbones of one architecture, one for each of two networks; their maps side by side, `[B, 2·d, h, w]`.

    What is frozen they have in common, so `trunk` is computed, and cached, once.

    Args:
        first: backbone of the first network, not wholly frozen.
        second: backbone of the second; frozen parts equal.
    """

    def __init__(self, first: Backbone, second: Backbone) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.spec = first.spec.model_copy(update={"copies": 2})
        self.num_features = first.num_features
        self.freeze, self.train_last = first.freeze, first.train_last
        self.trunk_pool = None

    def trunk(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """The frozen part of both."""
        return self.first.trunk(images)

    def tail(self, trunk_output: Tensor) -> Float[Tensor, "batch features h w"]:
        """The trainable part of each."""
        return torch.cat([self.first.tail(trunk_output), self.second.tail(trunk_output)], dim=1)

    def trunk_state(self) -> dict[str, Tensor]:
        """Weights and statistics of the frozen part."""
        return self.first.trunk_state()

    def train(self, mode: bool = True) -> "TwinBackbone":
        """Training mode for the trainable parts."""
        super().train(mode and not self.freeze)
        self.first.train(mode)
        self.second.train(mode)
        return self
