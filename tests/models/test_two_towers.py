"""Folders of open_clip: image towers as timm builds them, text towers, prompts; against open_clip itself."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.methods.tools.prompts import Prompts
from partlabel.models.encoders.build import create_backbone, rebuild_backbone
from partlabel.models.encoders.clip_folder import image_tower
from partlabel.models.encoders.small_towers import write_towers
from partlabel.models.encoders.text_tower import load_text_tower

TEXT = {"context_length": 24, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
TRANSFORMER = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
SIGLIP = {
    "image_size": 160,
    "timm_model_name": "test_vit3",
    "timm_model_pretrained": False,
    "timm_pool": "map",
    "timm_proj": "none",
}
CONVOLUTIONS = {
    "image_size": 96,
    "timm_model_name": "test_convnext",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": None,
}
TOWERS: dict[str, dict[str, Any]] = {
    "CLIP": {"embed_dim": 12, "vision_cfg": TRANSFORMER, "text_cfg": TEXT},
    "CLIP of OpenAI": {"embed_dim": 12, "quick_gelu": True, "vision_cfg": TRANSFORMER, "text_cfg": TEXT},
    "SigLIP": {
        "embed_dim": 96,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": SIGLIP,
        "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "a linear layer behind a ResNet": {
        "embed_dim": 12,
        "vision_cfg": {**CONVOLUTIONS, "timm_model_name": "test_resnet", "timm_proj": "linear"},
        "text_cfg": TEXT,
    },
    "MobileCLIP": {
        "embed_dim": 12,
        "custom_text": True,
        "vision_cfg": CONVOLUTIONS,
        "text_cfg": {**TEXT, "no_causal_mask": True},
    },
}


def _write(folder: Path, model: dict[str, Any]) -> str:
    """A folder as open_clip's own export writes it, with weights that are not those of a start."""
    folder.mkdir(exist_ok=True)
    preprocessing = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocessing}))
    torch.manual_seed(0)
    towers = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    for parameter in towers.parameters():
        if parameter.ndim:
            parameter.data += 0.1 * torch.randn_like(parameter)
    weights = {name: tensor.contiguous() for name, tensor in towers.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


@pytest.mark.parametrize("kind", TOWERS)
def test_image_vectors_are_those_of_open_clip(kind: str, tmp_path: Path) -> None:
    name = _write(tmp_path, TOWERS[kind])
    backbone = create_backbone(name, joint_space="projected", freeze=True).eval()
    official = open_clip.create_model(name).eval()
    assert backbone.spec.mean == (0.4, 0.5, 0.6)
    assert backbone.spec.std == (0.2, 0.3, 0.4)
    assert backbone.num_features == TOWERS[kind]["embed_dim"]
    side = TOWERS[kind]["vision_cfg"]["image_size"]
    assert backbone.spec.size == side
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        features = backbone(images)
        torch.testing.assert_close(features.image, official.encode_image(images, normalize=True))
    torch.testing.assert_close(features.maps.norm(dim=1), torch.ones(2, *features.maps.shape[2:]))
    plain = create_backbone(name, size=side).eval()
    with torch.no_grad():
        assert plain.network.forward_features(images).equal(backbone.network.forward_features(images))  # type: ignore[operator]
    again = rebuild_backbone(backbone.spec).eval()
    again.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        assert again(images).image.equal(features.image)  # type: ignore[union-attr]


def test_a_location_alone_is_the_image(tmp_path: Path) -> None:
    """What SigLIP's attention pooling makes of one location, it makes of an image that has only this one."""
    name = _write(tmp_path, TOWERS["SigLIP"])
    backbone = create_backbone(name, joint_space="projected").eval()
    network: Any = backbone.network
    images = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        stages = network.forward_features(images)
        maps = backbone(images).maps.flatten(2)
        for place in (0, 7):
            token = stages[:, network.num_prefix_tokens + place][:, None]
            expected = functional.normalize(network.attn_pool(token), dim=1)
            torch.testing.assert_close(maps[:, :, place], expected)


def test_locations_of_a_transformer_go_through_the_projection(tmp_path: Path) -> None:
    name = _write(tmp_path, TOWERS["CLIP"])
    backbone = create_backbone(name, joint_space="attended").eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        visual = open_clip.create_model(name).visual.eval()
        visual.output_tokens = True
        _, tokens = visual(images)
        expected = functional.normalize(tokens @ visual.proj, dim=2).transpose(1, 2).reshape(1, 12, 4, 4)
        torch.testing.assert_close(backbone(images).maps, expected)


@pytest.mark.parametrize("kind", TOWERS)
def test_texts_by_embeddings_are_those_of_open_clip(kind: str, tmp_path: Path) -> None:
    """Cut to the longest text where that changes nothing, and only there."""
    name = _write(tmp_path, TOWERS[kind])
    tower, official = load_text_tower(name), open_clip.create_model(name).eval()
    texts = ["a", "a photo of a large traffic light.", "dogs"]
    tokens = tower.tokens(texts)
    assert tower.cuts == (not kind.endswith(("SigLIP", "MobileCLIP")))
    assert tokens.shape[1] == (10 if tower.cuts else 24)
    with torch.no_grad():
        expected = official.encode_text(open_clip.get_tokenizer(name)(texts))
        torch.testing.assert_close(tower(tower.embed(tokens), tokens), expected)
        torch.testing.assert_close(tower.encode(texts), functional.normalize(expected, dim=1))
    assert tower.scale == pytest.approx(float(official.logit_scale.detach().exp()))
    assert tower.bias == (None if kind != "SigLIP" else pytest.approx(float(official.logit_bias.detach())))


def test_prompts_that_hold_words_are_the_sentence(tmp_path: Path) -> None:
    """Learned words that are those of a sentence give the vector of the sentence; gradients reach them alone."""
    tower = load_text_tower(_write(tmp_path, TOWERS["CLIP"]))
    names = ["dog", "traffic light"]
    prompts = Prompts(tower, names, 4, per_class=True, start="a photo of a")
    with torch.no_grad():
        expected = tower.encode([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(prompts(), expected)
    assert {name for name, _ in prompts.named_parameters()} == {"context"}
    assert set(prompts.state_dict()) == {"context"}
    prompts().sum().backward()
    assert prompts.context.grad is not None
    assert (prompts.context.grad.flatten(1).norm(dim=1) > 0).all()
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_shared_words_are_one_set(tmp_path: Path) -> None:
    tower = load_text_tower(write_towers(tmp_path))
    own, shared = (Prompts(tower, ["a", "b", "c"], 5, per_class=each) for each in (True, False))
    assert own.context.shape == (3, 5, 32)
    assert own.class_axes == {"context": (0,)}
    assert shared.context.shape == (1, 5, 32)
    assert shared.class_axes == {}
    assert 0.01 < float(own.context.std().detach()) < 0.03


def test_what_is_too_long_is_named(tmp_path: Path) -> None:
    tower = load_text_tower(write_towers(tmp_path))
    with pytest.raises(
        UsageError, match=r"'a b c d e f g\.' and 36 learned words before it are longer than the 40 pieces"
    ):
        Prompts(tower, ["a", "a b c d e f g"], 36, per_class=True)


def test_folders_that_will_not_do_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no text tower: a folder with open_clip_config\.json is needed"):
        load_text_tower("resnet101_clip")
    name = _write(tmp_path, TOWERS["CLIP"])
    config = json.loads((tmp_path / "open_clip_config.json").read_text())
    for change, said in (
        ({"attentional_pool": True}, "an image tower with attentional_pool is not built here"),
        ({"layers": [1, 1, 1, 1]}, r"timm has no ResNet of CLIP with the stages \[1, 1, 1, 1\]"),
        ({"width": "wide"}, "describes no model of open_clip"),
    ):
        changed = {**config["model_cfg"], "vision_cfg": {**TRANSFORMER, **change}}
        (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": changed}))
        with pytest.raises(UsageError, match=said):
            create_backbone(name, joint_space="projected")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="its weights do not load"):
        create_backbone(name)
    with pytest.raises(UsageError, match=r"the text tower in .* cannot be loaded"):
        load_text_tower(name)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"holds no weights: open_clip_model\.safetensors is missing"):
        create_backbone(name)


@pytest.mark.parametrize(
    ("layers", "width", "expected"),
    [
        ([3, 4, 6, 3], 64, "resnet50_clip"),
        ([3, 4, 23, 3], 64, "resnet101_clip"),
        ([4, 6, 10, 6], 80, "resnet50x4_clip"),
    ],
)
def test_resnets_have_their_names(layers: list[int], width: int, expected: str, tmp_path: Path) -> None:
    model = {"embed_dim": 512, "vision_cfg": {"image_size": 224, "layers": layers, "width": width}, "text_cfg": TEXT}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    (tmp_path / "open_clip_pytorch_model.bin").touch()
    tower = image_tower(tmp_path)
    assert (tower.architecture, tower.size, tower.features, tower.linear) == (expected, 224, 512, True)
    assert tower.config["mean"] == (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.slow
def test_a_clip_resnet_of_open_clip_is_that_of_timm(tmp_path: Path) -> None:
    model = {"embed_dim": 64, "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64}, "text_cfg": TEXT}
    name = _write(tmp_path, model)
    backbone = create_backbone(name, joint_space="attended").eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = open_clip.create_model(name).eval().encode_image(images, normalize=True)
        torch.testing.assert_close(backbone(images).image, expected, rtol=1e-3, atol=1e-4)
