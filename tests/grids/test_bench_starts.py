import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.api.bench import bench
from partlabel.api.evaluate import evaluate
from partlabel.api.hide import hide
from partlabel.api.train import train
from partlabel.errors import UsageError
from partlabel.grids.cell import Cell
from partlabel.grids.data import Loaded
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.plan import Plan, Settled, Waiting, cells_of, make_plan, outstanding, wanted
from partlabel.labels import LabelTable

Write = Callable[..., Path]

ONE_RATE = ("lr = [0.001, 0.01]", "lr = 0.01")
BEGINS = ('pseudo = "none"', 'pseudo = "none"\nstart = "linear"')
LINEAR = ("[method.bce]", '[start.linear]\nmethod = "bce"\nlr = 0.02\n[method.bce]')
SALIENCY = "saliency, no CR"


def cell(method: str, seed: int = 0) -> Cell:
    return Cell("squares", "half", method, seed)


@pytest.fixture
def data() -> Loaded:
    table = LabelTable.from_cells(["a", "b"], ["x"], [0, 1], [0, 0], [1, -1])
    return Loaded(Path(), table, table, 1, 0)


@pytest.mark.parametrize(
    ("replacements", "sentence"),
    [
        (
            [BEGINS],
            r"row 'saliency, no CR' starts from 'linear': there is no row 'linear'; rows are bce, saliency, no CR",
        ),
        (
            [LINEAR, BEGINS, ("lr = 0.02", 'lr = 0.02\nstart = "saliency, no CR"')],
            r"which starts from '.*' in the end; break the circle",
        ),
        ([LINEAR, BEGINS, ("lr = 0.02", "lr = 0.02\nholdout = 0")], "must hold out the same cells"),
        ([LINEAR, BEGINS, ("lr = 0.02", "lr = 0.02\nrefit = true")], "'linear' no refit"),
        ([LINEAR, (BEGINS[0], f"{BEGINS[0]}\nstart = 3")], r"method.saliency, no CR: start is 3; it must be the name"),
        ([(BEGINS[0], f'{BEGINS[0]}\ninit = "run"')], r"init is no setting here; `start` names the row to begin from"),
        ([LINEAR, ("start.linear", "start.BCE")], "'bce' and 'BCE' would share a folder"),
    ],
)
def test_a_start_that_cannot_be_used_is_refused(
    write_grid: Write, replacements: list[tuple[str, str]], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_grid(write_grid(*replacements))


def test_nothing_held_out_may_start_from_anything(write_grid: Write) -> None:
    grid = read_grid(
        write_grid(
            LINEAR, BEGINS, ONE_RATE, ("holdout = 0.3", "holdout = 0"), ("lr = 0.02", "lr = 0.02\nholdout = 0.5")
        )
    )
    assert grid.row(SALIENCY).start == "linear"


@pytest.fixture
def grid(write_grid: Write) -> Grid:
    return read_grid(write_grid(LINEAR, BEGINS))


def test_a_row_waits_for_its_start_and_its_key_holds_the_start(grid: Grid, data: Loaded) -> None:
    assert make_plan(grid, data, {}, cell(SALIENCY)) == Waiting(cell("linear"))
    keys = []
    for key in ("a", "b"):
        plan = make_plan(grid, data, {cell("linear"): {"status": "done", "key": key}}, cell(SALIENCY))
        assert isinstance(plan, Plan)
        assert plan.start == cell("linear")
        keys.append(plan.key)
    assert keys[0] != keys[1]
    alone = make_plan(grid, data, {}, cell("linear"))
    assert isinstance(alone, Plan)
    assert (alone.start, alone.settings["lr"]) == (None, 0.02)


def test_what_became_of_the_start_settles_a_row(grid: Grid, data: Loaded) -> None:
    failed = {"status": "failed", "error": "broke"}
    assert make_plan(grid, data, {cell("linear"): failed}, cell(SALIENCY)) == Settled(
        {"status": "failed", "error": "its start failed"}
    )
    misfit = {"status": "misfit", "error": "no absent cell", "lacking": "known absent cells", "key": "k"}
    assert make_plan(grid, data, {cell("linear"): misfit}, cell(SALIENCY)) == Settled(
        {"status": "misfit", "error": "no absent cell", "lacking": "known absent cells"}
    )


def test_starts_come_first_and_are_wanted_by_those_that_need_them(
    write_grid: Write, record: Callable[..., dict[str, Any]]
) -> None:
    chain = LINEAR[1].replace(
        "[method.bce]", '[start.second]\nmethod = "bce"\nlr = 0.1\nstart = "linear"\n[method.bce]'
    )
    top = ("seeds = [0, 1]", "seeds = [0, 1]\ntop = 1")
    grid = read_grid(write_grid(("[method.bce]", chain), (BEGINS[0], f'{BEGINS[0]}\nstart = "second"'), ONE_RATE, top))
    assert [one.method for one in cells_of(grid) if one.seed == 0] == ["linear", "bce", "second", SALIENCY]
    assert {one for one in cells_of(grid) if wanted(grid, {}, one)} == {
        cell(label) for label in ("linear", "second", "bce", SALIENCY)
    }
    assert outstanding(grid, {}) == 4 + 1
    first = {cell(label): record(0.5) for label in ("linear", "second")}
    bce_wins = {**first, cell("bce"): record(0.5, 0.9), cell(SALIENCY): record(0.5, 0.1)}
    assert {one.method for one in cells_of(grid) if one.seed == 1 and wanted(grid, bce_wins, one)} == {"bce"}
    saliency_wins = {**first, cell("bce"): record(0.5, 0.1), cell(SALIENCY): record(0.5, 0.9)}
    needed = {"linear", "second", SALIENCY}
    assert {one.method for one in cells_of(grid) if one.seed == 1 and wanted(grid, saliency_wins, one)} == needed
    done = {**saliency_wins, cell(SALIENCY, 1): record(0.5)}
    assert outstanding(grid, saliency_wins) == 3
    assert outstanding(grid, done) == 0


@pytest.mark.slow
def test_a_row_is_what_init_from_its_start_gives(write_grid: Write, squares: Path, tmp_path: Path) -> None:
    begins = ("[method.bce]", '[start.linear]\nmethod = "bce"\nlr = 0.02\n[method.bce]\nstart = "linear"')
    grid, out = write_grid(begins, BEGINS, ONE_RATE, ("seeds = [0, 1]", "seeds = [1]")), tmp_path / "out"
    outcome = bench(grid, out=out)
    assert (outcome.done, outcome.failed) == (3, {})
    read = {"codes": "1=present,0=absent"}
    masked = hide(squares / "train.csv", masking="known_ratio", seed=1, ratio=0.5, read=read)
    same = {"backbone": "test_resnet", "pretrained": False, "size": 32, "epochs": 1, "batch_size": 16, "holdout": 0.3}
    same |= {"images": squares / "images", "seed": 1}
    first = train(masked, out=tmp_path / "first", method="bce", lr=0.02, **same)
    second = train(masked, out=tmp_path / "second", init=first.path, method="saliency", pseudo="none", lr=0.003, **same)
    judged = evaluate(second, squares / "test.csv", images=squares / "images", read=read).to_json()
    found = json.loads((out / "cells" / cell(SALIENCY, 1).slug / "cell.json").read_text())
    assert found["test"] == judged
    assert found["start"] == "linear"

    table = (out / "table.md").read_text()
    assert "| linear" not in table
    assert (
        "- bce, saliency, no CR begin from the weights of linear, trained on the same labels with the same seed."
        in table
    )
    kept = {path.name for path in (out / "runs" / cell("linear", 1).slug).iterdir()}
    assert {"model", "labels.parquet"} <= kept
    assert "checkpoints" not in kept

    before = {label: (out / "cells" / cell(label, 1).slug / "cell.json").read_bytes() for label in ("bce", SALIENCY)}
    shutil.rmtree(out / "runs" / cell("linear", 1).slug / "model")
    assert bench(grid, out=out).done == 3  # nobody needs it any more
    assert not (out / "runs" / cell("linear", 1).slug / "model").exists()
    grid.write_text(grid.read_text() + '[method.third]\nmethod = "bce"\nstart = "linear"\nlr = 0.1\n')
    assert (bench(grid, out=out).done, bench(grid, out=out).failed) == (4, {})
    for label, content in before.items():
        assert (out / "cells" / cell(label, 1).slug / "cell.json").read_bytes() == content
    grid.write_text(grid.read_text().replace("lr = 0.02", "lr = 0.05"))
    bench(grid, out=out)
    for label, content in before.items():
        assert (out / "cells" / cell(label, 1).slug / "cell.json").read_bytes() != content
