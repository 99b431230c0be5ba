"""A row whose method is fitted at once, among rows that take steps."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from partlabel.api.bench import bench
from partlabel.errors import UsageError
from partlabel.grids.grid import read_grid
from partlabel.runs.folder import RunFolder

Write = Callable[..., Path]
FITTED = ('[method."saliency, no CR"]', '[method.discriminant]\n\n[method."saliency, no CR"]')
FROZEN = ("size = 32", "size = 32\nfreeze = true")
ONE_SEED = ("seeds = [0, 1]", "seeds = [0]")
BEGUN = ("lr = 0.003", 'lr = 0.003\n\n[method."bce from it"]\nmethod = "bce"\nstart = "discriminant"\nlr = 0.001')


def test_settings_of_all_rows_that_it_cannot_have_are_left_out(write_grid: Write) -> None:
    grid = read_grid(write_grid(FITTED, FROZEN))
    assert grid.row("discriminant").settings == {
        "method": "discriminant",
        "backbone": "test_resnet",
        "pretrained": False,
        "size": 32,
        "freeze": True,
        "holdout": 0.3,
    }
    assert grid.row("discriminant").written.keys() == grid.row("discriminant").settings.keys()
    assert {"epochs", "batch_size", "checkpoint_every"} <= grid.row("bce").settings.keys()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("epochs = 3", "method.discriminant: .*takes no steps, so that epochs would have no effect"),
        ("lr = [0.1, 0.2]", "method.discriminant: .*so that find_lr, lr would have no effect"),
        ("freeze = false", "method.discriminant: .*fitted to the features of a frozen backbone"),
    ],
)
def test_its_own_are_refused(write_grid: Write, own: str, said: str) -> None:
    row = FITTED[1].replace("[method.discriminant]", f"[method.discriminant]\n{own}")
    with pytest.raises(UsageError, match=said):
        read_grid(write_grid((FITTED[0], row), FROZEN))


def test_an_override_of_all_rows_leaves_it_as_it_is(write_grid: Write) -> None:
    file = write_grid(FITTED, FROZEN)
    file.write_text(file.read_text() + '\n[[override]]\nmasking = "half"\nsettings = { epochs = 2 }\n')
    grid = read_grid(file)
    assert "epochs" not in grid.row_of("squares", "half", "discriminant").settings
    assert grid.row_of("squares", "half", "bce").settings["epochs"] == 2
    file.write_text(file.read_text().replace('masking = "half"', 'method = "discriminant"'))
    with pytest.raises(UsageError, match=r"override: squares / half / discriminant: .*epochs would have no effect"):
        read_grid(file)


@pytest.mark.slow
def test_it_is_run_and_others_begin_from_it(write_grid: Write, tmp_path: Path) -> None:
    file = write_grid(FITTED, FROZEN, ONE_SEED, BEGUN, ("[method.bce]", "[method.bce]\nfreeze = true"))
    out = tmp_path / "out"
    file.write_text(file.read_text().replace("title", "keep_runs = true\ntitle", 1))
    bench(file, out=out)
    records = {}
    for path in out.glob("cells/*/cell.json"):
        record = json.loads(path.read_text())
        records[record["method"]] = record
    assert {record["status"] for record in records.values()} == {"done"}
    assert records["discriminant"]["lr"] is None
    assert records["bce from it"]["start"] == "discriminant"
    assert "| discriminant | - |" in (out / "table.md").read_text()
    fitted, begun = (
        RunFolder(next(path for path in out.glob("runs/*") if path.name.split("--")[2] == name))
        for name in ("discriminant", "bce-from-it")
    )
    (row,) = fitted.log()
    transform = row["transform"]
    assert begun.settings.method_settings == ({} if transform == "none" else {"transform": transform})
