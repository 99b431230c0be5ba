"""A method that is fitted, not stepped, seen from the outside."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import partlabel
from partlabel.errors import Interrupted, UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder

FROZEN: dict[str, Any] = {
    "method": "discriminant",
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "accelerator": "cpu",
    "freeze": True,
}
Data = tuple[Path, LabelTable]


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def _train(images: Path, labels: LabelTable, out: Path, **settings: Any) -> tuple[RunFolder, list[str]]:
    reporter = Lines()
    run = partlabel.train(labels, images=images, out=out, report=False, reporter=reporter, **{**FROZEN, **settings})
    return run, reporter.lines


def _weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"freeze": False}, "method discriminant is fitted to the features of a frozen backbone; add --freeze"),
        ({"epochs": 3, "lr": 0.1}, "takes no steps, so that epochs, lr would have no effect; leave it out"),
        ({"find_lr": True}, "takes no steps, so that find_lr would have no effect"),
        ({"flip": False}, "so that flip would have no effect"),
        ({"train_last": 1}, "so that train_last would have no effect"),
    ],
)
def test_what_only_steps_follow_is_refused(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        _train(color_images[0], partial_labels, tmp_path / "run", **settings)
    assert said in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_the_run_tells_what_was_chosen_and_how_it_is_judged(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    run, lines = _train(color_images[0], partial_labels, tmp_path / "run", holdout=0.3)
    (row,) = run.log()
    assert (row["phase"], row["epoch"]) == ("selection", "1")
    assert row["transform"] in {"none", "sqrt"}
    assert float(row["held_out_mAP"]) == pytest.approx(run.info["held_out"]["mAP"], abs=1e-5)
    assert float(row["folds_mAP"]) > 0
    assert any(line.startswith("fitted discriminant in ") and "shrinkage" in line for line in lines)
    assert run.has_held_out
    assert not run.checkpoints.is_dir()


def test_what_is_held_out_has_no_part_in_the_fit(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    """Turned round, the held-out cells leave every weight as it is; a refit reads them."""
    images = color_images[0]
    run, _ = _train(images, partial_labels, tmp_path / "run", holdout=0.3)
    cells = run.held_out(partial_labels.classes)
    dense = partial_labels.dense().copy()
    rows = [partial_labels.image_positions[cells.images[number]] for number in cells.image_index]
    dense[rows, cells.class_index] = 0
    hidden = LabelTable.from_dense(partial_labels.images, partial_labels.classes, dense)
    without, _ = _train(images, hidden, tmp_path / "without", holdout=0)
    one, other = _weights(run), _weights(without)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    again, lines = _train(images, partial_labels, tmp_path / "again", holdout=0.3, refit=True)
    assert "training once more on all known cells" in lines
    assert [row["phase"] for row in again.log()] == ["selection", "refit"]
    everything, _ = _train(images, partial_labels, tmp_path / "everything", holdout=0)
    refitted, whole = _weights(again), _weights(everything)
    assert all(torch.equal(refitted[name], whole[name]) for name in whole)
    assert not torch.equal(refitted["head.linear.weight"], one["head.linear.weight"])


KILLED = """
import os, signal, sys
from partlabel.cli import main
from partlabel.methods.tools.feature_passes import FeaturePasses

passes = FeaturePasses._seen
def until_the_third(self, rows):
    if self.passes == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return passes(self, rows)
FeaturePasses._seen = until_the_third
sys.argv[0] = "partlabel"
main()
"""


@pytest.mark.slow
def test_killed_in_a_pass_it_ends_with_the_same_bits(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    undisturbed, _ = _train(color_images[0], partial_labels, tmp_path / "undisturbed")
    table = tmp_path / "labels.parquet"
    write_table(partial_labels, table)
    words = "--method discriminant --backbone test_resnet --from-scratch --freeze --set size=32 --set accelerator=cpu"
    command = [sys.executable, "-c", KILLED, "train", str(table), "--images", str(color_images[0])]
    killed = subprocess.run([*command, "--out", str(tmp_path / "run"), *words.split()], check=False)
    assert killed.returncode == -signal.SIGKILL
    run = RunFolder.open(tmp_path / "run")
    assert run.info["status"] == "training"
    assert not run.model.is_dir()
    partlabel.resume(run.path, report=False)
    one, other = _weights(undisturbed), _weights(run)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_interrupted_in_a_pass_it_says_how_to_go_on(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: FeaturePasses) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FeaturePasses, "largest", stop)
        with pytest.raises(Interrupted, match="go on with: partlabel train --resume"):
            _train(color_images[0], partial_labels, tmp_path / "run")
    assert partlabel.resume(tmp_path / "run", report=False).info["status"] == "done"


def test_a_training_can_start_from_it(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    """With the transform that its linear layer reads, which the settings of the new run keep."""
    images, truth = color_images
    first, _ = _train(images, partial_labels, tmp_path / "first", transform="sqrt")
    steps = {"method": "bce", "epochs": 1, "lr": 1e-12, "weight_decay": 0.0, "init": first.path}
    run, lines = _train(images, partial_labels, tmp_path / "run", **steps)
    assert any(line.startswith("transform 'sqrt' of the features, as in") for line in lines)
    assert run.settings.method_settings == {"transform": "sqrt"}
    one, other = (
        partlabel.evaluate(each, truth, images=images, report=False).mean_average_precision["raw"]
        for each in (first, run)
    )
    assert other == pytest.approx(one, abs=1e-6)
    with pytest.raises(UsageError, match="reads features with transform 'sqrt', and this training is told"):
        _train(images, partial_labels, tmp_path / "other", transform="none", **steps)
    plain, _ = _train(images, partial_labels, tmp_path / "plain", transform="none")
    run, _ = _train(images, partial_labels, tmp_path / "from plain", **{**steps, "init": plain.path})
    assert run.settings.method_settings == {}


def test_auto_says_what_has_no_effect_on_what_it_took(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    run, lines = _train(color_images[0], partial_labels, tmp_path / "run", method="auto", epochs=3, find_lr=True)
    assert run.settings.method == "discriminant"
    assert "discriminant takes no steps: epochs, find_lr without effect" in lines


def test_its_logits_are_probabilities(tmp_path: Path, color_images: Data) -> None:
    """Of all images, on average the prevalence of the class."""
    images, truth = color_images
    run, _ = _train(images, truth, tmp_path / "run", holdout=0)
    found = partlabel.predict(run, [images / name for name in truth.images])
    probability = 1 / (1 + np.exp(-found["logit"].to_numpy().reshape(len(truth), -1)))
    present = (truth.dense() > 0).mean(0)
    np.testing.assert_allclose(probability.mean(0), (len(truth) * present + 0.5) / (len(truth) + 1), atol=0.02)
