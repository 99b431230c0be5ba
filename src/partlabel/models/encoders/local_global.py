"""Local-global convolution (PU-MLC, ICME 2024): every 3 × 3 convolution gains a branch that sees the whole image.

With x [C, h, w] the input of the convolution, r = ReLU(1×1(x)) its reduction to C/4 channels and r̄ the spatial mean of
r, each of 8 heads has

    a = softmax over places of 1×1(r)                 from where it gathers
    v = Σ_p a(p) · (its channels of 1×1(x))(p)        what it gathered
    s = sigmoid of 1×1([r, r̄])                        to where it spreads that
    y = local(x) + BN(1×1(x + v · s))

The last 1 × 1 convolution has the stride of the local one. The scale of BN starts from 0.0001, as the paper has it, or
is drawn from N(0, 0.0001), as its official code has it, and its shift from 0, so that a pretrained network goes on
saying what it said.

Same function, less work than in the paper: the value projection commutes with the weighted sum, as the weights sum to
1, so the sum is taken first and one vector a head is projected in place of every place. The paper takes a from [r, r̄]
too; there r̄ adds the same to every place and cancels.

Where the paper and its code (ResNet-101) are silent, ours: a convolution with fewer than 32 input channels (the one
that sees the image, and the thin ones after it, on the largest maps) stays as it is. Beside a grouped convolution,
depthwise included, the two wide projections are grouped as it is (beside a depthwise one the last, a weight a channel,
is left to the scale of BN) and r has C/16 channels: otherwise the branch would outweigh the block it is in several
times. There 1e-6 stands for 0.0001, with which the logits of a pretrained MobileNetV2 would move by 0.02.
The number of heads is the greatest common divisor of C and 8.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError

HEADS = 8
LEAST_CHANNELS = 32
BranchScale = Literal["constant", "normal"]


class GlobalBranch(nn.Module):
    """What one 3 × 3 convolution gains.

    Args:
        inputs: channels C of its input.
        outputs: channels of its output.
        groups: its groups.
        stride: its stride, vertical and horizontal.
        scale: what the scale of its norm starts from: one number ("constant"), or draws around 0 ("normal").
    """

    def __init__(
        self, inputs: int, outputs: int, groups: int, stride: Sequence[int], scale: BranchScale = "constant"
    ) -> None:
        super().__init__()
        hidden = max(inputs // (4 if groups == 1 else 16), 8)
        self.heads = math.gcd(inputs, HEADS)
        self.stride = tuple(stride)
        self.reduce = nn.Conv2d(inputs, hidden, 1)
        self.gather = nn.Conv2d(hidden, self.heads, 1, bias=False)
        self.spread = nn.Conv2d(hidden, self.heads, 1)
        self.spread_mean = nn.Conv2d(hidden, self.heads, 1, bias=False)
        self.value = nn.Conv2d(inputs, inputs, 1, groups=groups)
        depthwise = groups == inputs == outputs  # one weight a channel would be the scale of the norm over again
        self.output = nn.Identity() if depthwise else nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        small = 1e-4 if groups == 1 else 1e-6
        nn.init.normal_(self.norm.weight, std=small)  # drawn in either case, so that what is drawn later is the same
        if scale == "constant":
            nn.init.constant_(self.norm.weight, small)

    def forward(
        self, maps: Float[Tensor, "batch inputs h w"], size: Sequence[int]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """The branch's part of an output of `size` (rows, columns)."""
        reduced = self.reduce(maps).relu()
        spread = self.spread(reduced) + self.spread_mean(reduced.mean((2, 3), keepdim=True))
        gathered = self.gathered(maps, self.gather(reduced))
        maps, spread = (_at_window_centres(tensor, size, self.stride) for tensor in (maps, spread))
        sent = torch.baddbmm(_by_place(maps), _by_place(spread.sigmoid()), self._own_channels(gathered))
        return self.norm(self.output(sent.transpose(1, 2).view(maps.shape)))  # type: ignore[no-any-return]

    def gathered(
        self, maps: Float[Tensor, "batch inputs h w"], scores: Float[Tensor, "batch heads h w"]
    ) -> Float[Tensor, "batch heads inputs"]:
        """The projected maps, summed over places by the weights of each head: pooled first, projected after."""
        pooled = scores.flatten(2).softmax(2) @ _by_place(maps)
        groups = self.value.groups
        weight, bias = self.value.weight.view(groups, -1, pooled.shape[2] // groups), self.value.bias
        values = torch.einsum("bhgi,goi->bhgo", pooled.view(*pooled.shape[:2], groups, -1), weight).flatten(2)
        return values if bias is None else values + bias

    def _own_channels(self, gathered: Float[Tensor, "batch heads inputs"]) -> Float[Tensor, "batch heads inputs"]:
        """Zero but where a channel belongs to the head."""
        of_channel = torch.arange(gathered.shape[2], device=gathered.device) * self.heads // gathered.shape[2]
        heads = torch.arange(self.heads, device=gathered.device)
        return gathered * (of_channel == heads[:, None])


class LocalGlobalConv(nn.Module):
    """A 3 × 3 convolution, whatever its class, and its global branch.

    Args:
        local_conv: the convolution; it stays as it is.
        scale: see `GlobalBranch`.
    """

    def __init__(self, local_conv: nn.Conv2d, scale: BranchScale = "constant") -> None:
        super().__init__()
        self.local_conv = local_conv
        branch = GlobalBranch(
            local_conv.in_channels, local_conv.out_channels, local_conv.groups, local_conv.stride, scale
        )
        self.global_branch = branch.to(local_conv.weight)

    def forward(self, maps: Float[Tensor, "batch inputs h w"]) -> Float[Tensor, "batch outputs rows columns"]:
        """Local and global part, added."""
        local: Tensor = self.local_conv(maps)
        return local + self.global_branch(maps, local.shape[2:])  # type: ignore[no-any-return]


def add_local_global(network: nn.Module, scale: BranchScale = "constant") -> int:
    """Give every 3 × 3 convolution with at least 32 input channels a global branch, in place.

    Returns:
        How many convolutions were changed.

    Raises:
        UsageError: the network has none.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
        and tuple(module.kernel_size) == (3, 3)
        and module.in_channels >= LEAST_CHANNELS
    }
    if not found:
        raise UsageError(
            f"{type(network).__name__} has no 3 × 3 convolution of at least {LEAST_CHANNELS} input channels to add a "
            f"global branch to; train it without local_global or choose a backbone that has some, such as resnet50"
        )
    for name, module in found.items():
        network.set_submodule(name, LocalGlobalConv(module, scale))
    return len(found)


def branch_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that `add_local_global` added."""
    for module in network.modules():
        if isinstance(module, GlobalBranch):
            yield from module.parameters()


def _by_place(maps: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch places channels"]:
    return maps.flatten(2).transpose(1, 2)


def _at_window_centres(maps: Tensor, size: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Maps at `size` (rows, columns) places a stride apart, in the middle of the image.

    These are where the windows of a convolution with such an output are centred, whatever its padding and dilation, to
    within the one place that an uneven padding leaves open; for the usual paddings they are those of a strided 1 × 1
    convolution.
    """
    spans = [(count - 1) * step + 1 for count, step in zip(size, stride, strict=True)]
    starts = [(length - span) // 2 for length, span in zip(maps.shape[2:], spans, strict=True)]
    margin = max(0, -min(starts))
    if margin:  # windows centred outside the image: a padding wider than the reach of the window
        maps = functional.pad(maps, [margin] * 4, mode="replicate")
    top, left = (start + margin for start in starts)
    return maps[:, :, top : top + spans[0] : stride[0], left : left + spans[1] : stride[1]]
