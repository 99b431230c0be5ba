"""A small run with names that HTML must not believe, made by training once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from partlabel.api.train import train
from partlabel.labels import LabelTable
from partlabel.recovery import Calibration, ClassThreshold, PrecisionThresholds, Suggestions, suggest
from partlabel.runs.folder import RunFolder

CLASSES = ("<script>alert('red')</script>", 'green & "<b>', "blue")
AWKWARD_NAME = 'a "quoted" & <i>.png'


class Case(NamedTuple):
    """A finished run with all that a report can show."""

    run: RunFolder
    images: Path
    truth: LabelTable
    suggestions: Suggestions


@pytest.fixture(scope="session")
def trained(color_images: tuple[Path, LabelTable], tmp_path_factory: pytest.TempPathFactory) -> Case:
    source, complete = color_images
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(source, folder / "images")
    names = [AWKWARD_NAME if number == 4 else name for number, name in enumerate(complete.images)]
    (folder / "images" / complete.images[4]).rename(folder / "images" / AWKWARD_NAME)
    truth = LabelTable.from_dense(names, CLASSES, complete.dense())
    hidden = np.random.default_rng(1).random(truth.shape) > 0.6
    table = LabelTable.from_dense(names, CLASSES, np.where(hidden, 0, truth.dense()))
    run = train(
        table,
        images=folder / "images",
        out=folder / "run",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        epochs=2,
        batch_size=16,
        lr=1e-2,
        holdout=0.4,
        refit=True,
        accelerator="cpu",
    )
    return Case(run, folder / "images", truth, suggested(table, np.random.default_rng(2).normal(2, 1, table.shape)))


def suggested(table: LabelTable, logits: NDArray[np.float64]) -> Suggestions:
    """Suggestions by a calibration that leaves the logits alone and a threshold of 0.2 for every class."""
    calibration = Calibration(table.classes, np.zeros(len(table.classes)), np.ones(len(table.classes)))
    entries = tuple(ClassThreshold(name, "pooled", 9, 9, 0.2, 10, 5, 0.5, 0.3) for name in table.classes)
    thresholds = PrecisionThresholds(0.5, 10, 50, entries)
    return suggest(table, [(np.arange(len(table)), logits)], calibration, thresholds)


@pytest.fixture(scope="session")
def make_suggestions() -> Callable[[LabelTable, NDArray[np.float64]], Suggestions]:
    return suggested


@pytest.fixture
def case(trained: Case, tmp_path: Path) -> Case:
    """A copy of the trained run, without a report, that a test may damage."""
    shutil.copytree(trained.run.path, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))
    shutil.copytree(trained.images, tmp_path / "images")
    return trained._replace(run=RunFolder.open(tmp_path / "run"), images=tmp_path / "images")
