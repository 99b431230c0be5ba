"""Training that was cut off goes on to the very same weights, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from partlabel.api.train import resume, train
from partlabel.errors import Interrupted, RunError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 2,
    "batch_size": 8,
    "accelerator": "cpu",
    "method": "saliency",
    "ema": 0.9,
    "lr": 0.01,
    "checkpoint_every": 1,
    "select": "best",
    "report": False,
}


def _weights(run: Path) -> dict[str, Any]:
    return load_file(run / "model" / "model.safetensors")


def _same(one: Path, other: Path) -> None:
    mine, theirs = _weights(one), _weights(other)
    assert mine.keys() == theirs.keys()
    different = [name for name in mine if not mine[name].equal(theirs[name])]
    assert not different


def _log(run: Path) -> list[tuple[str, ...]]:
    return [(row["epoch"], row["loss"], row["lr"], row["held_out_mAP"]) for row in RunFolder(run).log()]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    color_images: tuple[Path, LabelTable],
    partial_labels: LabelTable,
    at_steps: Any,
) -> Path:
    """A run that nothing interrupted, with a copy of the folder after each step."""
    out = tmp_path_factory.mktemp("whole") / "run"
    steps = out.parent / "steps"
    keep = at_steps(lambda done: shutil.copytree(out, steps / str(done), ignore=shutil.ignore_patterns(".owner*")))
    train(partial_labels, images=color_images[0], out=out, reporter=keep, **SETTINGS)
    return out


@pytest.mark.parametrize("step", range(1, 9))
def test_from_every_step(step: int, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole.parent / "steps" / str(step), run)
    resume(run, report=False)
    _same(run, whole)
    assert _log(run) == _log(whole)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_kill_9(whole: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path) -> None:
    for workers in (1, 4):
        run, table = tmp_path / f"run{workers}", tmp_path / "labels.csv"
        write_table(partial_labels, table)
        settings = {name: str(value).lower() for name, value in SETTINGS.items() if name != "report"}
        options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        command = [
            sys.executable,
            "-m",
            "partlabel",
            "train",
            str(table),
            "--images",
            str(color_images[0]),
            "--out",
            str(run),
        ]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen(
            [*command, *options, "--workers", str(workers)], start_new_session=True, env=environment
        )
        deadline = time.monotonic() + 120
        while not (run / "checkpoints" / "selection-last.ckpt").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (run / "model").exists()
        resume(run, report=False)
        _same(run, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_leaves_a_resumable_run(
    number: signal.Signals,
    whole: Path,
    color_images: tuple[Path, LabelTable],
    partial_labels: LabelTable,
    at_steps: Any,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    press = at_steps(lambda done: os.kill(os.getpid(), number) if done == 2 else None)
    with pytest.raises(Interrupted, match=r"stopped after step 3 of 8; go on with: partlabel train --resume"):
        train(partial_labels, images=color_images[0], out=run, reporter=press, **{**SETTINGS, "checkpoint_every": 0})
    resume(run, report=False)
    _same(run, whole)


def test_no_checkpoint_holds_a_half_summed_gradient(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, at_steps: Any, tmp_path: Path
) -> None:
    """Three batches make a step, so that neither an epoch (4 batches) nor every second batch ends with one."""
    settings = {**SETTINGS, "method": "assume_negative", "accumulate": 3, "checkpoint_every": 2}
    whole = tmp_path / "whole"
    train(partial_labels, images=color_images[0], out=whole, **settings)
    for step in (2, 4, 5, 7):

        def stop(done: int, step: int = step) -> None:
            if done == step:
                raise Interrupted("killed")

        run = tmp_path / f"run{step}"
        with pytest.raises(Interrupted, match="killed"):
            train(partial_labels, images=color_images[0], out=run, reporter=at_steps(stop), **settings)
        resume(run, report=False)
        _same(run, whole)


def test_a_finished_run_is_left_alone_and_a_changed_one_refused(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    before = (run / "model" / "model.safetensors").stat().st_mtime_ns
    resume(run)
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == before

    RunFolder(run).update(status="training", inputs={**RunFolder(run).info["inputs"], "labels_hash": "0"})
    with pytest.raises(RunError, match="not what this run started with"):
        resume(run)
    (run / "checkpoints" / "selection-last.ckpt").write_bytes(b"torn")
    RunFolder(run).update(inputs={**RunFolder(run).info["inputs"], "labels_hash": RunFolder(run).labels().hash})
    with pytest.raises(RunError, match="cannot be read"):
        resume(run)
    with pytest.raises(RunError, match="no run folder"):
        resume(tmp_path / "nothing")
