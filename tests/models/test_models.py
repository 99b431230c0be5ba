"""Backbones of every layout, cuts, heads and bundles."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from partlabel.errors import RunError, UsageError
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.timm_maps import TimmBackbone
from partlabel.models.heads import HeadSpec, build_head
from partlabel.models.heads.saliency import heat_maps
from partlabel.models.tagger import Tagger


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_resnet", 64),
        ("test_vit", 160),
        ("test_convnext", 64),
        ("test_efficientnet", 64),
        ("swin_tiny_patch4_window7_224", 224),
    ],
)
def test_maps_of_every_layout(name: str, size: int) -> None:
    """[B, d, h, w], [B, tokens, d] and [B, h, w, d] all become maps whose mean is timm's own average pooling."""
    torch.manual_seed(0)
    backbone = create_backbone(name, pretrained=False, size=size).eval()
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        maps = backbone(image).maps
        features = backbone.network.forward_features(image)  # type: ignore[operator]
    assert maps.shape[:2] == (2, backbone.num_features)
    if features.ndim == 3:
        tokens = features[:, backbone.network.num_prefix_tokens :]  # type: ignore[misc]
        torch.testing.assert_close(maps.flatten(2).transpose(1, 2), tokens)
    else:
        channels_last = features.shape[-1] == backbone.num_features
        torch.testing.assert_close(maps, features.permute(0, 3, 1, 2) if channels_last else features)


@pytest.mark.parametrize(
    ("name", "size", "model_args"),
    [
        ("test_resnet", 32, {}),
        ("test_convnext", 32, {}),
        ("test_vit3", 160, {"global_pool": "map"}),
        ("mobilenetv3_small_050", 32, {}),
        ("selecsls42b", 32, {}),
    ],
)
def test_what_is_trained_are_the_parameters_that_maps_depend_on(
    name: str, size: int, model_args: dict[str, str]
) -> None:
    """Several processes wait for the gradient of everything that is trained."""
    backbone = create_backbone(name, pretrained=False, size=size, model_args=model_args).train()
    backbone(torch.randn(2, 3, size, size)).maps.sum().backward()
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "resnet18"])
def test_a_cut_gives_what_the_whole_gives(name: str) -> None:
    torch.manual_seed(0)
    size = 160 if name == "test_vit" else 64
    whole = create_backbone(name, pretrained=False, size=size)
    cut = TimmBackbone(whole.spec, whole.network, freeze=True, train_last=1)
    image = torch.randn(2, 3, size, size)
    cut.train()
    assert not whole.network.training
    trained = [n for n, p in cut.named_parameters() if p.requires_grad]
    assert 0 < len(trained) < len(list(cut.parameters()))
    cut.eval()
    with torch.no_grad():
        direct = cut._maps(cut.network.forward_features(image))  # type: ignore[operator]
        torch.testing.assert_close(cut(image).maps, direct, rtol=1e-4, atol=1e-5)
    frozen_before = {n: t.clone() for n, t in cut.trunk_state().items()}
    cut.train()
    optimizer = torch.optim.SGD([p for p in cut.parameters() if p.requires_grad], lr=0.1)
    cut(image).maps.square().mean().backward()
    optimizer.step()
    assert all(t.equal(frozen_before[n]) for n, t in cut.trunk_state().items())
    changed = [n for n, t in cut.state_dict().items() if n not in frozen_before]
    assert set(trained) <= set(changed)


def test_networks_that_cannot_be_cut_or_found_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be cut before its last 9 stage"):
        create_backbone("test_resnet", pretrained=False, size=64, freeze=True, train_last=9)
    with pytest.raises(UsageError, match="needs freeze"):
        create_backbone("test_resnet", pretrained=False, size=64, train_last=1)
    with pytest.raises(UsageError, match=r"no backbone 'resnet18x' in timm; similar names: .*resnet18"):
        create_backbone("resnet18x", pretrained=False)
    with pytest.raises(UsageError, match=r"has no config\.json"):
        create_backbone(f"local-dir:{tmp_path}")


def test_pretrained_weights_from_a_local_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=7)
    timm.models.save_for_hf(network, tmp_path, model_config={"num_classes": 7}, safe_serialization=True)
    backbone = create_backbone(f"local-dir:{tmp_path}", size=64)
    assert backbone.spec.architecture == "test_resnet"
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(image).maps, network.eval().forward_features(image))


def test_heat_maps_by_explicit_loops() -> None:
    class_maps = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    class_maps[1, 2] = -class_maps[1, 2].abs()
    found = heat_maps(class_maps)
    for image in range(2):
        for c in range(3):
            positive = [[max(value, 0.0) for value in row] for row in class_maps[image, c].tolist()]
            largest = max(max(row) for row in positive)
            expected = [[value / largest if largest else 0.0 for value in row] for row in positive]
            assert found[image, c].tolist() == expected


def test_heads_and_class_maps_agree() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 3, 4)
    for spec in (HeadSpec(settings={"pool": "avg"}), HeadSpec(kind="saliency", settings={"alpha": 0.0})):
        head = build_head(spec, 5, 3)
        torch.testing.assert_close(head(maps).logits, head.class_maps(maps).mean((2, 3)))
    head = build_head(HeadSpec(kind="saliency", settings={"alpha": 0.5, "k": 2}), 5, 3)
    places = head.class_maps(maps).flatten(2).detach().numpy()
    expected = [[m.mean() + 0.5 * np.sort(m)[-2:].mean() for m in image] for image in places]
    np.testing.assert_allclose(head(maps).logits.detach().numpy(), expected, rtol=1e-5)
    with pytest.raises(UsageError, match="no head 'x'"):
        build_head(HeadSpec(kind="x"), 5, 3)
    with pytest.raises(UsageError, match="does not take these settings"):
        build_head(HeadSpec(settings={"alpha": 1}), 5, 3)


def test_bundle_round_trip_and_refusals(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=64)
    tagger = Tagger(backbone, HeadSpec(kind="saliency", settings={"alpha": 0.5, "k": 5}), ("a", "b")).eval()
    info = BundleInfo(
        backbone=backbone.spec, head=tagger.head_spec, classes=tagger.classes, method="saliency", thresholds=(0.5, 1)
    )
    save_bundle(tmp_path, tagger, info)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "model.safetensors"}
    again, said = load_bundle(tmp_path)
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(image).logits, tagger(image).logits, rtol=0, atol=0)
    assert said.classes == ("a", "b")
    assert said.thresholds == (0.5, 1.0)

    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "format": 99}))
    with pytest.raises(RunError, match="newer than this release reads"):
        load_bundle(tmp_path)
    (tmp_path / "model.json").write_text(json.dumps({**description, "weights_sha256": "0"}))
    with pytest.raises(RunError, match=r"not the ones model\.json describes"):
        load_bundle(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read"):
        load_bundle(tmp_path)
    with pytest.raises(RunError, match="holds no model bundle"):
        load_bundle(tmp_path / "nothing")


def test_a_bundle_of_the_first_release_loads() -> None:
    """The promise that later releases keep: this folder was written by format 1 and must go on loading."""
    golden = Path(__file__).parent.parent / "golden" / "bundle_format_1"
    tagger, info = load_bundle(golden)
    image = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        logits = tagger(image).logits[0]
    np.testing.assert_allclose(logits.numpy(), json.loads((golden / "expected.json").read_text()), atol=1e-4)
    assert info.classes == ("red", "green", "blue")
