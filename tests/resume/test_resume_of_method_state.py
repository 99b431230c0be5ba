"""Tables that a method keeps for its images go on exactly where training was cut off."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from partlabel.api.train import resume, train
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

SETTINGS: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 3,
    "batch_size": 16,
    "accelerator": "cpu",
    "ema": 0.9,
    "lr": 0.01,
    "checkpoint_every": 1,
    "report": False,
}


def _last(run: Path) -> dict[str, Any]:
    return torch.load(RunFolder(run).checkpoint("selection"), weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "table", "own"),
    [
        ("role", "method.estimates", {}),
        ("entropy_maximization", "method.soft", {"warmup_epochs": 1}),
        ("hst", "method.bank.kept", {"from_epoch": 1, "hidden": 8, "reduction": 8, "pair_width": 8}),
        ("sarb", "method.prototypes", {"from_epoch": 1, "hidden": 8, "reduction": 8, "prototypes_every": 1}),
    ],
)
def test_from_every_step(
    method: str,
    table: str,
    own: dict[str, Any],
    color_images: tuple[Path, LabelTable],
    partial_labels: LabelTable,
    tmp_path: Path,
    at_steps: Any,
) -> None:
    whole, steps = tmp_path / "whole", tmp_path / "steps"
    keep = at_steps(lambda done: shutil.copytree(whole, steps / str(done), ignore=shutil.ignore_patterns(".owner*")))
    train(partial_labels, images=color_images[0], out=whole, reporter=keep, method=method, **own, **SETTINGS)
    wanted = _last(whole)
    assert not torch.equal(wanted["state_dict"][table], _last(steps / "1")["state_dict"][table])
    assert not any(table.rpartition(".")[2] in name for name in wanted["state_dict"] if name.startswith("average."))
    for step in range(1, 6):
        resume(steps / str(step), report=False)
        found = _last(steps / str(step))
        for name, value in wanted["state_dict"].items():
            assert value.equal(found["state_dict"][name]), (step, name)
        torch.testing.assert_close(found["optimizer_states"], wanted["optimizer_states"], rtol=0, atol=0)
