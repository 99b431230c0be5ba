"""A truth is for the log: it counts what a method sets aside, and changes nothing."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partlabel
from partlabel.errors import LabelError, RunError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method
from partlabel.methods.build import build_method
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder
from partlabel.training.truth import truth_columns, truth_counts

TINY: dict[str, Any] = {
    "method": "coselection",
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 3,
    "batch_size": 16,
    "accelerator": "cpu",
    "report": False,
    "ramp": 1,
    "tau_h": 0.2,
    "tau_l": 0.3,
}
COLUMNS = [f"{which}_{side}" for which in ("first", "second") for side in ("high_loss", "low_loss")]


def _weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_bundle(run.model)[0].state_dict()


def _log(run: RunFolder) -> list[dict[str, str]]:
    with open(run.path / "log.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_weights_and_losses_are_the_same_bits_whatever_the_truth(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    images, truth = color_images
    opposite = LabelTable.from_dense(truth.images, truth.classes, -truth.dense())
    runs = {
        name: partlabel.train(partial_labels, images=images, out=tmp_path / name, truth=table, **TINY)
        for name, table in (("without", None), ("true", truth), ("opposite", opposite))
    }
    alone, wanted = _weights(runs["without"]), _log(runs["without"])
    assert not {name for name in wanted[0] if "precision" in name or "missed" in name}
    for name in ("true", "opposite"):
        for parameter, value in _weights(runs[name]).items():
            assert torch.equal(value, alone[parameter]), parameter
        rows = _log(runs[name])
        for row, same in zip(rows, wanted, strict=True):
            assert {key: row[key] for key in same if key != "seconds"} == {
                key: value for key, value in same.items() if key != "seconds"
            }
        assert {f"{column}_precision" for column in COLUMNS} <= rows[-1].keys()
        assert "first_high_loss_precision" not in rows[0] or rows[0]["first_high_loss_precision"] == ""
    assert (
        runs["without"].held_out(truth.classes).logits.tolist() == runs["true"].held_out(truth.classes).logits.tolist()
    )
    for true, other in zip(_log(runs["true"]), _log(runs["opposite"]), strict=True):
        assert float(true["missed_share"]) + float(other["missed_share"]) == pytest.approx(1, abs=1e-5)
    assert RunFolder(tmp_path / "true").truth_path.is_file()
    assert not RunFolder(tmp_path / "without").truth_path.exists()


def _method() -> Method[Any]:
    torch.manual_seed(0)
    context = Context(LabelTable.from_dense(["a.png"], ["x", "y", "z"], [[1, 1, 1]]))
    settings = {"tau_h": 0.3, "tau_l": 0.4, "ramp": 1}
    return build_method("coselection", settings, create_backbone("test_resnet", pretrained=False, size=32), context)


def test_counts_are_those_of_a_loop_over_cells() -> None:
    random, method, clock = np.random.default_rng(3), _method(), Clock(5, 5, 10, 10)
    states = random.integers(-1, 2, (20, 3)).astype(np.int8)
    truth = LabelTable.from_dense([f"{row}.png" for row in range(20)], ["x", "y", "z"], states)
    sums: dict[str, float] = {"total": 7.0}
    expected: dict[str, list[bool]] = {name: [] for name in COLUMNS}
    missed_of = dict.fromkeys(COLUMNS, 0)
    unknown: list[bool] = []
    for _ in range(3):
        index = torch.from_numpy(random.permutation(20)[:8])
        labels = torch.where(torch.rand(8, 3) < 0.3, torch.from_numpy(states[index.numpy()]), 0).to(torch.int8)
        outputs = {name: 2 * torch.randn(8, 3) for name in ("first", "second")}
        for name, value in truth_counts(truth, method, outputs, labels, index, clock).items():
            sums[name] = sums.get(name, 0.0) + float(value)
        aside = method.set_aside(outputs, labels, clock)
        for place, image in enumerate(index.tolist()):
            for column in range(3):
                if labels[place, column] != 0 or states[image, column] == 0:
                    continue
                unknown.append(states[image, column] == 1)
                for name in COLUMNS:
                    if aside[name][place, column]:
                        expected[name].append(states[image, column] == 1)
                        missed_of[name] += states[image, column] == 1
    columns = truth_columns(sums)
    assert sums == {"total": 7.0}
    assert columns["missed_share"] == pytest.approx(sum(unknown) / len(unknown))
    for name in COLUMNS:
        assert expected[name]
        assert columns[f"{name}_precision"] == pytest.approx(sum(expected[name]) / len(expected[name]))
        assert columns[f"{name}_recall"] == pytest.approx(missed_of[name] / sum(unknown))
    assert len(columns) == 1 + 2 * len(COLUMNS)


def test_a_share_of_nothing_has_no_column() -> None:
    assert truth_columns({"total": 1.0}) == {}
    nothing = {"truth.cells": 0.0, "truth.missed": 0.0, "truth.a.cells": 0.0, "truth.a.missed": 0.0}
    assert truth_columns(dict(nothing)) == {}
    assert truth_columns({**nothing, "truth.cells": 4.0, "truth.missed": 1.0}) == {"missed_share": 0.25, "a_recall": 0}


@pytest.mark.slow
def test_a_run_that_goes_on_counts_as_one_that_was_never_cut_off(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, at_steps: Any
) -> None:
    import shutil

    images, truth = color_images
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    keep = at_steps(
        lambda done: shutil.copytree(whole, cut, ignore=shutil.ignore_patterns(".owner*")) if done == 4 else None
    )
    partlabel.train(partial_labels, images=images, out=whole, truth=truth, checkpoint_every=1, reporter=keep, **TINY)
    unreadable = tmp_path / "unreadable"
    shutil.copytree(cut, unreadable)
    partlabel.resume(cut, report=False)
    wanted, found = (
        [{k: v for k, v in row.items() if k != "seconds"} for row in _log(RunFolder(run))] for run in (whole, cut)
    )
    assert found == wanted
    assert "first_high_loss_precision" in found[-1]
    write_table(partial_labels, unreadable / "truth.parquet")
    with pytest.raises(RunError, match=r"truth\.parquet is not what this run started with"):
        partlabel.resume(unreadable, report=False)


def test_a_truth_that_does_not_fit_is_refused_and_one_without_use_is_named(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    images, truth = color_images
    for what, part in (
        ("image", truth.select_images(truth.images[1:])),
        ("class", truth.select_classes(truth.classes[1:])),
    ):
        with pytest.raises(LabelError, match=f"the truth has no {what} '"):
            partlabel.train(partial_labels, images=images, out=tmp_path / "run", truth=part, **TINY)
    assert not (tmp_path / "run").exists()
    lines: list[str] = []

    class Lines(Silent):
        def say(self, text: str) -> None:
            lines.append(text)

    write_table(truth, tmp_path / "truth.csv")
    settings = {name: value for name, value in TINY.items() if not name.startswith(("tau", "ramp"))}
    run = partlabel.train(
        partial_labels,
        images=images,
        out=tmp_path / "bce",
        truth=tmp_path / "truth.csv",
        reporter=Lines(),
        **{**settings, "method": "bce"},
    )
    assert "bce sets no cells aside, so there is nothing to count against the truth" in lines
    assert "missed_share" in _log(run)[0]
