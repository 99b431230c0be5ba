"""Low-rank changes: what they compute, what they train, and that merging them changes nothing."""

import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrize

from partlabel.errors import UsageError
from partlabel.models.encoders.base import JointSpace
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.lora import LowRankChange, add_lora, merge_lora
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger
from partlabel.training.ema import MovingAverage


def _with_lora(name: str, size: int, rank: int = 4) -> Tagger:
    """A tagger whose changes are not zero any more, nor are the scales that some families start from zero."""
    torch.manual_seed(0)
    backbone = create_backbone(name, pretrained=False, size=size)
    for parameter in backbone.parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)
    add_lora(backbone.network, rank, 8.0)
    for module in backbone.modules():
        if isinstance(module, LowRankChange):
            nn.init.normal_(module.up, std=0.02)
    return Tagger(backbone, HeadSpec(), ("a", "b", "c"))


@pytest.mark.parametrize("layer", [nn.Linear(6, 5), nn.Conv2d(6, 5, 3), nn.Conv2d(6, 4, 3, groups=2)])
def test_the_weight_in_use(layer: nn.Linear | nn.Conv2d) -> None:
    torch.manual_seed(0)
    change = LowRankChange(layer.weight, rank=2, alpha=6.0)
    assert change(layer.weight).equal(layer.weight)
    nn.init.normal_(change.up)
    weight, up, down = (tensor.detach().double().numpy() for tensor in (layer.weight, change.up, change.down))
    flat = weight.reshape(len(weight), -1).copy()
    for row in range(flat.shape[0]):
        for column in range(flat.shape[1]):
            for r in range(2):
                flat[row, column] += 6.0 / 2 * up[row, r] * down[r, column]
    np.testing.assert_allclose(change(layer.weight).detach().numpy(), flat.reshape(weight.shape), atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_nfnet"])
def test_training_starts_from_the_same_function(name: str) -> None:
    torch.manual_seed(0)
    size = 160 if name == "test_vit" else 64
    network = timm.create_model(name, num_classes=0).eval()
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        said = network.forward_features(image)
        add_lora(network, 4, 32.0)
        assert network.forward_features(image).equal(said)


def test_which_weights_are_changed() -> None:
    """Of the 20 convolutions of resnet18 one sees the image. What follows the maps is left, as are thin weights."""
    assert add_lora(timm.create_model("resnet18", num_classes=5), 8, 32.0) == 19
    network = timm.create_model("mobilenetv3_small_050", num_classes=5)
    add_lora(network, 8, 32.0)
    changed = {name for name, module in network.named_modules() if parametrize.is_parametrized(module)}
    assert {"blocks.1.1.conv_pw", "blocks.4.0.conv_dw"} <= changed  # 56 × 16; 144 × 25, a depthwise 5 × 5
    assert not changed & {"conv_stem", "conv_head", "classifier", "blocks.1.1.conv_dw"}  # the last: 56 × 9
    with pytest.raises(UsageError, match=r"no weight of twice the rank 2048"):
        add_lora(timm.create_model("test_resnet", num_classes=0), 2048, 32.0)


def _changed(network: nn.Module) -> set[str]:
    return {name for name, module in network.named_modules() if parametrize.is_parametrized(module)}


def test_residual_targets_are_those_of_the_last_three_stages(clip_tower: str) -> None:
    """Of 1, 2, 3 and 2 blocks of three convolutions and a shortcut each stage; not the attention pooling."""
    backbone = create_backbone(clip_tower, pretrained=False, joint_space="projected")
    assert add_lora(backbone.network, 2, 8.0, targets="residual", behind=backbone.joint_layers) == 3 * (2 + 3 + 2)
    layers = ("conv1_1x1", "conv2_kxk", "conv3_1x1")
    blocks = {1: 2, 2: 3, 3: 2}
    assert _changed(backbone.network) == {
        f"stages.{stage}.{block}.{layer}.conv" for stage in blocks for block in range(blocks[stage]) for layer in layers
    }
    with pytest.raises(UsageError, match="no convolution in its last stages of twice the rank 2"):
        add_lora(timm.create_model("test_vit", num_classes=0), 2, 8.0, targets="residual")


@pytest.mark.parametrize(("how", "behind"), [("projected", {"v", "proj"}), ("attended", {"q", "k", "v", "proj"})])
def test_all_targets_hold_the_layers_of_the_joint_space(clip_tower: str, how: JointSpace, behind: set[str]) -> None:
    backbone = create_backbone(clip_tower, pretrained=False, joint_space=how)
    add_lora(backbone.network, 2, 8.0, behind=backbone.joint_layers)
    changed = _changed(backbone.network)
    assert {name.removeprefix("head.") for name in changed if name.startswith("head.")} == behind
    assert {"stem.conv2.conv", "stages.1.0.shortcut.conv.conv"} <= changed
    assert "stem.conv1.conv" not in changed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet101_clip", "resnet101"])
def test_residual_targets_of_resnet101_are_the_90_of_the_official_code(name: str) -> None:
    """4, 23 and 3 blocks of three; 8 · (inputs · kernel + outputs) numbers each."""
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
        assert add_lora(network, 8, 32.0, targets="residual") == 90
    numbers, before = 0, 256
    for blocks, inner in ((4, 128), (23, 256), (3, 512)):
        for _ in range(blocks):
            numbers += 8 * (before + inner) + 8 * (9 * inner + inner) + 8 * (inner + 4 * inner)
            before = 4 * inner
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == numbers


@pytest.mark.parametrize(
    "layer", [nn.Linear(6, 5), nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.Conv2d(6, 5, 1, bias=False)]
)
def test_dropout_takes_inputs_from_the_change_alone(layer: nn.Linear | nn.Conv2d) -> None:
    torch.manual_seed(0)
    given = torch.randn(2, 6, 7, 7) if isinstance(layer, nn.Conv2d) else torch.randn(2, 6)
    network = nn.Sequential(layer)
    plain = copy.deepcopy(layer)
    assert add_lora(network, 2, 6.0, dropout=0.4) == 1
    change = layer.parametrizations.weight[-1]  # type: ignore[union-attr, index]
    nn.init.normal_(change.up)
    other = copy.deepcopy(plain)
    with torch.no_grad():
        other.weight.copy_(3 * (change.up @ change.down).view_as(other.weight))
        if other.bias is not None:
            other.bias.zero_()
        torch.manual_seed(1)
        kept = nn.functional.dropout(given, 0.4)
        assert (kept == 0).any()
        for one in (network, copy.deepcopy(network)):
            torch.manual_seed(1)
            torch.testing.assert_close(one.train()(given), plain(given) + other(kept))
            torch.testing.assert_close(one.eval()(given), plain(given) + other(given))
        merged = merge_lora(network).train()
        torch.testing.assert_close(merged(given), plain(given) + other(given))
    assert not merged[0]._forward_hooks


@pytest.mark.parametrize("name", ["resnext26ts", "tf_efficientnet_b0", "test_nfnet"])
def test_dropout_is_refused_where_outputs_are_no_plain_products(name: str) -> None:
    network = timm.create_model(name, num_classes=0)
    with pytest.raises(UsageError, match="lora_dropout is for linear layers"):
        add_lora(network, 2, 8.0, dropout=0.1)
    assert not _changed(network)


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_norms_of_a_changed_network_use_either_statistics(clip_tower: str, statistics: str) -> None:
    """Their scale and shift stay frozen in both; those of the batch move the running ones."""
    torch.manual_seed(0)
    backbone = create_backbone(clip_tower, pretrained=False)
    add_lora(backbone.network, 2, 8.0)
    backbone.batch_statistics = statistics == "batch"
    norms = [module for module in backbone.train().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.training == (statistics == "batch") and not norm.weight.requires_grad for norm in norms)
    before = [norm.running_mean.clone() for norm in norms if norm.running_mean is not None]
    images = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        trained = backbone(images).maps
        after = [norm.running_mean for norm in norms if norm.running_mean is not None]
        assert any(not one.equal(other) for one, other in zip(before, after, strict=True)) == (statistics == "batch")
        assert trained.allclose(backbone.eval()(images).maps) == (statistics == "running")
    assert not any(norm.training for norm in norms)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_only_the_changes_and_the_head_train(name: str) -> None:
    size = 160 if name == "test_vit" else 64
    tagger = _with_lora(name, size).train()
    before = {key: tensor.clone() for key, tensor in tagger.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in tagger.parameters() if p.requires_grad], lr=0.1)
    tagger(torch.randn(4, 3, size, size)).logits.square().sum().backward()
    optimizer.step()
    moved = {key for key, tensor in tagger.state_dict().items() if not tensor.equal(before[key])}
    factors = {key for key in before if key.endswith((".down", ".up"))}
    assert moved == factors | {key for key in before if key.startswith("head.")}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_nfnet"])
def test_merged_weights_say_the_same_in_a_plain_network(name: str) -> None:
    size = 160 if name == "test_vit" else 64
    tagger = _with_lora(name, size).eval()
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        said = tagger(image).logits
        merged = merge_lora(copy.deepcopy(tagger))
        assert not any(parametrize.is_parametrized(module) for module in merged.modules())
        plain = create_backbone(name, pretrained=False, size=size)
        assert merged.backbone.state_dict().keys() == plain.state_dict().keys()
        plain.load_state_dict(merged.backbone.state_dict())
        says = tagger.head(*plain.eval()(image)).logits
    torch.testing.assert_close(says, said, rtol=0, atol=1e-5)
    assert merge_lora(merged) is merged


def test_a_moving_average_shares_what_is_frozen_and_is_merged_alone() -> None:
    tagger = _with_lora("test_resnet", 64).train()
    average = MovingAverage(tagger, 0.5)
    own = {id(parameter) for parameter in tagger.parameters()}
    shared = [name for name, parameter in average.network.named_parameters() if id(parameter) in own]
    assert shared == [name for name, parameter in tagger.named_parameters() if not parameter.requires_grad]
    factors = {name: tensor.clone() for name, tensor in tagger.state_dict().items() if name.endswith(".up")}
    with torch.no_grad():
        for name, parameter in tagger.named_parameters():
            if name.endswith(".up"):
                parameter.add_(1)
    average.update(tagger)
    decay = 2 / 11  # (1 + 1) / (10 + 1)
    for name, tensor in average.network.state_dict().items():
        if name.endswith(".up"):
            torch.testing.assert_close(tensor, factors[name] + (1 - decay))

    image = torch.randn(2, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in tagger.state_dict().items()}
    with torch.no_grad():
        said = average.network.eval()(image).logits
        torch.testing.assert_close(merge_lora(average.network)(image).logits, said, rtol=0, atol=1e-5)
    assert all(tensor.equal(before[name]) for name, tensor in tagger.state_dict().items())
    tagger.load_state_dict(before)
    tagger(image).logits.sum().backward()
    merge_lora(tagger)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [("resnet50_clip", 64), ("resnet50_clip_gap", 64), ("vit_xsmall_patch16_clip_224", 64)]
)
def test_clip_towers_give_maps_and_learn(name: str, size: int) -> None:
    """The towers of CLIP: maps before the attention pooling, of any size; one step changes the logits."""
    torch.manual_seed(0)
    backbone = create_backbone(name, pretrained=False, size=size)
    add_lora(backbone.network, 8, 32.0)
    tagger = Tagger(backbone, HeadSpec(), ("a",)).train()
    image = torch.randn(2, 3, size, size)
    side = {"resnet50_clip": 2, "resnet50_clip_gap": 2, "vit_xsmall_patch16_clip_224": 4}[name]
    assert backbone(image).maps.shape == (2, backbone.num_features, side, side)
    optimizer = torch.optim.SGD([p for p in tagger.parameters() if p.requires_grad], lr=0.1)
    with torch.no_grad():
        before = tagger.eval()(image).logits
    tagger.train()(image).logits.square().sum().backward()
    optimizer.step()
    with torch.no_grad():
        assert not tagger.eval()(image).logits.allclose(before)
    unused = [p for n, p in backbone.network.named_parameters() if n.startswith("head.") and p.requires_grad]
    assert not unused


@pytest.mark.slow
def test_weights_of_clip_at_another_size(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The attention pooling, whose weights are made for one size, is not used and must not stand in the way of
    another.
    """
    folder = tmp_path_factory.mktemp("clip")
    network = timm.create_model("resnet50_clip", num_classes=5)
    timm.models.save_for_hf(network, folder, model_config={"num_classes": 5}, safe_serialization=True)
    backbone = create_backbone(f"local-dir:{folder}", size=96).eval()
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(image).maps, network.eval().forward_features(image))
