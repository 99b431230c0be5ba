"""Losses on another head than theirs, from labels to tags and figures; cut off, they go on to the very same weights."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

import partlabel
from partlabel.cli.app import app
from partlabel.errors import Interrupted, UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.models.bundle import read_info
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 64,
    "epochs": 4,
    "batch_size": 16,
    "accelerator": "cpu",
    "report": False,
}
DECODER = {"head": "ml_decoder", "head_settings": {"width": 16, "feed_forward": 16, "heads": 2}}
LABELS = {"head": "query2label", "head_settings": {"reduction": 16, "feed_forward": 16, "heads": 2}}
CASES: dict[str, dict[str, Any]] = {
    "bce, frozen": {"method": "bce", "freeze": True, **DECODER},
    "entropy_maximization": {"method": "entropy_maximization", "warmup_epochs": 1, **LABELS},
    "coselection, last stage": {"method": "coselection", "freeze": True, "train_last": 1, **DECODER},
}


@pytest.mark.parametrize("case", CASES)
def test_from_labels_to_tags_and_figures(
    case: str, tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, at_steps: Any
) -> None:
    images, truth = color_images
    settings = {**TINY, **CASES[case]}
    run = partlabel.train(partial_labels, images=images, out=tmp_path / "whole", **settings)
    press = at_steps(lambda done: os.kill(os.getpid(), signal.SIGINT) if done == 4 else None)
    with pytest.raises(Interrupted, match="stopped after step 5 of 8"):
        partlabel.train(partial_labels, images=images, out=tmp_path / "cut", reporter=press, **settings)
    partlabel.resume(tmp_path / "cut", report=False)
    whole, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert [name for name in whole if not whole[name].equal(cut[name])] == []
    tags = partlabel.predict(run.path, [images / "00.png"])
    assert tags["class"].to_pylist() == list(truth.classes)
    assert np.isfinite(tags["logit"].to_numpy()).all()
    told = partlabel.explain(run.path, [images / "00.png"], out=tmp_path / "figures", maps="all")
    assert list((tmp_path / "figures").glob("*.png"))
    assert told


def test_head_on_the_command_line(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    write_table(partial_labels, tmp_path / "labels.csv")
    words = ["train", str(tmp_path / "labels.csv"), "--images", str(color_images[0]), "--from-scratch", "--quiet"]
    words += ["--backbone", "test_resnet", "--epochs", "1", "--set", "size=32", "--set", "accelerator=cpu"]
    words += ["--method", "hill", "--head", "ml_decoder"]
    small = ["--set", 'head_settings={"width": 16, "heads": 2}']
    done = CliRunner().invoke(app, [*words, *small, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = RunFolder.open(tmp_path / "run")
    assert run.settings.method_settings == {"head": "ml_decoder", "head_settings": {"width": 16, "heads": 2}}
    assert read_info(run.model).head.settings["width"] == 16
    twice = CliRunner().invoke(app, [*words, "--set", "head=pooled", "--out", str(tmp_path / "other")])
    assert isinstance(twice.exception, UsageError) or "head is given twice" in twice.output
    assert not (tmp_path / "other").exists()


def test_what_a_class_has_of_its_own_follows_its_name_and_its_query(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    """red, green and blue by two queries: the first of the first two. Turned round, green alone has the same query."""
    turned = partial_labels.select_classes(["blue", "green", "red"])
    how: dict[str, Any] = {**TINY, "size": 32, "epochs": 1, "lr": 1e-12, "method": "bce"}
    for groups, same in ((2, {"green"}), (100, {"red", "green", "blue"})):
        small = {"width": 16, "feed_forward": 16, "heads": 2, "groups": groups}
        first, second = (tmp_path / f"{name}{groups}" for name in ("first", "second"))
        with_head = {**how, "head": "ml_decoder", "head_settings": small}
        partlabel.train(partial_labels, images=color_images[0], out=first, **with_head)
        partlabel.train(turned, images=color_images[0], out=second, init=first, seed=1, **with_head)
        before, after = (load_file(run / "model" / "model.safetensors") for run in (first, second))
        rows = {name: (partial_labels.classes.index(name), turned.classes.index(name)) for name in turned.classes}
        key = next(name for name in before if name.endswith("group_weight"))
        taken = {name for name, (old, new) in rows.items() if before[key][old].allclose(after[key][new], atol=1e-6)}
        assert taken == same
        queries = key.replace("group_weight", "queries")
        for old, new in rows.values() if groups == 100 else [(0, 0), (1, 1)]:
            assert before[queries][old].equal(after[queries][new])


def test_a_run_with_such_a_head_is_started_from_by_its_backbone_and_is_no_fit_to_refine(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    """A linear layer on transformed features of two stages says nothing to another head."""
    images, same = color_images[0], {**TINY, "size": 32, "epochs": 1, "method": "bce"}
    first = partlabel.train(partial_labels, images=images, out=tmp_path / "first", transform="sqrt", stages=2, **same)
    second = partlabel.train(partial_labels, images=images, out=tmp_path / "next", init=first.path, **same, **DECODER)
    assert second.settings.stages == 1
    assert "transform" not in second.settings.method_settings
    with pytest.raises(UsageError, match="refine starts from a fitted linear layer, which head 'ml_decoder' is not"):
        partlabel.train(
            partial_labels, images=images, out=tmp_path / "run", refine="bce", freeze=True, **DECODER, **TINY
        )
