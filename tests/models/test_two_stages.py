"""Features of the last two stages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partlabel.errors import StagesError, UsageError
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.timm_maps import TimmBackbone
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger

FAMILIES = [
    ("test_resnet", "layer3", 64),
    ("test_convnext", "stages.2", 64),
    ("mobilenetv2_100", "blocks.5", 64),
    ("swin_tiny_patch4_window7_224", "layers.2", 224),
    ("test_vit", "blocks.4", 160),
]


def _images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def _one(architecture: str, size: int, stages: int, *, freeze: bool = True) -> TimmBackbone:
    torch.manual_seed(0)
    return create_backbone(architecture, pretrained=False, size=size, freeze=freeze, stages=stages).eval()


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "before", "size"), FAMILIES)
def test_those_of_the_stage_before_stand_behind_those_of_the_last(architecture: str, before: str, size: int) -> None:
    one, two = _one(architecture, size, 1), _one(architecture, size, 2)
    kept: list[Tensor] = []
    hook = dict(two.network.named_modules())[before].register_forward_hook(
        lambda module, arguments, output: kept.append(output)
    )
    with torch.no_grad():
        maps, last = two.trunk(_images(size)), one.trunk(_images(size))
    hook.remove()
    assert two.stage_features == (one.num_features, two.num_features - one.num_features)
    torch.testing.assert_close(maps[:, : one.num_features], last)
    assert maps.shape[2:] == last.shape[2:]
    inner = kept[0]
    if inner.ndim == 3:
        inner = inner[:, 1:].transpose(1, 2).unflatten(2, last.shape[2:])
    elif inner.shape[1] != two.stage_features[1]:
        inner = inner.permute(0, 3, 1, 2)
    if "swin" not in architecture:  # whose next stage begins by merging places
        assert inner.shape[1] == two.stage_features[1]
        torch.testing.assert_close(maps[:, one.num_features :].mean((2, 3)), inner.mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["coat_tiny", "xcit_nano_12_p16_224"])
def test_a_network_whose_last_stage_does_not_receive_maps_is_refused(architecture: str) -> None:
    with pytest.raises(StagesError, match="leave stages at 1"):
        _one(architecture, 224, 2)


@pytest.mark.slow
def test_channels_are_found_where_a_family_does_not_say_where_they_are() -> None:
    assert _one("volo_d1_224", 224, 2).stage_features == (384, 384)


def test_trained_or_frozen_pooled_or_not_they_are_the_same() -> None:
    frozen, pooled, trained = (
        _one("test_resnet", 64, 2),
        _one("test_resnet", 64, 2),
        _one("test_resnet", 64, 2, freeze=False),
    )
    pooled.trunk_pool = "avg"
    with torch.no_grad():
        maps = frozen(_images(64)).maps
        torch.testing.assert_close(trained(_images(64)).maps, maps)
        torch.testing.assert_close(pooled.trunk(_images(64))[:, :, 0, 0], maps.mean((2, 3)))


def test_gradients_reach_both_stages() -> None:
    backbone = _one("test_resnet", 64, 2, freeze=False)
    own = backbone.stage_features[0]
    backbone(_images(64)).maps[:, own:].sum().backward()
    stages = dict(backbone.network.named_children())
    gradients = {
        name: sum(float(p.grad.abs().sum()) for p in stages[name].parameters() if p.grad is not None)
        for name in ("layer3", "layer4")
    }
    assert gradients["layer3"] > 0
    assert gradients["layer4"] == 0


def test_a_bundle_gives_the_same_logits(tmp_path: Path) -> None:
    tagger = Tagger(_one("test_resnet", 64, 2), HeadSpec(), ("a", "b")).eval()
    info = BundleInfo(backbone=tagger.backbone.spec, head=tagger.head_spec, classes=tagger.classes, method="bce")
    save_bundle(tmp_path, tagger, info)
    again, read = load_bundle(tmp_path)
    assert read.backbone.stages == 2
    with torch.no_grad():
        torch.testing.assert_close(again(_images(64)).logits, tagger(_images(64)).logits)


@pytest.mark.parametrize("more", [{"freeze": True, "train_last": 1}, {"train_parts": "last_stage"}])
def test_with_a_network_that_is_cut_elsewhere_it_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="stages=2 takes features from inside a network"):
        create_backbone("test_resnet", pretrained=False, size=64, stages=2, **more)  # type: ignore[arg-type]


def test_a_network_without_known_stages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partlabel.models.encoders.timm_maps.modules_after_cut", lambda network, stages: [])
    with pytest.raises(UsageError, match="the last stage of backbone test_resnet is not known; leave stages at 1"):
        _one("test_resnet", 64, 2)


def test_class_maps_sum_to_the_logit() -> None:
    tagger = Tagger(_one("test_resnet", 64, 2), HeadSpec(), ("a", "b")).eval()
    with torch.no_grad():
        maps, logits = tagger.class_maps(_images(64)), tagger(_images(64)).logits
    np.testing.assert_allclose(maps.mean((2, 3)).numpy(), logits.numpy(), rtol=1e-4, atol=1e-5)


def test_hooks_are_gone() -> None:
    backbone = _one("test_resnet", 64, 2)
    backbone(_images(64))
    assert not any(module._forward_pre_hooks for module in backbone.modules() if isinstance(module, nn.Module))
