"""LoRA (Hu et al., Low-Rank Adaptation of Large Language Models, 2022): trained changes of low rank to frozen weights.

A weight W, flattened to a matrix [rows, columns] (of a convolution: outputs × all else), is used as W + alpha/rank · up
· down, with up [rows, rank] from zero, so that training starts from the pretrained function. The weight itself is
re-parametrized, so that any layer works that reads its weight. Dropout is on the input of the change alone; as a layer
has one input for the sum, what dropout takes away from the change is added to its output.

Which weights are changed (`Targets`), never one whose matrix has a side of less than twice the rank (depthwise 3 × 3
ones at rank 8), where a change would hardly be of low rank:

- "all": every linear layer and convolution that leads to the features, but for the one that sees the image.
- "residual": convolutions of the last three stages, without those of shortcuts: the 90 of ResNet-101 that the official
  code of CSL lists, at rank 8, alpha 32 and dropout 0.01. It also lists the four projections of the attention pooling,
  but these are read there as weights and not called, so that their change most likely never acts.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from partlabel.errors import UsageError
from partlabel.models.encoders.cut import children_before_pooling, stage_modules

N = TypeVar("N", bound=nn.Module)
Targets = Literal["all", "residual"]

_STAGES = 3
"""How many of the last stages "residual" changes."""
_SHORTCUTS = {"shortcut", "downsample"}
"""What timm calls the branches of a residual block that have no other layer."""


class LowRankChange(nn.Module):
    """From a frozen weight to the weight in use.

    Args:
        weight: the frozen weight, for its shape.
        rank: rank of the change.
        alpha: the change is scaled by alpha / rank.
        dropout: share of the input that the change does not see in training.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        rows, columns = _matrix_shape(weight)
        self.scale, self.dropout = alpha / rank, dropout
        self.down = nn.Parameter(weight.new_empty(rank, columns))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as the reference code, and as torch's linear layers

    def forward(self, weight: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *rest"]:
        """The weight, changed."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)

    def of(self, layer: nn.Module, given: Tensor) -> Tensor:
        """What the change alone adds to a layer's output: down, then up, which takes little beside the layer itself."""
        if isinstance(layer, nn.Conv2d):
            kernels = self.down.view(-1, *layer.weight.shape[1:])
            low = functional.conv2d(given, kernels, None, layer.stride, layer.padding, layer.dilation)
            return self.scale * functional.conv2d(low, self.up[:, :, None, None])
        return self.scale * functional.linear(functional.linear(given, self.down), self.up)


def add_lora(
    network: nn.Module,
    rank: int,
    alpha: float,
    *,
    targets: Targets = "all",
    dropout: float = 0.0,
    behind: Sequence[nn.Module] = (),
) -> int:
    """Freeze a timm network and give its weights trainable changes of low rank, in place.

    Args:
        network: the network; the function it computes stays the same.
        rank: rank of each change.
        alpha: each change is scaled by alpha / rank.
        targets: which weights.
        dropout: share of its input that a change does not see in training.
        behind: layers behind the maps that the features depend on too (`TimmBackbone.joint_layers`), for "all".

    Returns:
        How many weights got one.

    Raises:
        UsageError: no weight qualifies, or dropout cannot be had for one that does.
    """
    found = _residual(network) if targets == "residual" else _all(network, behind)
    layers = [layer for layer in found if _is_low(rank, layer.weight)]
    if not layers:
        what = "convolution in its last stages" if targets == "residual" else "weight"
        raise UsageError(
            f"{type(network).__name__} has no {what} of twice the rank {rank}, so that a change would not be of low "
            f"rank; choose a smaller lora_rank or another backbone"
        )
    if dropout and (odd := next((layer for layer in layers if not _takes_dropout(layer)), None)) is not None:
        raise UsageError(
            f"lora_dropout is for linear layers and for convolutions without groups, and {type(network).__name__} has "
            f"another {type(odd).__name__}; leave lora_dropout out"
        )
    network.requires_grad_(False)
    for layer in layers:
        change = LowRankChange(layer.weight, rank, alpha, dropout)
        parametrize.register_parametrization(layer, "weight", change)
        if dropout:
            layer.register_forward_hook(_drop)
    return len(layers)


def _all(network: nn.Module, behind: Sequence[nn.Module]) -> Iterator[nn.Linear | nn.Conv2d]:
    for child in (*children_before_pooling(network).values(), *behind):
        for module in child.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)) and not _sees_the_image(module):
                yield module


def _residual(network: nn.Module) -> Iterator[nn.Conv2d]:
    stages = stage_modules(network)
    last = [name for name, module in network.named_modules() if module in stages][-_STAGES:]
    for stage in last:
        for name, module in network.get_submodule(stage).named_modules():
            if isinstance(module, nn.Conv2d) and not _SHORTCUTS & set(name.split(".")):
                yield module


def _drop(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: the change sees its input after dropout."""
    change = layer.parametrizations["weight"][-1]  # type: ignore[index]
    assert isinstance(change, LowRankChange)
    if not change.training:
        return output
    return output + change.of(layer, functional.dropout(arguments[0], change.dropout) - arguments[0])


def _takes_dropout(layer: nn.Module) -> bool:
    """Whether its output is a plain product with the weight; timm has convolutions that pad or scale by themselves."""
    plain = type(layer).forward in {nn.Linear.forward, nn.Conv2d.forward}
    return plain and getattr(layer, "groups", 1) == 1 and getattr(layer, "padding_mode", "zeros") == "zeros"


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
        for key in [key for key, hook in module._forward_hooks.items() if hook is _drop]:
            del module._forward_hooks[key]
        module.register_parameter("weight", nn.Parameter(weight))
    return network


def _matrix_shape(weight: Tensor) -> tuple[int, int]:
    return weight.shape[0], weight[0].numel()


def _is_low(rank: int, weight: Tensor) -> bool:
    return 2 * rank <= min(_matrix_shape(weight))


def _sees_the_image(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.in_channels == 3
