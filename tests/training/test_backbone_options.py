"""Training with a changed backbone: global branches, frozen norms, parts of it, low-rank changes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import partlabel
from partlabel.api.train import resume
from partlabel.errors import UsageError
from partlabel.images.dataset import ImageDataset
from partlabel.labels import LabelTable
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.base import Backbone, view_settings
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.local_global import GlobalBranch
from partlabel.training.map_cache import Recipe

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 2,
    "batch_size": 8,
    "accelerator": "cpu",
    "report": False,
    "lr": 3e-3,
}


def _norms(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.state_dict().items() if "running" in name}


def _learned(backbone: Backbone) -> set[str]:
    return {name.removeprefix("network.") for name, parameter in backbone.named_parameters() if parameter.requires_grad}


def test_frozen_norms_keep_their_statistics_and_learn_their_scales() -> None:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, local_global=True, frozen_norm=True).train()
    before = _norms(backbone)
    backbone(torch.randn(4, 3, 32, 32)).maps.square().mean().backward()
    assert all(tensor.equal(before[name]) for name, tensor in _norms(backbone).items())
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.weight.grad is not None and not norm.training for norm in norms)
    assert any(isinstance(module, GlobalBranch) and module.training for module in backbone.modules())

    usual = create_backbone("test_resnet", pretrained=False, size=32).train()
    before = _norms(usual)
    usual(torch.randn(4, 3, 32, 32))
    assert not any(tensor.equal(before[name]) for name, tensor in _norms(usual).items())


def test_a_frozen_backbone_with_a_trained_last_stage_may_freeze_its_norms() -> None:
    backbone = create_backbone(
        "test_resnet", pretrained=False, size=32, freeze=True, train_last=1, frozen_norm=True
    ).train()
    before = _norms(backbone)
    backbone(torch.randn(4, 3, 32, 32))
    assert all(tensor.equal(before[name]) for name, tensor in _norms(backbone).items())


@pytest.mark.parametrize("local_global", [False, True])
def test_the_last_stage_and_the_branches_are_trained(local_global: bool) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(
        "resnet18", pretrained=False, size=32, local_global=local_global, train_parts="last_stage"
    )
    learned = _learned(backbone)
    expected = {
        name.removeprefix("network.")
        for name, _ in backbone.named_parameters()
        if name.startswith("network.layer4.") or ".global_branch." in name
    }
    assert learned == expected
    assert any(".global_branch." in name for name in learned) == local_global
    before = _norms(backbone.train())
    backbone(torch.randn(4, 3, 32, 32)).maps.square().mean().backward()
    moved = {name.rpartition(".")[0] for name, tensor in _norms(backbone).items() if not tensor.equal(before[name])}
    assert moved
    assert all(name.startswith("network.layer4.") or ".global_branch." in name for name in moved)
    assert {name for name, parameter in backbone.named_parameters() if parameter.grad is None} == {
        name for name, parameter in backbone.named_parameters() if not parameter.requires_grad
    }


def test_the_key_of_cached_maps_is_that_of_earlier_releases(color_images: tuple[Path, LabelTable]) -> None:
    root, table = color_images
    backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True)
    images = ImageDataset(root, table.images, ("plain",), view_settings(backbone.spec), 0)
    described = Recipe(backbone, images, 0, torch.device("cpu")).description["backbone"]
    assert list(described) == ["architecture", "model_args", "size", "mean", "std", "interpolation"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"local_global": True, "freeze": True}, "branches that have to be trained"),
        ({"local_global": True, "freeze": True, "train_last": 1}, "branches that have to be trained"),
        ({"train_parts": "last_stage", "freeze": True}, "train_last says what to train"),
        ({"train_parts": "last_stage", "backbone": "vgg11"}, "cannot be cut before its last 1 stage"),
        ({"train_parts": "head"}, "setting train_parts: input should be 'all' or 'last_stage'"),
        ({"lora_rank": 4, "freeze": True}, "lora_rank and freeze both say"),
        ({"lora_rank": 4, "local_global": True}, "lora_rank and local_global both say"),
        ({"lora_rank": 4, "train_parts": "last_stage"}, "lora_rank and train_parts both say"),
        ({"lora_rank": 4, "lora_norm": "batch", "frozen_norm": True}, "leave one of them out"),
        ({"lora_rank": 10_000}, "no weight of twice the rank"),
        ({"local_global": True, "backbone": "test_convnext"}, "has no 3 × 3 convolution"),
    ],
)
def test_what_excludes_each_other_is_refused(
    settings: dict[str, Any], said: str, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    with pytest.raises(UsageError, match=said):
        partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, **settings})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"local_global": True, "select": "best"},
        {"local_global": True, "frozen_norm": True, "train_parts": "last_stage", "ema": 0.5, "refit": True},
        {"lora_rank": 4, "select": "best"},
        {"lora_rank": 4, "ema": 0.5, "refit": True},
        {"lora_rank": 2, "lora_targets": "residual", "lora_dropout": 0.1, "lora_norm": "batch", "ema": 0.5},
    ],
    ids=" ".join,
)
def test_from_training_to_tags(
    settings: dict[str, Any], color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    """The bundle is plain, and says of images what the run says."""
    root, table = color_images
    run = partlabel.train(partial_labels, images=root, out=tmp_path / "run", **TINY, **settings, holdout=0.3)
    assert run.info["held_out"]["mAP"] is not None
    names = load_file(run.model / "model.safetensors").keys()
    assert not any("parametrizations" in name for name in names)
    assert any("global_branch" in name for name in names) == settings.get("local_global", False)
    assert load_bundle(run.model)[1].backbone.local_global == settings.get("local_global", False)
    judged = partlabel.evaluate(run, table, images=root, report=False)
    assert judged.mean_average_precision["raw"] > 0.3
    shutil.copytree(run.model, tmp_path / "shipped")
    tags = partlabel.predict(tmp_path / "shipped", [root])
    assert tags.num_rows == 96
    if not settings.get("refit"):
        cells = run.held_out(table.classes)
        said = np.asarray(tags["logit"]).reshape(-1, 3).T[cells.class_index]
        assert np.abs(said - cells.logits[:, None]).min(1).max() < 1e-4


@pytest.mark.parametrize("more", [{}, {"lora_dropout": 0.1, "lora_norm": "batch"}], ids=str)
def test_low_rank_training_goes_on_exactly(
    more: dict[str, Any],
    color_images: tuple[Path, LabelTable],
    partial_labels: LabelTable,
    tmp_path: Path,
    at_steps: Any,
) -> None:
    out, steps = tmp_path / "whole", tmp_path / "steps"
    keep = at_steps(
        lambda done: (
            shutil.copytree(out, steps / str(done), ignore=shutil.ignore_patterns(".owner*"))
            if done in {3, 8}
            else None
        )
    )
    lora = {"lora_rank": 4, "ema": 0.9, "checkpoint_every": 1, "select": "best", **more}
    whole = partlabel.train(partial_labels, images=color_images[0], out=out, reporter=keep, **TINY, **lora)
    expected = load_file(whole.model / "model.safetensors")
    for step in ("3", "8"):
        found = load_file(resume(steps / step, report=False).model / "model.safetensors")
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize(
    "settings", [{"lora_rank": 4}, {"local_global": True, "frozen_norm": True}], ids=["lora", "local_global"]
)
def test_starting_from_a_plain_run_takes_every_weight(
    settings: dict[str, Any], color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    """Low-rank changes and branches put weights one level deeper; they are found all the same, in both directions."""
    root, table = color_images
    still = {**TINY, "epochs": 1, "lr": 1e-30}
    first = partlabel.train(table, images=root, out=tmp_path / "first", **{**TINY, "epochs": 1})
    second = partlabel.train(table, images=root, out=tmp_path / "second", init=first.path, **still, **settings)
    third = partlabel.train(table, images=root, out=tmp_path / "third", init=second.path, **still, frozen_norm=True)
    theirs, mine = (load_file(run.model / "model.safetensors") for run in (first, third))
    assert theirs.keys() == mine.keys()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def test_a_description_without_the_new_entry_loads(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    run = partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, "epochs": 1})
    path = run.model / "model.json"
    described = json.loads(path.read_text())
    assert described["backbone"].pop("local_global") is False
    path.write_text(json.dumps(described))
    assert not load_bundle(run.model)[1].backbone.local_global
