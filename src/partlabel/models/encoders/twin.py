"""Two backbones of one architecture, side by side."""

import torch
from jaxtyping import Float
from torch import Tensor

from partlabel.models.encoders.base import Backbone, Features


class TwinBackbone(Backbone):
    """Two backbones of one architecture, one for each of two networks; their features side by side, 2·d channels.

    What is frozen they have in common, so `trunk` is computed, and cached, once.

    Args:
        first: backbone of the first network, not wholly frozen.
        second: backbone of the second; frozen parts equal.
    """

    def __init__(self, first: Backbone, second: Backbone) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.spec = first.spec.model_copy(update={"copies": 2})
        self.num_features, self.has_image_vector = first.num_features, first.has_image_vector
        self.freeze, self.train_last = first.freeze, first.train_last
        self.trunk_pool = None

    def trunk(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """The frozen part of both."""
        return self.first.trunk(images)

    def tail(self, trunk_output: Tensor) -> Features:
        """The trainable part of each."""
        first, second = self.first.tail(trunk_output), self.second.tail(trunk_output)
        maps = torch.cat([first.maps, second.maps], dim=1)
        if first.image is None or second.image is None:
            return Features(maps)
        return Features(maps, torch.cat([first.image, second.image], dim=1))

    def trunk_state(self) -> dict[str, Tensor]:
        """Weights and statistics of the frozen part."""
        return self.first.trunk_state()

    def train(self, mode: bool = True) -> "TwinBackbone":
        """Training mode for the trainable parts."""
        super().train(mode and not self.freeze)
        self.first.train(mode)
        self.second.train(mode)
        return self
