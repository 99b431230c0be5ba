"""Co-learning in CLIP's joint space, as its public code has it, from training to tags and explanations."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import partlabel
from partlabel.cli.app import app
from partlabel.errors import UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.models.bundle import load_bundle

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
        ({"backbone": "test_resnet"}, "needs the attention pooling of a CLIP ResNet"),
        ({"joint_space": "clip"}, "setting joint_space: input should be 'off', 'projected' or 'attended'"),
    ],
)
def test_what_does_not_go_together_is_refused(
    settings: dict[str, Any], said: str, clip_tower: str, color_images: Images, tmp_path: Path
) -> None:
    root, table = color_images
    with pytest.raises(UsageError, match=said):
        partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, "backbone": clip_tower, **settings})
    assert not (tmp_path / "run").exists()
