"""The loop's promises: the rate that is logged, what a checkpoint leaves out, ruined weights, a caller's generators."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import partlabel
from partlabel.errors import Interrupted, NotFiniteError, RunError
from partlabel.labels import LabelTable
from partlabel.training.ema import MovingAverage
from partlabel.training.frozen import DIGEST

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 1,
    "batch_size": 8,
    "accelerator": "cpu",
    "report": False,
}


def test_the_log_has_the_rates_that_were_used(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    run = partlabel.train(
        table, images=root, out=tmp_path / "run", **{**TINY, "epochs": 5, "batch_size": 64, "lr": 1e-3}
    )
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=5, pct_start=0.3, cycle_momentum=False)
    used = []
    for _ in range(5):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert [float(row["lr"]) for row in run.log()] == pytest.approx(used, rel=1e-5)


def test_checkpoints_leave_frozen_weights_out_and_go_on_exactly(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, at_steps: Any, tmp_path: Path
) -> None:
    def stop(done: int) -> None:
        if done == 3:
            raise Interrupted("here")

    settings = {**TINY, "freeze": True, "train_last": 1, "ema": 0.9, "lr": 0.01, "checkpoint_every": 1, "epochs": 2}
    whole = partlabel.train(partial_labels, images=color_images[0], out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted, match="here"):
        partlabel.train(
            partial_labels, images=color_images[0], out=tmp_path / "cut", reporter=at_steps(stop), **settings
        )
    path = Path("checkpoints") / "selection-last.ckpt"
    checkpoint = torch.load(tmp_path / "cut" / path, weights_only=True)
    shipped = load_file(whole.model / "model.safetensors")
    kept = {name.removeprefix("method.tagger.") for name in checkpoint["state_dict"]}
    missing = shipped.keys() - kept
    assert missing
    assert kept & shipped.keys()
    for name in missing:
        assert f"average.network.{name}" not in checkpoint["state_dict"]

    older, other = tmp_path / "older", tmp_path / "other"
    shutil.copytree(tmp_path / "cut", older)
    shutil.copytree(tmp_path / "cut", other)
    torch.save({**checkpoint, DIGEST: "0"}, other / path)
    with pytest.raises(RunError, match="frozen weights are not those"):
        partlabel.resume(other)
    full = {f"{where}{name}": shipped[name] for name in missing for where in ("method.tagger.", "average.network.")}
    checkpoint["state_dict"] |= full
    del checkpoint[DIGEST]
    torch.save(checkpoint, older / path)
    for run in (tmp_path / "cut", older):
        found = load_file(partlabel.resume(run, report=False).model / "model.safetensors")
        assert [name for name in shipped if not shipped[name].equal(found[name])] == []


def test_weights_that_the_last_step_ruins_are_no_result(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    hot = {**TINY, "batch_size": 64, "holdout": 0, "lr": 1e38, "schedule": "constant", "optimizer": "sgd"}
    with pytest.raises(NotFiniteError, match="not finite"):
        partlabel.train(table, images=root, out=tmp_path / "run", **hot)


def test_a_callers_generator_and_logger_are_given_back(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    partlabel.train(table, images=root, out=tmp_path / "run", **TINY)
    assert torch.equal(torch.rand(4), expected)
    assert logger.level == before


def test_warm_up_of_the_average_makes_a_difference(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    found = [
        load_file(
            partlabel.train(
                table, images=root, out=tmp_path / str(warmup), ema=0.99, ema_warmup=warmup, lr=0.01, **TINY
            ).model
            / "model.safetensors"
        )["head.linear.weight"]
        for warmup in (True, False)
    ]
    assert not torch.equal(*found)
    first = MovingAverage(torch.nn.Linear(1, 1), 0.99, warmup=False)
    other = torch.nn.Linear(1, 1)
    begin = first.network.weight.detach().clone()  # type: ignore[union-attr,operator]
    first.update(other)
    torch.testing.assert_close(first.network.weight, 0.99 * begin + 0.01 * other.weight.detach())
