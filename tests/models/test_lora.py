"""Low-rank changes: what they compute, what they train, and that merging them changes nothing."""

import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrize

from partlabel.errors import UsageError
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
