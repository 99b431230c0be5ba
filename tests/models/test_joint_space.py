"""Maps in CLIP's joint space: every token by explicit loops, whatever the size, the mode and the split."""

import math
from pathlib import Path

import pytest
import timm
import torch
from timm.layers.attention_pool2d import AttentionPool2d
from torch import Tensor, nn

from partlabel.errors import RunError, UsageError
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.base import BackboneSpec, JointSpace
from partlabel.models.encoders.build import create_backbone, rebuild_backbone
from partlabel.models.encoders.joint_space import AttentionProjection, joint_tokens, projection_of, split_tokens
from partlabel.models.encoders.timm_maps import TimmBackbone
from partlabel.models.encoders.twin import TwinBackbone
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger

MODES: list[JointSpace] = ["projected", "plain", "attended"]


def _pooling(*, fused: bool = False, class_token: bool = False) -> AttentionPool2d:
    """Nothing at zero: 8 channels in 2 heads, made for 2 × 3 places, 5 channels in the joint space."""
    torch.manual_seed(0)
    pooling = AttentionPool2d(
        8, feat_size=(2, 3), out_features=5, num_heads=2, qkv_separate=not fused, class_token=class_token
    )
    for parameter in pooling.parameters():
        nn.init.normal_(parameter, std=0.7)
    return pooling.double().eval()


def _cubic(x: float) -> float:
    """Keys' kernel with -3/4, as bicubic interpolation without anti-aliasing has it."""
    a, x = -0.75, abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def _resized(codes: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Codes `[h·w, d]` of an old grid at the centres of the cells of a new one; beyond the border its last cells."""
    out = torch.zeros(new[0] * new[1], codes.shape[1], dtype=codes.dtype)
    for y in range(new[0]):
        for x in range(new[1]):
            at_y, at_x = (y + 0.5) * old[0] / new[0] - 0.5, (x + 0.5) * old[1] / new[1] - 0.5
            for row in range(math.floor(at_y) - 1, math.floor(at_y) + 3):
                for column in range(math.floor(at_x) - 1, math.floor(at_x) + 3):
                    inside = min(max(row, 0), old[0] - 1) * old[1] + min(max(column, 0), old[1] - 1)
                    out[y * new[1] + x] += _cubic(at_y - row) * _cubic(at_x - column) * codes[inside]
    return out


def _naive(pooling: AttentionPool2d, maps: Tensor, how: JointSpace) -> tuple[Tensor, Tensor]:
    """Maps and image vectors, a token at a time."""
    state = {name: value.detach() for name, value in pooling.state_dict().items()}
    if "qkv.weight" in state:
        for place, part in enumerate("qkv"):
            state[f"{part}.weight"] = state["qkv.weight"][8 * place : 8 * place + 8]
            state[f"{part}.bias"] = state["qkv.bias"][8 * place : 8 * place + 8]
    height, width = maps.shape[2:]
    codes = [state["pos_embed"][0], *_resized(state["pos_embed"][1:], (2, 3), (height, width))]
    out_maps, out_images = torch.zeros(len(maps), 5, height, width, dtype=maps.dtype), []
    for number, image in enumerate(maps):
        places = [image[:, y, x] for y in range(height) for x in range(width)]
        first = state["cls_token"][0] if "cls_token" in state else sum(places) / len(places)
        tokens = [first, *places]
        if how != "plain":
            tokens = [token + code for token, code in zip(tokens, codes, strict=True)]
        query, key, value = ([state[f"{p}.weight"] @ t + state[f"{p}.bias"] for t in tokens] for p in "qkv")
        mixed = list(value)
        if how == "attended":
            for here in range(len(tokens)):
                heads = []
                for part in (slice(0, 4), slice(4, 8)):
                    weights = [math.exp(float(query[here][part] @ other[part]) / 2) for other in key]
                    heads.append(sum(w * v[part] for w, v in zip(weights, value, strict=True)) / sum(weights))
                mixed[here] = torch.cat(heads)
        joint = [state["proj.weight"] @ one + state["proj.bias"] for one in mixed]
        joint = [one / math.sqrt(float((one * one).sum())) for one in joint]
        out_images.append(joint[0])
        for place, one in enumerate(joint[1:]):
            out_maps[number, :, place // width, place % width] = one
    return out_maps, torch.stack(out_images)


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("size", [(2, 3), (3, 4), (5, 2), (1, 1)], ids=str)
def test_tokens_by_explicit_loops(size: tuple[int, int], how: JointSpace) -> None:
    pooling = _pooling()
    maps = torch.randn(2, 8, *size, dtype=torch.float64)
    found = split_tokens(joint_tokens(AttentionProjection(pooling), maps, maps, how), size)
    expected, images = _naive(pooling, maps, how)
    tolerance = {"rtol": 0, "atol": 1e-12 if size == (2, 3) else 1e-6}  # timm resizes codes in single precision
    torch.testing.assert_close(found.maps, expected, **tolerance)
    torch.testing.assert_close(found.image, images, **tolerance)


@pytest.mark.parametrize("how", MODES)
def test_one_layer_for_queries_keys_and_values_and_a_class_token(how: JointSpace) -> None:
    pooling = _pooling(fused=True, class_token=True)
    maps = torch.randn(1, 8, 2, 3, dtype=torch.float64)
    found = split_tokens(joint_tokens(AttentionProjection(pooling), maps, maps, how), (2, 3))
    expected, images = _naive(pooling, maps, how)
    torch.testing.assert_close(found.maps, expected)
    torch.testing.assert_close(found.image, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "joint", "side"),
    [("resnet101_clip", 448, 512, 14), ("resnet101_clip", 224, 512, 7), ("resnet50x4_clip", 288, 640, 9)],
)
def test_shapes_of_published_towers(name: str, size: int, joint: int, side: int) -> None:
    """Without weights and memory: the width of the joint space, and places of 32 pixels each."""
    described = {"size": size, "mean": (0, 0, 0), "std": (1, 1, 1), "joint_space": "projected", "joint_features": joint}
    with torch.device("meta"):
        backbone = rebuild_backbone(BackboneSpec(architecture=name, **described)).eval()
        features = backbone(torch.empty(2, 3, size, size))
    assert features.maps.shape == (2, joint, side, side)
    assert features.image is not None
    assert features.image.shape == (2, joint)
    assert timm.get_pretrained_cfg(name).num_classes == joint


def test_places_that_are_no_square_are_not_guessed() -> None:
    with pytest.raises(UsageError, match="6 places are no square map"):
        split_tokens(torch.zeros(1, 5, 7))


def test_the_image_vector_of_attention_is_what_the_network_itself_gives(clip_tower: str) -> None:
    """At its own size timm's forward pass is the joint vector, before it is brought to length 1."""
    torch.manual_seed(0)
    backbone = create_backbone(clip_tower, pretrained=False, joint_space="attended").double().eval()
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        features, own = backbone(image), backbone.network(image)
    assert features.maps.shape == (2, 12, 2, 2)
    torch.testing.assert_close(features.image, own / own.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("how", MODES)
@pytest.mark.parametrize("options", [{}, {"freeze": True}, {"freeze": True, "train_last": 1}], ids=str)
def test_features_are_the_same_however_they_are_split(
    clip_tower: str, how: JointSpace, options: dict[str, int | bool]
) -> None:
    """Trunk and tail together give the tokens of the network's last maps, at a size that it was not made for."""
    torch.manual_seed(0)
    backbone = create_backbone(clip_tower, pretrained=False, size=96, joint_space=how, **options)  # type: ignore[arg-type]
    backbone.eval()
    image = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        maps = backbone.network.forward_features(image)  # type: ignore[operator]
        expected = split_tokens(joint_tokens(projection_of(backbone.network), maps, maps, how), (3, 3))
        found = backbone.tail(backbone.trunk(image))
    assert backbone.has_image_vector
    assert backbone.num_features == backbone.spec.joint_features == 12
    torch.testing.assert_close(found.maps, expected.maps)
    torch.testing.assert_close(found.image, expected.image)


def test_a_head_that_pools_finds_the_pooled_maps(clip_tower: str) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(clip_tower, pretrained=False, joint_space="projected", freeze=True)
    tagger = Tagger(backbone, HeadSpec(), ("a", "b")).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits = tagger(image).logits
        tagger.use_trunk_output()
        pooled = backbone.trunk(image)
        assert pooled.shape == (2, 12, 1, 1)
        torch.testing.assert_close(tagger(pooled).logits, logits)


@pytest.mark.parametrize("how", MODES)
def test_what_is_trained_are_the_parameters_that_the_tokens_depend_on(clip_tower: str, how: JointSpace) -> None:
    """Several processes wait for the gradient of all that is trained: no queries and keys of mere projections."""
    torch.manual_seed(0)
    backbone = create_backbone(clip_tower, pretrained=False, joint_space=how).train()
    features = backbone(torch.randn(2, 3, 64, 64))
    weights = torch.randn_like(features.maps)
    ((features.maps * weights).sum() + features.image[:, 0].sum()).backward()  # type: ignore[index]
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    layers = {name.split(".")[2] for name in trained if name.startswith("network.head.")}
    assert (
        layers == {"v", "proj"} | {"projected": {"pos_embed"}, "plain": set(), "attended": {"pos_embed", "q", "k"}}[how]
    )


def test_the_last_stage_is_trained_with_the_projections_behind_it(clip_tower: str) -> None:
    torch.manual_seed(0)
    whole = create_backbone(clip_tower, pretrained=False, joint_space="projected")
    cut = TimmBackbone(whole.spec, whole.network, freeze=True, train_last=1).train()
    trained = {name for name, parameter in cut.named_parameters() if parameter.requires_grad}
    parts = {".".join(name.split(".")[1:3]) for name in trained}
    assert parts == {"stages.3", "head.v", "head.proj", "head.pos_embed"}
    before = {name: tensor.clone() for name, tensor in cut.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in cut.parameters() if p.requires_grad], lr=0.1)
    features = cut(torch.randn(2, 3, 64, 64))
    (features.maps * torch.randn_like(features.maps)).sum().backward()
    optimizer.step()
    moved = {name for name, tensor in cut.state_dict().items() if not tensor.equal(before[name])}
    assert {"network.head.v.weight", "network.head.proj.bias", "network.head.pos_embed"} <= moved
    assert any(name.startswith("network.stages.3.") for name in moved)
    assert not moved & cut.trunk_state().keys()


def test_two_networks_have_two_image_vectors(clip_tower: str) -> None:
    torch.manual_seed(0)
    one, other = (create_backbone(clip_tower, pretrained=False, joint_space="projected") for _ in range(2))
    twin = TwinBackbone(one, other).eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        both, first, second = twin(image), one.eval()(image), other.eval()(image)
    assert twin.has_image_vector
    torch.testing.assert_close(both.maps, torch.cat([first.maps, second.maps], 1))
    torch.testing.assert_close(both.image, torch.cat([first.image, second.image], 1))  # type: ignore[list-item]


@pytest.mark.parametrize("how", MODES)
def test_bundles_keep_the_joint_space(clip_tower: str, how: JointSpace, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(clip_tower, pretrained=False, size=96, joint_space=how)
    tagger = Tagger(backbone, HeadSpec(), ("a", "b")).eval()
    info = BundleInfo(backbone=backbone.spec, head=tagger.head_spec, classes=tagger.classes, method="bce")
    save_bundle(tmp_path, tagger, info)
    loaded, said = load_bundle(tmp_path)
    assert said.backbone.joint_space == how
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert loaded(image).logits.equal(tagger(image).logits)
        assert loaded.features(image).image.equal(tagger.features(image).image)  # type: ignore[union-attr]

    text = (tmp_path / "model.json").read_text()
    for wrong, why in (
        (text.replace('"joint_features": 12', '"joint_features": 13'), "has the shape"),
        (text.replace('"joint_features": 12', '"joint_features": 0'), "the projection in which an image tower ends"),
        (text.replace(clip_tower, "resnet18"), "do not fit resnet18"),
    ):
        (tmp_path / "model.json").write_text(wrong)
        with pytest.raises(RunError, match=why):
            load_bundle(tmp_path)


def test_weights_of_the_projections_are_loaded(clip_tower: str, tmp_path: Path) -> None:
    """From a folder of weights, with the width that they have there."""
    torch.manual_seed(0)
    network = timm.create_model(clip_tower, num_classes=7)
    nn.init.normal_(network.head.pos_embed)
    timm.models.save_for_hf(network, tmp_path, model_config={"num_classes": 7}, safe_serialization=True)
    backbone = create_backbone(f"local-dir:{tmp_path}", joint_space="projected").eval()
    assert backbone.spec.joint_features == 7
    assert all(tensor.equal(network.state_dict()[name]) for name, tensor in backbone.network.state_dict().items())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = network.eval().forward_features(image)
        expected = split_tokens(joint_tokens(projection_of(network), maps, maps, "projected"))
    torch.testing.assert_close(backbone(image).maps, expected.maps)


@pytest.mark.parametrize("name", ["test_resnet", "resnet50_clip_gap", "test_vit"])
def test_networks_without_a_joint_space_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="needs the projection in which an image tower ends"):
        create_backbone(name, pretrained=False, joint_space="projected")


def test_clip_images_are_prepared_as_timm_says(clip_tower: str) -> None:
    spec = create_backbone(clip_tower, pretrained=False, joint_space="projected").spec
    assert spec.mean == (0.48145466, 0.4578275, 0.40821073)
    assert spec.std == (0.26862954, 0.26130258, 0.27577711)
    assert (spec.size, spec.interpolation) == (64, "bicubic")
    other = create_backbone(clip_tower, pretrained=False, preprocessing="imagenet").spec
    assert (other.mean, other.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (other.size, other.interpolation) == (64, "bilinear")
