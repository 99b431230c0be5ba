"""Two real processes of batch B take the step of one process of batch 2B."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import partlabel
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

SCRIPT = Path(__file__).with_name("two_processes.py")
GAPS = {"prior", "theta"}
"""Buffers that are NaN where a prior says nothing."""


@pytest.mark.slow
def test_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(tmp_path / "store"), str(tmp_path / "gradients.pt")]
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=400) for process in processes] == [0, 0]
    two = torch.load(tmp_path / "gradients.pt", weights_only=True)
    one = script.gradients(0, 1)
    assert one.keys() == two.keys()
    for method, gradients in one.items():
        for name, gradient in gradients.items():
            gaps = name in GAPS
            torch.testing.assert_close(two[method][name], gradient, msg=f"{method} {name}", equal_nan=gaps)


@pytest.mark.slow
def test_training_in_two_processes_makes_the_run_of_one(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    """The same learning rates, where what the first process judges changes them, the same weights, and one output."""
    write_table(partial_labels, tmp_path / "labels.csv")
    settings: dict[str, Any] = {
        "size": 32,
        "accelerator": "cpu",
        "epochs": 4,
        "lr": 0.1,
        "optimizer": "sgd",
        "schedule": "plateau",
        "schedule_factor": 0.5,
        "holdout": 0.3,
        "frozen_norm": True,
    }
    command = (
        f"{sys.executable} -m partlabel train {tmp_path / 'labels.csv'} --images {color_images[0]} --out "
        f"{tmp_path / 'two'} --backbone test_resnet --from-scratch --set batch_size=4 --set devices=2 "
        f"--set strategy=ddp --quiet {' '.join(f'--set {name}={value}' for name, value in settings.items())}"
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    }
    done = subprocess.run(command.split(), check=True, timeout=600, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{tmp_path / 'two'}\n"
    assert "GLOBAL_RANK" not in done.stderr
    two = RunFolder(tmp_path / "two")
    assert two.info["status"] == "done"
    one = partlabel.train(
        tmp_path / "labels.csv",
        images=color_images[0],
        out=tmp_path / "one",
        backbone="test_resnet",
        pretrained=False,
        batch_size=8,
        report=False,
        **settings,
    )
    rates = [row["lr"] for row in one.log()]
    assert rates == ["0.1", "0.1", "0.05", "0.025"]  # nothing is better than the held-out mAP of 1 after an epoch
    assert [row["lr"] for row in two.log()] == rates
    weights, theirs = (load_file(run.model / "model.safetensors") for run in (one, two))
    torch.testing.assert_close(theirs, weights, rtol=0, atol=1e-5)
