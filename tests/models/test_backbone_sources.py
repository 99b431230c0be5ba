"""What of timm becomes a backbone and what is refused, before anything is made: layouts, sizes, arguments, weights."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from partlabel.errors import UsageError
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.architecture import check_architecture
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.cut import cut_before_last_stages
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("name", "size", "side"), [("coat_lite_tiny", 64, 2), ("levit_128s", 96, 2)])
def test_lists_of_tokens_and_networks_made_for_one_size(name: str, size: int, side: int) -> None:
    """The last of several maps, without its class token; the network is built for the size."""
    backbone = create_backbone(name, pretrained=False, size=size).eval()
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        maps = backbone(image).maps
        features = backbone.network.forward_features(image)  # type: ignore[operator]
    tokens = features[-1] if isinstance(features, list) else features
    assert maps.shape[2:] == (side, side)
    for row in range(side):
        for column in range(side):
            place = tokens.shape[1] - side * side + row * side + column
            torch.testing.assert_close(maps[0, :, row, column], tokens[0, place])


def test_a_network_that_uses_a_layer_at_several_places_is_shipped(tmp_path: Path) -> None:
    tagger = Tagger(create_backbone("coat_lite_tiny", pretrained=False, size=64), HeadSpec(), ("a", "b")).eval()
    info = BundleInfo(backbone=tagger.backbone.spec, head=tagger.head_spec, classes=tagger.classes, method="bce")
    save_bundle(tmp_path, tagger, info)
    loaded, _ = load_bundle(tmp_path)
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(image).logits, tagger(image).logits)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("crossvit_tiny_240", None, "no square maps"),
        ("efficientformer_l1", 96, "does not take images of 96 × 96 pixels.*its own size is 224"),
        ("pit_ti_224", None, "no square maps"),
        ("resnet18", 100_000, "size 100000 is not a number of pixels from 1 to 4096"),
    ],
)
def test_what_gives_no_maps_is_refused_by_a_sentence(name: str, size: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_backbone(name, pretrained=False, size=size)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("resnet50_clip", "stages.3"),
        ("repvgg_a0", "stages.3"),
        ("resnext26ts", "stages.3"),
        ("gernet_s", "stages.3"),
        ("mobilevit_xxs", "stages.4"),
        ("densenet121", "features.transition3"),
        ("resnet18", "layer4"),
        ("mobilenetv2_035", "blocks.6"),
    ],
)
def test_the_last_stage_is_the_one_of_the_last_resolution(name: str, first: str) -> None:
    """Also where timm names the maps that come out behind it in its place."""
    network = timm.create_model(name, pretrained=False, num_classes=0)
    cut = cut_before_last_stages(network, 1, 64)
    assert cut.modules[0] is network.get_submodule(first)


@pytest.mark.parametrize(
    "arguments",
    [
        {"checkpoint_path": "weights.pth"},
        {"pretrained_cfg": {"file": "x"}},
        {"features_only": True},
        {"img_size": 10**9},
        {"img_size": "64"},
        {"img_size": [64] * 9},
        {"depth": -1},
        {"depth": True},
        {"drop_rate": float("nan")},
        {"global_pool": "a b"},
        {"in_chans": 4},
        {"qkv_bias": 1},
    ],
)
def test_arguments_off_the_list_or_out_of_range(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(arguments))):
        check_architecture("test_vit", arguments)
    check_architecture("test_vit.r160_in1k", {"img_size": (64, 64), "drop_rate": 0, "in_chans": 3, "depth": None})


@pytest.mark.parametrize(
    "name", ["hf-hub:timm/resnet18", "local-dir:/tmp", "../resnet18", "resnet18\n", "", "http://x"]
)
def test_a_source_is_no_architecture(name: str) -> None:
    with pytest.raises(UsageError, match="no backbone"):
        check_architecture(name, {})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network = timm.create_model("test_resnet", num_classes=7)
    timm.models.save_for_hf(network, tmp_path, model_config={"num_classes": 7}, safe_serialization=True)
    (tmp_path / "pytorch_model.bin").unlink(missing_ok=True)
    return tmp_path


def _refused(folder: Path, words: str) -> None:
    start = time.perf_counter()
    with pytest.raises(UsageError, match=words) as raised:
        create_backbone(f"local-dir:{folder}")
    assert "\n" not in str(raised.value)
    assert "network" not in str(raised.value).replace("description of a network", "")
    assert time.perf_counter() - start < 20


def test_damaged_folders_of_weights_name_the_file_and_the_cause(weights: Path) -> None:
    path, config = weights / "model.safetensors", weights / "config.json"
    whole, described = path.read_bytes(), config.read_text()
    path.write_bytes(whole[:-100])
    _refused(weights, r"model\.safetensors are damaged")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    _refused(weights, r"model\.safetensors is a Git LFS pointer.*git lfs pull")
    path.unlink()
    _refused(weights, r"holds no weights: model\.safetensors is missing")
    os.mkfifo(path)
    _refused(weights, "is not a file that can be read")
    path.unlink()
    path.write_bytes(whole)
    config.write_text(json.dumps({**json.loads(described), "architecture": "test_vit"}))
    _refused(weights, "weights do not load")
    config.write_text(json.dumps({**json.loads(described), "model_args": {"checkpoint_path": str(path)}}))
    _refused(weights, "'checkpoint_path' is not an argument that is taken")
    config.write_text("[" * 100_000)
    _refused(weights, r"config\.json cannot be read")
    config.write_text("[]")
    _refused(weights, r"config\.json is not a description")


def test_weights_that_are_not_here_are_told_at_once() -> None:
    """Asked for once; a download would try again for a minute."""
    for name in ("resnet18", "hf-hub:timm/resnet18.a1_in1k"):
        start = time.perf_counter()
        with pytest.raises(UsageError, match="not in the local cache and cannot be fetched"):
            create_backbone(name)
        assert time.perf_counter() - start < 10
    nowhere = next(name for name in timm.list_models() if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(UsageError, match="no pretrained weights"):
        create_backbone(nowhere)
