"""Every optimizer and schedule goes on exactly where training was cut off, whichever step that was."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from partlabel.api.train import resume, train
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 3,
    "batch_size": 16,
    "accelerator": "cpu",
    "lr": 0.01,
    "checkpoint_every": 1,
    "holdout": 0.3,
    "report": False,
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "rmsprop, step": {"optimizer": "rmsprop", "schedule": "step", "step_epochs": (1, 2)},
    "TensorFlow's rmsprop, plateau": {"optimizer": "rmsprop_tf", "epsilon": 1, "schedule": "plateau"},
    "stopped inside, cycled": {"optimizer": "adam", "decay_on": "all", "schedule_epochs": 5, "cycle_momentum": True},
}


def _last(run: Path) -> dict[str, Any]:
    return torch.load(RunFolder(run).checkpoint("selection"), weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_from_every_step(
    schedule: str, color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, at_steps: Any
) -> None:
    settings = {**SETTINGS, **SCHEDULES[schedule]}
    whole, steps = tmp_path / "whole", tmp_path / "steps"
    keep = at_steps(lambda done: shutil.copytree(whole, steps / str(done), ignore=shutil.ignore_patterns(".owner*")))
    train(partial_labels, images=color_images[0], out=whole, reporter=keep, **settings)
    wanted, rates = _last(whole), {row["lr"] for row in RunFolder(whole).log()}
    assert len(rates) > 1, "the learning rate does not change: nothing is tried"
    assert ("plateau" in wanted) == (settings.get("schedule") == "plateau")
    for step in range(1, 6):
        resume(steps / str(step), report=False)
        found = _last(steps / str(step))
        for part in ("state_dict", "optimizer_states"):
            torch.testing.assert_close(found[part], wanted[part], rtol=0, atol=0)
        assert [found.get(part) for part in ("lr_schedulers", "plateau")] == [
            wanted.get(part) for part in ("lr_schedulers", "plateau")
        ]
        assert {row["lr"] for row in RunFolder(steps / str(step)).log()} == rates
