"""Methods on two towers, through the verbs: without a label, with prompts, resumed, shipped without the text tower."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import partlabel
from partlabel.api.training_settings import checked_settings
from partlabel.errors import MissingDependencyError, PartlabelError, RunError
from partlabel.inference.learner import learns
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import build_method
from partlabel.methods.dual_coop import DualCoOp, DualCoOpConfig
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers
from partlabel.models.encoders.text_tower import load_text_tower
from partlabel.models.heads.dual import DualHead
from partlabel.models.heads.zero_shot import ZeroShotHead
from partlabel.training.ema import MovingAverage

pytestmark = pytest.mark.slow

FROZEN: dict[str, Any] = {"freeze": True, "accelerator": "cpu"}
TINY = {**FROZEN, "epochs": 2, "batch_size": 8, "context": 4, "report": False}


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_towers(tmp_path_factory.mktemp("towers"))


def test_a_table_without_a_label_has_a_model(
    towers: str, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    """Ranked by the cosines of the image vectors with the texts; judged by labels that are there elsewhere."""
    images, truth = color_images
    nothing = LabelTable.from_dense(truth.images, truth.classes, np.zeros((len(truth), 3), np.int8))
    run = partlabel.train(
        nothing, images=images, out=tmp_path / "run", method="zero_shot", backbone=towers, report=False, **FROZEN
    )
    tagger, info = load_bundle(run.model)
    assert info.classes == truth.classes
    assert info.backbone.joint_space == "attended"
    assert isinstance(tagger.head, ZeroShotHead)
    texts = load_text_tower(towers).encode([f"a photo of a {name}." for name in truth.classes])
    torch.testing.assert_close(tagger.head.text, texts)
    assert (tagger.head.scoring, tagger.head.scale) == ("softmax", pytest.approx(1 / 0.07, rel=1e-4))
    assert 0 < partlabel.evaluate(run.path, truth, images=images, report=False).mean_average_precision["raw"] <= 1
    assert not learns(run)
    with pytest.raises(PartlabelError, match="no cell of the table is known"):
        partlabel.train(nothing, images=images, out=tmp_path / "other", method="dual_coop", backbone=towers, **FROZEN)


def test_templates_are_averaged_and_told(
    towers: str, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    given = {"templates": ("a {}.", "the {}, here."), "temperature": 0.5, "scoring": "sigmoid"}
    run = partlabel.train(
        partial_labels,
        images=color_images[0],
        out=tmp_path / "run",
        method="zero_shot",
        backbone=towers,
        report=False,
        **given,
        **FROZEN,
    )
    head = load_bundle(run.model)[0].head
    assert isinstance(head, ZeroShotHead)
    tower = load_text_tower(towers)
    mean = (tower.encode(["a red."]) + tower.encode(["the red, here."]))[0]
    torch.testing.assert_close(head.text[0], mean / mean.norm())
    assert (head.scoring, head.scale, head.bias) == ("sigmoid", 2.0, 0.0)
    with pytest.raises(PartlabelError, match=r"each template holds \{\} once"):
        partlabel.train(
            partial_labels, images=color_images[0], out=tmp_path / "no", method="zero_shot", templates=("a photo",)
        )


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_what_is_shipped_are_the_vectors_of_the_last_words(
    ema: float, towers: str, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    """And the run holds neither tower: it opens without the text tower, and a checkpoint is small."""
    run = partlabel.train(
        partial_labels,
        images=color_images[0],
        out=tmp_path / "run",
        method="dual_coop",
        backbone=towers,
        ema=ema,
        select="last",
        **TINY,
    )
    head = load_bundle(run.model)[0].head
    assert isinstance(head, DualHead)
    checkpoint = torch.load(run.checkpoint("selection"), weights_only=False)
    kept = checkpoint["state_dict"]
    assert not [name for name in kept if "backbone" in name or "tower" in name or "embedded" in name]
    words = {name: tensor for name, tensor in kept.items() if name.endswith("context")}
    assert {name: tuple(tensor.shape) for name, tensor in words.items()} == {
        "method.positive.context": (3, 4, 32),
        "method.negative.context": (3, 4, 32),
    }
    tower = load_text_tower(towers)
    tokens = tower.tokens([f"{name}." for name in partial_labels.classes], room=4)
    embedded = tower.embed(tokens)
    embedded[:, 1:5] = words["method.positive.context"]
    with torch.no_grad():
        expected = torch.nn.functional.normalize(tower(embedded, tokens), dim=1)
    difference = (head.positive - expected).abs().max()
    assert (difference < 1e-6) == (ema == 0)
    if ema:
        average = {name: tensor for name, tensor in kept.items() if name.startswith("average.network.head.")}
        assert len(average) == 2 + 2  # vectors and temperatures
        assert (average["average.network.head.positive"] - head.positive).abs().max() < 1e-6


def test_a_run_is_resumed_with_its_text_tower_alone(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, at_steps: Any
) -> None:
    """From a copy of the folder after the third step to the same weights; not with another text tower."""
    towers, out = write_towers(tmp_path / "towers"), tmp_path / "whole"
    keep = at_steps(lambda done: shutil.copytree(out, tmp_path / str(done), ignore=shutil.ignore_patterns(".owner*")))
    partlabel.train(
        partial_labels,
        images=color_images[0],
        out=out,
        method="positive_coop",
        backbone=towers,
        checkpoint_every=1,
        reporter=keep,
        **TINY,
    )
    partlabel.resume(tmp_path / "3", report=False)
    weights = load_file(out / "model" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "3" / "model" / "model.safetensors").items():
        assert tensor.equal(weights[name]), name
    file = tmp_path / "towers" / "open_clip_model.safetensors"
    changed = load_file(file)
    changed["token_embedding.weight"] += 1
    save_file(changed, file)
    with pytest.raises(RunError, match=r"the text tower beside .* is not the one that this run began with"):
        partlabel.resume(tmp_path / "5", report=False)


def test_defaults_follow_the_method(towers: str) -> None:
    for method, joint in (("zero_shot", "attended"), ("dual_coop", "projected"), ("dual_coop_plus", "plain")):
        settings = {"method": method, "backbone": towers, "freeze": True}
        assert checked_settings(settings, False, None).joint_space == joint
        assert checked_settings({**settings, "joint_space": "off"}, False, None).joint_space == "off"
    assert checked_settings({"method": "bce"}, False, None).joint_space == "off"


def test_without_open_clip_the_extra_is_named(towers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingDependencyError, match=r"text towers need open_clip: pip install 'partlabel\[clip\]'"):
        load_text_tower(towers)


def test_a_moving_average_follows_the_vectors_of_every_step(towers: str, partial_labels: LabelTable) -> None:
    assets = DualCoOp.tower_assets(DualCoOpConfig(), partial_labels, towers)
    context = Context(partial_labels, assets, towers)
    method = build_method("dual_coop", {"context": 4}, create_backbone(towers, joint_space="projected"), context)
    assert isinstance(method, DualCoOp)
    average = MovingAverage(method.tagger, 0.5, warmup=False)
    expected = method.dual_head.positive.clone()
    for _ in range(3):
        with torch.no_grad():
            method.positive.context.normal_()
            method({"weak": torch.randn(2, 3, 32, 32)})
            average.update(method.tagger)
            expected = (expected + method.positive()) / 2
    torch.testing.assert_close(average.network.head.positive, expected)  # type: ignore[union-attr]
