"""The local-global convolution against explicit loops, and its surgery on real networks."""

import math
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from timm.layers import Conv2dSame, ScaledStdConv2dSame, StdConv2d
from torch import nn

from partlabel.errors import UsageError
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone, rebuild_backbone
from partlabel.models.encoders.local_global import GlobalBranch, LocalGlobalConv, add_local_global, branch_parameters
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger

Array = NDArray[np.float64]


def _added(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in branch_parameters(network))


def _projected(conv: nn.Conv2d, vector: Array) -> Array:
    """A 1 × 1 convolution of one place, group by group."""
    weight = conv.weight.detach().numpy()[:, :, 0, 0]
    outputs, width = weight.shape
    result = np.zeros(outputs) if conv.bias is None else conv.bias.detach().numpy().copy()
    for output in range(outputs):
        first = output // (outputs // conv.groups) * width
        for position in range(width):
            result[output] += weight[output, position] * vector[first + position]
    return result


def _naive(branch: GlobalBranch, maps: Array, places: list[tuple[int, int]], from_mean: Array) -> Array:
    """One image by the paper: both attentions from the concatenation with the mean, the value projected at every place.

    `from_mean` [heads, hidden] are the weights by which the paper's aggregation reads the mean.
    """
    channels, height, width = maps.shape
    grid = [(y, x) for y in range(height) for x in range(width)]
    reduced = {place: np.maximum(_projected(branch.reduce, maps[:, place[0], place[1]]), 0) for place in grid}
    mean = sum(reduced.values()) / len(grid)
    scores = {place: _projected(branch.gather, reduced[place]) + from_mean @ mean for place in grid}
    spread = {place: _projected(branch.spread, reduced[place]) + _projected(branch.spread_mean, mean) for place in grid}
    values = {place: _projected(branch.value, maps[:, place[0], place[1]]) for place in grid}
    gathered = np.zeros(channels)
    of_head = channels // branch.heads
    for channel in range(channels):
        head = channel // of_head
        total = sum(math.exp(scores[place][head]) for place in grid)
        for place in grid:
            gathered[channel] += math.exp(scores[place][head]) / total * values[place][channel]
    norm = branch.norm
    shift = norm.running_mean.numpy()  # type: ignore[union-attr]
    scale = norm.weight.detach().numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)  # type: ignore[union-attr]
    result = []
    for place in places:
        sent = [gathered[c] / (1 + math.exp(-spread[place][c // of_head])) for c in range(channels)]
        out = maps[:, place[0], place[1]] + np.asarray(sent)
        out = _projected(branch.output, out) if isinstance(branch.output, nn.Conv2d) else out
        result.append((out - shift) * scale + norm.bias.detach().numpy())
    return np.stack(result, 1)


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "stride"),
    [(32, 6, 1, 1), (48, 5, 1, 2), (40, 80, 8, 2), (32, 32, 32, 1), (36, 72, 36, 2)],
)
def test_the_branch_is_what_the_paper_says(inputs: int, outputs: int, groups: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups).double()
    changed = LocalGlobalConv(conv).eval()
    branch = changed.global_branch
    assert branch.heads == (4 if inputs == 36 else 8)
    nn.init.normal_(branch.norm.weight)
    nn.init.normal_(branch.norm.bias)
    branch.norm.running_mean.normal_()  # type: ignore[union-attr]
    branch.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    maps = torch.randn(2, inputs, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        added = (changed(maps) - conv(maps)).numpy()
    places = [(y, x) for y in range(0, 5, stride) for x in range(0, 4, stride)]
    from_mean = np.random.default_rng(0).normal(size=(branch.heads, branch.reduce.out_channels))
    for image in range(2):
        expected = _naive(branch, maps[image].numpy(), places, from_mean)
        np.testing.assert_allclose(added[image].reshape(outputs, -1), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [(7, 7), (8, 8), (9, 12), (14, 5)])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(32, 8, 3, 1, 1),
        nn.Conv2d(32, 8, 3, 2, 1),
        nn.Conv2d(32, 8, 3, 3, 1),
        nn.Conv2d(32, 8, 3, (1, 2), 1),
        nn.Conv2d(32, 8, 3, 1, 0),
        nn.Conv2d(32, 8, 3, 2, 0),
        nn.Conv2d(32, 8, 3, 1, 2),
        nn.Conv2d(32, 8, 3, 2, 3),
        nn.Conv2d(32, 8, 3, 1, 2, dilation=2),
        nn.Conv2d(32, 8, 3, 2, 4, dilation=4),
        nn.Conv2d(32, 8, 3, padding="same"),
        nn.Conv2d(32, 8, 3, padding="valid"),
        Conv2dSame(32, 8, 3, 2),
        StdConv2d(32, 8, 3, 2, 1),
        ScaledStdConv2dSame(32, 8, 3, 2, padding="same"),
    ],
    ids=repr,
)
def test_the_branch_is_as_large_as_the_convolution_and_centred_on_it(conv: nn.Conv2d, size: tuple[int, int]) -> None:
    """Where the input holds its own coordinates, a 1 × 1 convolution that passes them on tells which places the branch
    took.
    """
    changed = LocalGlobalConv(conv).eval()
    branch = changed.global_branch
    assert changed(torch.randn(1, 32, *size)).shape == conv(torch.randn(1, 32, *size)).shape
    maps = torch.zeros(1, 32, *size)
    maps[0, 0], maps[0, 1] = torch.meshgrid(torch.arange(size[0]) * 1.0, torch.arange(size[1]) * 1.0, indexing="ij")
    for parameter in branch.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(branch.norm.weight)
    assert isinstance(branch.output, nn.Conv2d)
    with torch.no_grad():
        branch.output.weight[0, 0] = branch.output.weight[1, 1] = 1
        rows, columns = branch(maps, conv(maps).shape[2:])[0, :2]
        middle = torch.zeros_like(
            conv.weight
        )  # what the same convolution passes on if only the middle of its window counts
        middle[0, 0, 1, 1] = middle[1, 1, 1, 1] = 1
        top, left = _padding(conv, size)
        padded = nn.functional.pad(maps, (left, 99, top, 99), mode="replicate")
        seen = nn.functional.conv2d(padded, middle, stride=conv.stride, dilation=conv.dilation)[0, :2]
    uneven = 1 if "Same" in type(conv).__name__ or conv.stride[0] > 2 else 0
    for found, expected in zip((rows, columns), seen[:, : rows.shape[0], : rows.shape[1]], strict=True):
        assert (found - expected).abs().max() <= uneven + 0.01


def _padding(conv: nn.Conv2d, size: tuple[int, int]) -> list[int]:
    """Padding above and to the left."""
    if isinstance(conv.padding, str):
        return [conv.dilation[0] if conv.padding == "same" else 0] * 2
    if "Same" in type(conv).__name__:
        return [max((math.ceil(n / 2) - 1) * 2 + 3 - n, 0) // 2 for n in size]
    return [int(number) for number in conv.padding]


def _calibrated(name: str, size: int) -> nn.Module:
    """A network with random weights and batch norms that fit them, as pretrained ones do."""
    network: nn.Module = timm.create_model(name, num_classes=10)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        norm.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(8, 3, size, size))
    return network.eval()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("resnet18", 16),
        ("test_resnet", 7),
        ("mobilenetv2_050", 16),
        ("tf_efficientnet_b0", 7),
        ("regnetx_002", 12),
        ("resnext26ts", 9),
        ("test_nfnet", 4),
        ("repvgg_a0", 21),
    ],
)
def test_a_network_goes_on_saying_what_it_said(name: str, changed: int) -> None:
    torch.manual_seed(0)
    network = _calibrated(name, 64)
    images = torch.randn(2, 3, 64, 64)
    before = {key: id(tensor) for key, tensor in network.named_parameters()}
    with torch.no_grad():
        said = network(images)
        assert add_local_global(network) == changed
        says = network.eval()(images)
    assert not says.equal(said)
    assert (says - said).abs().max() < 1e-3
    after = {key.replace(".local_conv.", "."): id(tensor) for key, tensor in network.named_parameters()}
    assert before.items() <= after.items()  # the very parameters of the network, none replaced


def test_every_parameter_of_the_branches_learns() -> None:
    torch.manual_seed(0)
    for groups in (1, 64):
        changed = LocalGlobalConv(nn.Conv2d(64, 64, 3, 2, 1, groups=groups))
        changed(torch.randn(4, 64, 6, 6)).square().sum().backward()
        silent = [name for name, parameter in changed.named_parameters() if not parameter.grad.abs().sum() > 0]  # type: ignore
        assert not silent


def test_what_is_left_as_it_is() -> None:
    network = timm.create_model("mobilenetv2_050", num_classes=0)
    add_local_global(network)
    thin = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and m.in_channels < 32]
    assert [conv.in_channels for conv in thin] == [3, 16]
    assert not any(conv is changed.local_conv for conv in thin for changed in network.modules() if _changed(changed))
    assert all(changed.local_conv.in_channels >= 32 for changed in network.modules() if _changed(changed))
    for name in ("convnext_atto", "test_vit"):
        with pytest.raises(UsageError, match=r"has no 3 × 3 convolution of at least 32 input channels"):
            create_backbone(name, pretrained=False, local_global=True)


def _changed(module: nn.Module) -> bool:
    return isinstance(module, LocalGlobalConv)


def test_how_many_parameters_are_added() -> None:
    """Counted by hand: reduction, two attentions and the mean's part, value, output, scale and shift."""

    def dense(inputs: int, outputs: int) -> int:
        hidden = inputs // 4
        return (inputs + 1) * hidden + 8 * (3 * hidden + 1) + (inputs + 1) * inputs + inputs * outputs + 2 * outputs

    network = timm.create_model("resnet18", num_classes=0)
    plain = sum(parameter.numel() for parameter in network.parameters())
    add_local_global(network)
    widths = [(64, 64, 4), (64, 128, 1), (128, 128, 3), (128, 256, 1), (256, 256, 3), (256, 512, 1), (512, 512, 3)]
    assert _added(network) == sum(number * dense(a, b) for a, b, number in widths)
    assert sum(parameter.numel() for parameter in network.parameters()) == plain + _added(network)

    depthwise = LocalGlobalConv(nn.Conv2d(160, 160, 3, groups=160))
    assert _added(depthwise) == 161 * 10 + 8 * (3 * 10 + 1) + 2 * 160 + 2 * 160


def test_bundle_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, local_global=True)
    tagger = Tagger(backbone, HeadSpec(), ("a", "b")).eval()
    for module in backbone.modules():
        if isinstance(module, GlobalBranch):
            nn.init.normal_(module.norm.weight)
    info = BundleInfo(backbone=backbone.spec, head=tagger.head_spec, classes=tagger.classes, method="bce")
    save_bundle(tmp_path, tagger, info)
    again, said = load_bundle(tmp_path)
    assert said.backbone.local_global
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(image).logits, tagger(image).logits, rtol=0, atol=0)
    with pytest.raises(UsageError, match="branches that have to be trained"):
        rebuild_backbone(backbone.spec, freeze=True)
