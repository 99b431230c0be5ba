from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from partlabel.grids.cell import Record
from partlabel.grids.grid import Grid, read_grid

COLOURS = ("red", "green", "blue")

GRID = """
title = "Squares"
seeds = [0, 1]

[data.squares]
train = "train.csv"
test = "test.csv"
images = "${SQUARES}/images"
codes = "1=present,0=absent"

[masking.half]
name = "known_ratio"
ratio = 0.5

[settings]
backbone = "test_resnet"
pretrained = false
size = 32
epochs = 1
batch_size = 16
checkpoint_every = 1
holdout = 0.3

[method.bce]
lr = [0.001, 0.01]

[method."saliency, no CR"]
method = "saliency"
pseudo = "none"
lr = 0.003
"""


def write_squares(root: Path) -> None:
    """60 images of 32 pixels with coloured squares, 40 to train on, and complete label files."""
    random = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    for split, count in (("train", 40), ("test", 20)):
        lines = [",".join(("image", *COLOURS))]
        for number in range(count):
            present = random.random(3) < 0.5
            image = random.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            for channel in np.flatnonzero(present):
                top, left = random.integers(0, 20, 2)
                image[top : top + 12, left : left + 12, channel] = 220
            Image.fromarray(image).save(root / "images" / f"{split}{number:02d}.png")
            lines.append(",".join((f"{split}{number:02d}.png", *(str(int(value)) for value in present))))
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the images and label files; nothing else is written there."""
    root = tmp_path_factory.mktemp("squares")
    write_squares(root)
    return root


@pytest.fixture
def write_grid(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write the grid above, with texts replaced, beside copies of the label files."""
    monkeypatch.setenv("SQUARES", str(squares))

    def write(*replacements: tuple[str, str]) -> Path:
        text = GRID
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        for name in ("train.csv", "test.csv"):
            if not (tmp_path / name).exists():
                (tmp_path / name).write_bytes((squares / name).read_bytes())
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def bare_grid(tmp_path: Path) -> Callable[..., Grid]:
    """A grid of rows that are never trained, on data that do not exist."""

    def build(methods: Sequence[str], maskings: Sequence[str] = ("half",), top: str = "seeds = [0, 1, 2]") -> Grid:
        lines = [top, '[data.squares]\ntrain = "train.csv"\ntest = "test.csv"\nimages = "images"']
        lines += [f'[masking."{label}"]\nname = "known_ratio"\nratio = 0.5' for label in maskings]
        lines += [f'[method."{label}"]\nmethod = "bce"\nlr = 0.01' for label in methods]
        path = tmp_path / "bare.toml"
        path.write_text("\n".join(lines))
        return read_grid(path)

    return build


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    """The record of a cell that is done, with a test mAP, and a held-out mAP that is another number."""

    def make(value: float, held_out: float = 0.5, **changes: Any) -> Record:
        test = {
            "mAP": {"raw": value, "voc12": value, "voc07": value},
            "OF1": value / 2,
            "CF1": {"harmonic": value / 3, "mean": 0.5},
            "classes": {"scored": 2},
            "known": {"present": 1000, "absent": 500, "unknown": 0},
        }
        return {
            "status": "done",
            "lr": 0.01,
            "thresholds": "held_out",
            "held_out": {"mAP": held_out},
            "test": test,
            "versions": {"partlabel": "0.1.0"},
            **changes,
        }

    return make
