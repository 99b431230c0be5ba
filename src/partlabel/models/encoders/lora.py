"""LoRA (Hu et al., Low-Rank Adaptation of Large Language Models, 2022): trained changes of low rank to frozen weights.

A weight W, flattened to a matrix [rows, columns] (of a convolution: outputs × all else), is used as W + alpha/rank · up
· down, with up [rows, rank] from zero, so that training starts from the pretrained function. The weight itself is
re-parametrized: any layer works that reads its weight, and as no activation lies between the factors there is no
dropout on it.

CSL's CLIP recipe: rank 8, alpha 32, on the convolutions of stages 2 to 4 and the projections of the attention pooling.
Here: every linear layer and convolution that leads to the maps, but for the one that sees the image and for those whose
matrix has a side of less than twice the rank (depthwise 3 × 3 ones at rank 8), where a change would hardly be of low
rank. The attention pooling is not used, and so not changed.
"""

import math
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from partlabel.errors import UsageError
from partlabel.models.encoders.cut import children_before_pooling

N = TypeVar("N", bound=nn.Module)


class LowRankChange(nn.Module):
    """From a frozen weight to the weight in use.

    Args:
        weight: the frozen weight, for its shape.
        rank: rank of the change.
        alpha: the change is scaled by alpha / rank.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = _matrix_shape(weight)
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as the reference code, and as torch's linear layers

    def forward(self, weight: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *rest"]:
        """The weight, changed."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def add_lora(network: nn.Module, rank: int, alpha: float) -> int:
    """Freeze a timm network and give its weights trainable changes of low rank, in place.

    Args:
        network: the network; the function it computes stays the same.
        rank: rank of each change.
        alpha: each change is scaled by alpha / rank.

    Returns:
        How many weights got one.

    Raises:
        UsageError: no weight qualifies.
    """
    layers = [
        module
        for child in children_before_pooling(network).values()
        for module in child.modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) and not _sees_the_image(module) and _is_low(rank, module.weight)
    ]
    if not layers:
        raise UsageError(
            f"{type(network).__name__} has no weight of twice the rank {rank}, so that a change would not be of low "
            f"rank; choose a smaller lora_rank or another backbone"
        )
    network.requires_grad_(False)
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", LowRankChange(layer.weight, rank, alpha))
    return len(layers)


def merge_lora(network: N) -> N:
    """Turn weights with a low-rank change into plain weights, in place; a network without any stays as it is.

    What the network shares with a copy of it (its moving average: frozen weights, and the classes that torch makes for
    re-parametrized layers) is not touched; torch's `remove_parametrizations` would write into both.
    """
    for module in network.modules():
        if not parametrize.is_parametrized(module, "weight"):
            continue
        if not isinstance(module.parametrizations["weight"][-1], LowRankChange):  # type: ignore[index]
            continue
        weight: Tensor = module.weight.detach().clone()  # type: ignore[operator]
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
        module.register_parameter("weight", nn.Parameter(weight))
    return network


def _matrix_shape(weight: Tensor) -> tuple[int, int]:
    return weight.shape[0], weight[0].numel()


def _is_low(rank: int, weight: Tensor) -> bool:
    return 2 * rank <= min(_matrix_shape(weight))


def _sees_the_image(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == 3
