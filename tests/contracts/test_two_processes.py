"""Two real processes of batch B take the step of one process of batch 2B."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

SCRIPT = Path(__file__).with_name("two_processes.py")


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
            torch.testing.assert_close(two[method][name], gradient, msg=f"{method} {name}")


@pytest.mark.slow
def test_training_in_two_processes_makes_one_run(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    write_table(partial_labels, tmp_path / "labels.csv")
    command = (
        f"{sys.executable} -m partlabel train {tmp_path / 'labels.csv'} --images {color_images[0]} --out "
        f"{tmp_path / 'run'} --backbone test_resnet --from-scratch --set size=32 --epochs 2 --batch-size 8 --set "
        f"accelerator=cpu --set devices=2 "
        "--set strategy=ddp --quiet"
    )
    environment = {
        name: value for name, value in os.environ.items() if name not in {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    }
    subprocess.run(command.split(), check=True, timeout=300, env=environment)
    run = RunFolder(tmp_path / "run")
    assert run.info["status"] == "done"
    assert [row["epoch"] for row in run.log()] == ["1", "2"]
