"""Self-training against loops over cells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit
from torch import Tensor

import partlabel
from partlabel.errors import RunError, UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Seen
from partlabel.methods.build import build_method
from partlabel.methods.catalogue import check_start, entry
from partlabel.methods.self_training import SelfTraining, SelfTrainingConfig, matched
from partlabel.models.encoders.build import create_backbone

pytestmark = pytest.mark.slow

STATES = np.random.default_rng(0).integers(-1, 2, (30, 3)).astype(np.int8)
STATES[:, 2] = np.where(STATES[:, 2] == -1, 0, STATES[:, 2])  # no absent cell of this class is known
LOGITS = 2 * torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
START, LATER = Clock(0, 0, 2, 4), Clock(0, 1, 2, 4)


def _method(**settings: Any) -> SelfTraining:
    table = LabelTable.from_dense([f"{row}.png" for row in range(30)], ("a", "b", "c"), STATES)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method: Any = build_method("self_training", settings, backbone, Context(table))
    return method


def _look(index: Tensor | None = None) -> Iterator[Seen]:
    for part in torch.arange(30).split(7):
        yield Seen(part, torch.zeros(len(part), 2), LOGITS[part])


def _soft(row: int, column: int) -> float:
    known = STATES[:, column][STATES[:, column] != 0]
    if not (known == -1).any():
        return float(expit(float(LOGITS[row, column])))
    share = ((known == 1).sum() + 0.5) / (len(known) + 1)
    unknown = LOGITS[:, column].numpy()[STATES[:, column] == 0]
    offset = brentq(lambda b: expit(unknown + b).mean() - share, -50, 50)
    return float(expit(float(LOGITS[row, column]) + offset))


def test_soft_labels_are_brought_to_the_known_prevalence() -> None:
    found = matched(LOGITS, torch.from_numpy(STATES))
    for row, column in zip(*np.nonzero(STATES == 0), strict=True):
        assert float(found[row, column]) == pytest.approx(_soft(row, column), abs=1e-5)


@pytest.mark.parametrize("loss", ["bce", "asl"])
def test_the_objective_is_that_of_the_loops(loss: str) -> None:
    method = _method(loss=loss, soft_weight=0.3)
    assert method.refresh_due(START)
    assert not method.refresh_due(LATER)
    assert not method.refresh_due(Clock(1, 2, 2, 4))
    method.refresh(START, _look)
    index = torch.tensor([3, 8, 20, 21])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    losses = method.objective({"logits": logits}, torch.from_numpy(STATES[index]), index, LATER)
    known, unknown = [], []
    for place, row in enumerate(index.tolist()):
        for column in range(3):
            p, state = float(expit(float(logits[place, column]))), STATES[row, column]
            if state == 0:
                q = _soft(row, column)
                unknown.append(-q * np.log(p) - (1 - q) * np.log(1 - p))
            elif loss == "bce":
                known.append(-np.log(p) if state == 1 else -np.log(1 - p))
            else:
                shifted = max(p - 0.05, 0)
                known.append(-np.log(p) if state == 1 else -(shifted**4) * np.log(1 - shifted))
    assert float(losses["supervised"]) == pytest.approx(np.mean(known), rel=1e-5)
    assert float(losses["soft"]) == pytest.approx(np.mean(unknown), abs=1e-3)
    assert float(losses["total"]) == pytest.approx(np.mean(known) + 0.3 * np.mean(unknown), abs=1e-3)


def test_before_it_has_looked_unknown_cells_count_for_nothing() -> None:
    losses = _method().objective({"logits": LOGITS}, torch.from_numpy(STATES), torch.arange(30), START)
    assert float(losses["soft"]) == 0


def test_defaults() -> None:
    assert SelfTrainingConfig() == SelfTrainingConfig(loss="bce", soft_weight=1.0, transform="none", pool="avg")
    assert entry("self_training").reads_unknown == "soft"
    assert entry("self_training", {"soft_weight": 0}).reads_unknown == "ignored"


def test_without_a_run_to_start_from_it_is_refused(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    with pytest.raises(UsageError, match=r"learns from the predictions of an earlier run; name it \(init"):
        partlabel.train(
            partial_labels,
            images=color_images[0],
            out=tmp_path / "run",
            method="self_training",
            backbone="test_resnet",
            pretrained=False,
        )
    assert not (tmp_path / "run").exists()
    check_start("bce", None)
    check_start("self_training", tmp_path)


def test_it_learns_from_the_run_that_it_starts_from(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    """Of two teachers, with the same known labels, it takes two ways."""
    images = color_images[0]
    how: dict[str, Any] = {
        "images": images,
        "backbone": "test_resnet",
        "pretrained": False,
        "size": 32,
        "freeze": True,
        "accelerator": "cpu",
        "report": False,
    }
    found = []
    for name in ("good", "bad"):
        teacher = partlabel.train(partial_labels, out=tmp_path / name, method="discriminant", seed=len(name), **how)
        run = partlabel.train(
            partial_labels,
            out=tmp_path / f"from {name}",
            method="self_training",
            init=teacher.path,
            epochs=2,
            lr=1e-3,
            **how,
        )
        found.append(run.log()[-1]["loss_soft"])
        assert float(found[-1]) > 0
    assert found[0] != found[1]


def test_what_cannot_teach_it_is_refused(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    """Another head, other classes, another backbone."""
    images = color_images[0]
    how: dict[str, Any] = {
        "images": images,
        "backbone": "test_resnet",
        "pretrained": False,
        "size": 32,
        "freeze": True,
        "accelerator": "cpu",
        "report": False,
    }
    renamed = LabelTable.from_dense(partial_labels.images, ("red", "green", "grey"), partial_labels.dense())
    cases = {
        "head": (partial_labels, {"method": "saliency", "epochs": 1}),
        "classes": (renamed, {"method": "discriminant"}),
        "backbone": (partial_labels, {"method": "discriminant", "backbone": "test_convnext"}),
    }
    for name, (labels, settings) in cases.items():
        teacher = partlabel.train(labels, out=tmp_path / name, **{**how, **settings})
        with pytest.raises(RunError, match=r"cannot teach this training: it has \d+ of \d+ tensors|no weight of"):
            partlabel.train(
                partial_labels, out=tmp_path / f"from {name}", method="self_training", init=teacher.path, **how
            )
