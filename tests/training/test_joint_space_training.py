"""Co-learning in CLIP's joint space, as its public code has it, from training to tags and explanations."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

import partlabel
from partlabel.cli.app import app
from partlabel.errors import UsageError
from partlabel.formats import write_table
from partlabel.images.dataset import ImageDataset
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.base import view_settings
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.lora import LowRankChange
from partlabel.models.tagger import Tagger
from partlabel.runs.settings import TrainSettings
from partlabel.training.build import build
from partlabel.training.map_cache import Recipe

pytestmark = pytest.mark.slow

HEAD: dict[str, Any] = {"label_features": 8, "hidden": 8, "heads": 4, "feed_forward": 20, "image_vector": "encoder"}
TINY: dict[str, Any] = {
    "method": "colearning",
    "pretrained": False,
    "size": 96,
    "joint_space": "projected",
    "epochs": 2,
    "batch_size": 8,
    "accelerator": "cpu",
    "report": False,
    "lr": 3e-3,
    "label_vectors": "learned",
    "expansion": 16,
    **HEAD,
}
LORA: dict[str, Any] = {"lora_rank": 2, "lora_targets": "residual", "lora_dropout": 0.01, "lora_norm": "batch"}
Images = tuple[Path, LabelTable]


@pytest.mark.parametrize(
    "settings",
    [
        {"freeze": True},
        {"freeze": True, "joint_space": "attended", "size": 64},
        {"freeze": True, "maps_by": "onnxruntime"},
        {"freeze": True, "train_last": 1},
        {**LORA, "ema": 0.5, "preprocessing": "imagenet"},
        {"joint_space": "attended", "size": 64, "method": "co_teaching"},
    ],
    ids=str,
)
def test_from_training_to_tags(
    settings: dict[str, Any], clip_tower: str, color_images: Images, partial_labels: LabelTable, tmp_path: Path
) -> None:
    root, table = color_images
    asked = {**TINY, **settings, "backbone": clip_tower}
    if asked["method"] != "colearning":
        asked = {name: value for name, value in asked.items() if name not in {*HEAD, "expansion", "label_vectors"}}
    run = partlabel.train(partial_labels, images=root, out=tmp_path / "run", **asked, holdout=0.3)
    shutil.copytree(run.model, tmp_path / "shipped")
    tagger, info = load_bundle(tmp_path / "shipped")
    assert info.backbone.joint_space == asked["joint_space"]
    assert info.backbone.joint_features == 12
    assert (info.backbone.mean == (0.485, 0.456, 0.406)) == ("preprocessing" in settings)
    assert tagger.head.needs_image_vector == (asked["method"] == "colearning")
    assert not any("parametrizations" in name for name in load_file(tmp_path / "shipped" / "model.safetensors"))
    tags = partlabel.predict(tmp_path / "shipped", [root])
    cells = run.held_out(table.classes)
    said = np.asarray(tags["logit"]).reshape(-1, 3).T[cells.class_index]
    assert np.abs(said - cells.logits[:, None]).min(1).max() < (5e-3 if "freeze" in settings else 1e-4)

    found = partlabel.explain(run, [root / "00.png"], out=tmp_path / "explained", maps="gradient")
    (image,) = json.loads((tmp_path / "explained" / "explained.json").read_text())["images"]
    assert found
    assert set(image["labels"][0]["maps"]) == {"class", "gradient"}


def _built(clip_tower: str, **settings: Any) -> Tagger:
    known = {name: value for name, value in TINY.items() if name not in {"report", *HEAD, "expansion", "label_vectors"}}
    made = TrainSettings(**{**known, "backbone": clip_tower, "method": "bce", **settings})
    context = Context(LabelTable.from_dense(["0.png", "1.png"], ["a"], np.array([[1], [-1]], np.int8)))
    return build(made, context).tagger


def _changed(tagger: Tagger) -> dict[str, LowRankChange]:
    found = {name: module for name, module in tagger.named_modules() if isinstance(module, LowRankChange)}
    return {name.split(".parametrizations")[0].removeprefix("backbone.network."): found[name] for name in found}


def test_settings_of_low_rank_changes_reach_the_backbone(clip_tower: str) -> None:
    tagger = _built(clip_tower, **LORA, lora_alpha=6).train()
    changed = _changed(tagger)
    assert {name.split(".")[1] for name in changed} == {"1", "2", "3"}
    assert not any("shortcut" in name for name in changed)
    assert {(one.scale, one.dropout, one.down.shape[0]) for one in changed.values()} == {(3, 0.01, 2)}
    assert all(norm.training for norm in tagger.backbone.modules() if isinstance(norm, nn.BatchNorm2d))


def test_low_rank_changes_are_by_default_what_they_were(clip_tower: str) -> None:
    """Of all weights, without dropout, at running statistics; in the joint space of what leads to it as well."""
    tagger = _built(clip_tower, lora_rank=2).train()
    changed = _changed(tagger)
    assert {"stem.conv2.conv", "stages.1.0.shortcut.conv.conv", "head.v", "head.proj"} <= changed.keys()
    assert {(one.scale, one.dropout) for one in changed.values()} == {(16, 0)}
    assert not any(norm.training for norm in tagger.backbone.modules() if isinstance(norm, nn.BatchNorm2d))
    assert _built(clip_tower, joint_space="attended").backbone.spec.joint_space == "attended"
    assert TrainSettings().joint_space == "off"
    assert TrainSettings().preprocessing == "backbone"


def test_cached_maps_of_each_kind_lie_apart(clip_tower: str, color_images: Images) -> None:
    root, table = color_images
    kinds = [("projected", "backbone"), ("attended", "backbone"), ("off", "backbone"), ("projected", "imagenet")]
    backbones = []
    for how, preprocessing in kinds:
        torch.manual_seed(0)
        backbones.append(
            create_backbone(
                clip_tower,
                pretrained=False,
                freeze=True,
                joint_space=how,  # type: ignore[arg-type]
                preprocessing=preprocessing,  # type: ignore[arg-type]
            )
        )
    folders = {
        Recipe(one, ImageDataset(root, table.images, ("plain",), view_settings(one.spec), 0), 0, torch.device("cpu"))
        .folder(Path("cache"))
        .path
        for one in backbones
    }
    assert len(folders) == 4


def test_a_shipped_tagger_uses_the_image_vector(clip_tower: str, color_images: Images, tmp_path: Path) -> None:
    root, table = color_images
    run = partlabel.train(table, images=root, out=tmp_path / "run", **TINY, backbone=clip_tower, freeze=True)
    tagger, _ = load_bundle(run.model)
    features = tagger.features(torch.randn(2, 3, 96, 96))
    assert features.image is not None
    said = tagger.head(*features).logits
    assert not said.allclose(tagger.head(features.maps, -features.image).logits)


def test_on_the_command_line(clip_tower: str, color_images: Images, tmp_path: Path) -> None:
    root, table = color_images
    write_table(table, tmp_path / "labels.parquet")
    settings = {name: TINY[name] for name in ("joint_space", "size", "label_vectors", "expansion", *HEAD)}
    words = ["train", str(tmp_path / "labels.parquet"), "--images", str(root), "--out", str(tmp_path / "run")]
    words += ["--method", "colearning", "--backbone", clip_tower, "--from-scratch", "--freeze", "--epochs", "1"]
    words += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.output
    assert load_bundle(tmp_path / "run" / "model")[1].backbone.joint_space == "projected"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"joint_space": "off"}, "uses the image vector of an encoder, and tiny_resnet_clip has none"),
        ({"backbone": "test_resnet"}, "needs the projection in which an image tower ends"),
        ({"joint_space": "clip"}, "setting joint_space: input should be 'off', 'projected', 'plain' or 'attended'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    settings: dict[str, Any], said: str, clip_tower: str, color_images: Images, tmp_path: Path
) -> None:
    root, table = color_images
    with pytest.raises(UsageError, match=said):
        partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, "backbone": clip_tower, **settings})
    assert not (tmp_path / "run").exists()
