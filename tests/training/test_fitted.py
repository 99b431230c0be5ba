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
from partlabel.errors import Interrupted, RunError, UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder
from partlabel.training import phases
from partlabel.training.phase import Phase

pytestmark = pytest.mark.slow

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
    selection, refit = again.log()
    for name in ("transform", "shrinkage", "slope", "soft_weight", "shrinkage_of_first_pass"):
        assert selection[name] == refit[name]
    assert not torch.equal(_weights(again)["head.linear.weight"], one["head.linear.weight"])


def test_a_refit_reads_all_known_cells(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    """Where nothing is left to choose but slopes, it is what all cells give at once."""
    fixed = {"transform": "none", "shrinkage": 0.9, "soft_weight": 0.5}
    refit, _ = _train(color_images[0], partial_labels, tmp_path / "refit", holdout=0.3, refit=True, **fixed)
    everything, _ = _train(color_images[0], partial_labels, tmp_path / "all", holdout=0, **fixed)
    fewer, _ = _train(color_images[0], partial_labels, tmp_path / "fewer", holdout=0.3, **fixed)
    one, other, less = (_weights(run)["head.linear.weight"] for run in (refit, everything, fewer))
    cosine = torch.nn.functional.cosine_similarity
    assert (cosine(one, other) > 0.99).all()
    assert (cosine(one, other) > cosine(one, less)).all()


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


def test_what_starts_from_two_stages_has_two(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    images = color_images[0]
    first, _ = _train(images, partial_labels, tmp_path / "first", transform="none", stages=2)
    steps = {"epochs": 1, "lr": 1e-9, "init": first.path}
    for method in ("bce", "hill", "auto"):
        more = {"freeze": False} if method == "auto" else {}
        run, lines = _train(images, partial_labels, tmp_path / method, method=method, **steps, **more)
        assert run.settings.stages == 2
        assert any(line.startswith("92 of 92 tensors start from") for line in lines)
        assert any(line.startswith("stages 2, as in") for line in lines)
    with pytest.raises(UsageError, match="reads features of two stages, which train_last, train_parts and joint_space"):
        _train(images, partial_labels, tmp_path / "last", method="bce", train_last=1, **steps)
    with pytest.raises(UsageError, match="reads features of two stages, which train_last, train_parts and joint_space"):
        _train(images, partial_labels, tmp_path / "p", method="bce", train_parts="last_stage", freeze=False, **steps)
    with pytest.raises(UsageError, match="reads features of stages 2, the one of this training of stages 1"):
        _train(images, partial_labels, tmp_path / "one", method="bce", stages=1, **steps)


def test_what_nothing_can_be_said_of_is_null(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    states = np.zeros(partial_labels.shape, np.int8)
    states[0] = 1
    labels = LabelTable.from_dense(partial_labels.images, partial_labels.classes, states)
    run, _ = _train(color_images[0], labels, tmp_path / "run", holdout=0, transform="none", soft_weight=0)
    assert run.info["fitted"]["folds_mAP"] is None
    assert run.info["fitted"]["shrinkage"] == 0.95


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


def test_classes_without_a_known_absent_cell_are_told(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    dense = partial_labels.dense().copy()
    dense[:, 1] = np.maximum(dense[:, 1], 0)
    labels = LabelTable.from_dense(partial_labels.images, partial_labels.classes, dense)
    _, lines = _train(color_images[0], labels, tmp_path / "run")
    assert any(line.startswith("no absent cell is known of 1 of 3 classes: their probabilities are") for line in lines)
    _, lines = _train(color_images[0], partial_labels, tmp_path / "both")
    assert not any("no absent cell is known" in line or "read in the same way" in line for line in lines)


def test_the_report_tells_of_no_steps(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **FROZEN)
    page = (run.path / "report.html").read_text()
    assert "fitted at once, seed 0" in page
    assert "15 epochs" not in page


def test_auto_takes_nothing_that_is_fitted_where_a_stage_is_to_be_trained(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    more = {"method": "auto", "train_last": 1, "epochs": 1}
    run, _ = _train(color_images[0], partial_labels, tmp_path / "run", **more, size=64)
    assert run.settings.method != "discriminant"


@pytest.mark.parametrize("method", ["large_loss", "hill", "lsep"])
def test_methods_that_read_features_as_they_are_do_not_start_from_square_roots(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, method: str
) -> None:
    images = color_images[0]
    first, _ = _train(images, partial_labels, tmp_path / "first", transform="sqrt")
    with pytest.raises(UsageError, match="reads features with transform 'sqrt', the one of this training with 'none'"):
        _train(images, partial_labels, tmp_path / "run", method=method, init=first.path)
    wide, _ = _train(images, partial_labels, tmp_path / "max", transform="none", pool="max")
    with pytest.raises(UsageError, match="reads features with pool 'max', the one of this training with 'avg'"):
        _train(images, partial_labels, tmp_path / "other", method=method, init=wide.path)


def test_it_takes_the_backbone_of_an_earlier_run_and_no_head(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    images = color_images[0]
    first, _ = _train(images, partial_labels, tmp_path / "first", method="bce", epochs=1, freeze=False)
    run, lines = _train(images, partial_labels, tmp_path / "run", init=first.path)
    one, other = _weights(first), _weights(run)
    assert any(line.startswith("90 of 90 tensors start from") for line in lines)
    assert all(torch.equal(one[name], other[name]) for name in one if name.startswith("backbone."))


def test_a_refit_that_has_not_begun_needs_the_run_that_it_starts_from(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would start from random weights without a word."""
    images = color_images[0]
    first, _ = _train(images, partial_labels, tmp_path / "first")
    trained = phases._trained

    def until_the_refit(run: RunFolder, phase: Phase, *more: Any) -> Any:
        if phase.name == "refit":
            raise KeyboardInterrupt
        return trained(run, phase, *more)

    with monkeypatch.context() as patched:
        patched.setattr(phases, "_trained", until_the_refit)
        with pytest.raises(Interrupted):
            _train(
                images, partial_labels, tmp_path / "run", method="bce", init=first.path, epochs=1, lr=1e-9, refit=True
            )
    kept = tmp_path / "kept"
    first.path.rename(kept)
    with pytest.raises(RunError, match="first is no run folder"):
        partlabel.resume(tmp_path / "run", report=False)
    kept.rename(first.path)
    run = partlabel.resume(tmp_path / "run", report=False)
    one, other = _weights(first), _weights(run)
    torch.testing.assert_close(other["head.linear.weight"], one["head.linear.weight"], atol=1e-6, rtol=1e-6)
