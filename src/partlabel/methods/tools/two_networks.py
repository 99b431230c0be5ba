"""What the methods share that train two networks side by side."""

from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor

from partlabel.methods.base import Context, Method, Outputs, PooledConfig
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.twin import Network


class TwoNetworksConfig(PooledConfig):
    """Settings of every method with two networks."""

    reported: Network = "mean"
    """Which network tags images; `evaluate` judges all three. Papers: either, both, or not said."""


_Config = TypeVar("_Config", bound=TwoNetworksConfig)


class TwoNetworks(Method[_Config]):
    """Two networks of one architecture with different first weights, seeing the same mini-batches.

    Where the backbone is trained each has its own; a frozen one is shared, and the networks are two heads.
    """

    learns_from_unknown = True
    networks = 2

    @classmethod
    def head(cls, config: _Config, context: Context) -> HeadSpec:
        """Two heads of the kind that the settings name."""
        return HeadSpec(kind="twin", settings={"head": config.spec.model_dump(), "report": config.reported})

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits of the `first` and the `second` network, and the reported ones."""
        output = self.tagger(views["weak"])
        return {"logits": output.logits, **output.extra}
