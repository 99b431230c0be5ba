"""The limit of one image has one name in every verb that decodes; a run keeps the one it was trained with."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import partlabel
from partlabel.cli.app import app
from partlabel.errors import ImageError, UsageError
from partlabel.images.limits import DEFAULT_MAX_IMAGE_MB
from partlabel.labels import LabelTable
from partlabel.runs.settings import TrainSettings

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False, "size": 32, "epochs": 1, "accelerator": "cpu"}
REFUSED = r"wide\.png', 3000 × 1000 pixels, takes 12 MB to decode, more than the limit of 10 MB; .*--max-image-mb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, color_images: tuple[Path, LabelTable]) -> Path:
    root = tmp_path_factory.mktemp("limit") / "images"
    shutil.copytree(color_images[0], root)
    Image.new("RGB", (3000, 1000), "red").save(root / "wide.png")  # 12 MB in memory, 9 kB on disk
    return root


@pytest.fixture(scope="module")
def run(folder: Path, color_images: tuple[Path, LabelTable]) -> partlabel.RunFolder:
    return partlabel.train(
        color_images[1], images=folder, out=folder.parent / "run", holdout=0.3, max_image_mb=10, report=False, **TINY
    )


def with_wide(labels: LabelTable) -> LabelTable:
    states = np.ones((1, len(labels.classes)), np.int8)
    return LabelTable.from_dense([*labels.images, "wide.png"], labels.classes, np.concatenate([labels.dense(), states]))


def test_training_refuses_and_can_be_told(folder: Path, color_images: tuple[Path, LabelTable], tmp_path: Path):
    labels = with_wide(color_images[1])
    with pytest.raises(ImageError, match=REFUSED):
        partlabel.train(labels, images=folder, out=tmp_path / "run", max_image_mb=10, **TINY)
    assert not (tmp_path / "run").exists()
    made = partlabel.train(labels, images=folder, out=tmp_path / "run", max_image_mb=12, report=False, **TINY)
    assert made.settings.max_image_mb == 12
    with pytest.raises(UsageError, match="max_image_mb"):
        partlabel.train(labels, images=folder, out=tmp_path / "other", max_image_mb=0, **TINY)


@pytest.mark.parametrize("verb", ["predict", "explain", "evaluate", "recover"])
def test_asking_takes_the_limit_of_the_run_unless_told(
    verb: str, folder: Path, run: partlabel.RunFolder, color_images: tuple[Path, LabelTable], tmp_path: Path
):
    labels = with_wide(color_images[1])
    ask: dict[str, Callable[..., Any]] = {
        "predict": lambda **more: partlabel.predict(run, folder / "wide.png", **more),
        "explain": lambda **more: partlabel.explain(run, folder / "wide.png", out=tmp_path / "explained", **more),
        "evaluate": lambda **more: partlabel.evaluate(run, labels, images=folder, report=False, **more),
        "recover": lambda **more: partlabel.recover(run, labels, images=folder, **more),
    }
    with pytest.raises(ImageError, match=REFUSED):
        ask[verb]()
    ask[verb](max_image_mb=12)
    with pytest.raises(UsageError, match="max_image_mb -1 is not a number of megabytes above 0"):
        ask[verb](max_image_mb=-1)


def test_a_bundle_alone_has_the_default(folder: Path, run: partlabel.RunFolder, tmp_path: Path):
    shutil.copytree(run.path / "model", tmp_path / "model")
    assert partlabel.predict(tmp_path / "model", folder / "wide.png").num_rows == 3
    with pytest.raises(ImageError, match=REFUSED):
        partlabel.predict(tmp_path / "model", folder / "wide.png", max_image_mb=10)


def test_the_default_is_one():
    assert TrainSettings().max_image_mb == DEFAULT_MAX_IMAGE_MB


@pytest.mark.parametrize("verb", ["look", "train", "predict", "evaluate", "recover", "explain"])
def test_one_name_everywhere(verb: str):
    assert "--max-image-mb" in CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output


def test_the_option_counts(folder: Path, run: partlabel.RunFolder):
    asked = ["predict", str(run.path), str(folder / "wide.png"), "--quiet"]
    assert isinstance(CliRunner().invoke(app, asked).exception, ImageError)
    told = CliRunner().invoke(app, [*asked, "--max-image-mb", "12"])
    assert told.exit_code == 0
    assert "wide.png" in told.output
