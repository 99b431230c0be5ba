"""`train --refine`: a fit, and steps from there, as one run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import partlabel
from partlabel.errors import UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder
from partlabel.runs.settings import TrainSettings, settings_of_fits
from partlabel.training.first_fit import fit_settings

pytestmark = pytest.mark.slow

FROZEN: dict[str, Any] = {
    "method": "discriminant",
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "accelerator": "cpu",
    "freeze": True,
    "report": False,
}
STEPS: dict[str, Any] = {**FROZEN, "refine": "bce", "epochs": 2, "batch_size": 16, "lr": 0.01}
Data = tuple[Path, LabelTable]


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def _weights(run: RunFolder | Path) -> dict[str, torch.Tensor]:
    return load_file((run if isinstance(run, Path) else run.path) / "model" / "model.safetensors")


def _same(one: RunFolder | Path, other: RunFolder | Path) -> bool:
    first, second = _weights(one), _weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "more",
    [{}, {"refine": "asl", "transform": "sqrt"}, {"refine": "self_training", "stages": 2}, {"refit": True}],
    ids=["bce", "asl", "self_training", "refit"],
)
def test_it_is_what_two_runs_give(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, more: dict[str, Any]
) -> None:
    images = color_images[0]
    run = partlabel.train(partial_labels, images=images, out=tmp_path / "run", **{**STEPS, **more})
    shared = {name: more[name] for name in ("transform", "stages") if name in more}
    first = partlabel.train(partial_labels, images=images, out=tmp_path / "first", **{**FROZEN, **shared})
    assert _same(run.path / "start", first)
    settings = {**STEPS, **more, "method": more.get("refine", "bce"), "refine": None}
    second = partlabel.train(partial_labels, images=images, out=tmp_path / "second", init=first.path, **settings)
    assert _same(run, second)
    assert not _same(run, first)
    assert run.settings.model_copy(update={"devices": "auto"}) == second.settings.model_copy(update={"devices": "auto"})


def test_no_held_out_cell_was_seen_by_the_fit(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    """The two hold out the same cells."""
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **STEPS, holdout=0.3)
    fit = RunFolder.open(run.path / "start")
    one, other = (each.held_out(partial_labels.classes) for each in (run, fit))
    assert one.images == other.images
    assert one.image_index.tolist() == other.image_index.tolist()
    assert one.class_index.tolist() == other.class_index.tolist()


def test_with_the_last_stage_trained(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    """Which has features of one stage; by the rules the fit would take two."""
    settings = {**STEPS, "method": "auto", "train_last": 1, "size": 64}
    lines = Lines()
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **settings, reporter=lines)
    assert any(line.startswith("auto takes discriminant: ") for line in lines.lines)
    assert (run.settings.method, run.settings.train_last, run.settings.stages) == ("bce", 1, 1)
    start = RunFolder.open(run.path / "start").settings
    assert (start.method, start.train_last, start.stages, start.epochs) == ("discriminant", 0, 1, 15)
    first, last = _weights(run.path / "start"), _weights(run)
    moved = {
        name.split(".")[2] for name in first if name.startswith("backbone") and not torch.equal(first[name], last[name])
    }
    assert moved == {"layer4"}
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "two", **{**STEPS, "method": "auto"})
    assert run.settings.stages == RunFolder.open(run.path / "start").settings.stages == 2


def test_the_fit_has_the_settings_that_a_fit_follows() -> None:
    others: dict[str, Any] = {
        "backbone": "test_vit",
        "pretrained": False,
        "backbone_args": {"a": 1},
        "size": 64,
        "preprocessing": "imagenet",
        "freeze": True,
        "maps_by": "onnxruntime",
        "joint_space": "projected",
        "stages": 2,
        "holdout": 0.2,
        "holdout_by": "images",
        "refit": True,
        "seed": 5,
        "max_image_mb": 7,
        "workers": 3,
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "ddp",
    }
    assert others.keys() == settings_of_fits()
    plain = TrainSettings()
    others = {name: value for name, value in others.items() if name != "preprocessing"}
    assert all(getattr(plain, name) != value for name, value in others.items())
    steps = TrainSettings(**others, method="bce", epochs=3, method_settings={"pool": "max", "transform": "sqrt"})
    found = fit_settings("discriminant", steps)
    assert {name: getattr(found, name) for name in others} == {**others, "refit": False}
    assert (found.method, found.method_settings) == ("discriminant", {"pool": "max", "transform": "sqrt"})
    assert found.epochs == plain.epochs


def test_a_backbone_with_one_stage_gives_one_to_both(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    settings = {**STEPS, "method": "auto", "backbone": "xcit_nano_12_p16_224", "epochs": 1}
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **settings)
    assert run.settings.stages == run.start.settings.stages == 1


def test_stages_are_as_the_user_says(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    settings = {**STEPS, "method": "auto", "stages": 1, "epochs": 1}
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **settings)
    assert run.settings.stages == run.start.settings.stages == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "bce"}, "such as discriminant, and bce takes steps; to go on from a run of it, give that run as"),
        ({"refine": "discriminant"}, "method discriminant is fitted at once and takes no steps"),
        ({"refine": "colearning"}, "refine 'colearning': it cannot start from a fitted layer; bce, asl, focal or"),
        ({"freeze": False}, "refine goes on from a fit to the features of a frozen backbone; add --freeze"),
        ({"refine": "bse"}, "bse"),
        ({"refine": "auto"}, "refine names the method of the steps that follow a fit, such as bce"),
        ({"devices": 2}, "find_lr, refine and refit train several times"),
        ({"init": "elsewhere"}, "refine starts from a fit and init from an earlier run; leave one of them out"),
        ({"shrinkage": 0.5}, "no setting 'shrinkage'"),
    ],
)
def test_what_cannot_follow_is_refused(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", **{**STEPS, **settings})
    assert said in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, color_images: Data, partial_labels: LabelTable) -> RunFolder:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    return partlabel.train(partial_labels, images=color_images[0], out=out, **STEPS)


# Imports once, and forks before torch computes anything. Each child runs the command into a folder of its own, and is
# killed where a function is called.
KILLED = """
import json, os, signal, sys
from partlabel.cli import main
from partlabel.training import first_fit, phases

def dies(module, function, after, again):
    called = getattr(module, function)
    def stop(*arguments, **named):
        if again and len(arguments[0].log()) == 1:
            return called(*arguments, **named)
        if after:
            called(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(module, function, stop)

for name, (module, function, after, again) in json.loads(sys.argv.pop(1)).items():
    child = os.fork()
    if child == 0:
        dies(globals()[module], function, after, again)
        sys.argv[:] = ["partlabel", *(word.replace("{name}", name) for word in sys.argv[1:])]
        main()
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, name
"""
MOMENTS = {
    "in the fit": ("phases", "fit_features", False, False),
    "the fit is there, its status is not": ("phases", "save_bundle", True, False),
    "before the first step": ("first_fit", "with_features_of", False, False),
    "at the end": ("phases", "_score_held_out", False, True),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, color_images: Data, partial_labels: LabelTable) -> Path:
    """The folder with a run for each of `MOMENTS`, whose command was killed then."""
    folder = tmp_path_factory.mktemp("killed")
    write_table(partial_labels, folder / "labels.parquet")
    words = (
        "--method discriminant --refine bce --backbone test_resnet --from-scratch --freeze --set size=32 "
        "--set accelerator=cpu --epochs 2 --batch-size 16 --lr 0.01"
    )
    files = ["train", str(folder / "labels.parquet"), "--images", str(color_images[0]), "--out", f"{folder}/{{name}}"]
    subprocess.run([sys.executable, "-c", KILLED, json.dumps(MOMENTS), *files, *words.split()], check=True)
    return folder


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere_it_ends_with_the_same_bits(
    tmp_path: Path, color_images: Data, undisturbed: RunFolder, killed: Path, moment: str
) -> None:
    run = RunFolder.open(killed / moment)
    assert run.info["status"] == "training"
    fitted = run.start.info["status"] == "done" and (run.start.model / "model.json").stat().st_mtime_ns
    moved = shutil.copytree(color_images[0], tmp_path / "moved")
    partlabel.resume(run.path, images=moved, report=False)
    assert not fitted or (run.start.model / "model.json").stat().st_mtime_ns == fitted
    assert run.start.inputs == run.inputs
    assert run.inputs["images"] == str(moved)
    assert _same(run, undisturbed)
    assert _same(run.path / "start", undisturbed.path / "start")
    assert run.settings == undisturbed.settings


def test_the_report_and_the_run_tell_of_it(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    settings = {**STEPS, "report": True, "method": "auto", "holdout": 0.3}
    lines = Lines()
    run = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "run", reporter=lines, **settings)
    before, after = (100 * one.info["held_out"]["mAP"] for one in (run.start, run))
    assert f"held-out mAP {after:.2f} after the steps, {before:.2f} before, of the fit that is kept as" in str(
        lines.lines
    )
    page = (run.path / "report.html").read_text()
    assert "auto took discriminant for these labels" in page
    assert "Training started from a discriminant fit to the same cells (in start/), whose held-out mAP is" in page
    assert json.loads((run.path / "run.json").read_text())["start"]["method"] == "discriminant"
