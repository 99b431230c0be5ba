"""Settings of some cells only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partlabel.errors import UsageError
from partlabel.grids.cell import Cell
from partlabel.grids.data import Loaded
from partlabel.grids.grid import read_grid
from partlabel.grids.plan import Plan, make_plan
from partlabel.labels import LabelTable

OVERRIDE = """
[[override]]
masking = "half"
method = ["bce"]
settings = { epochs = 7, lr = 0.5 }

[[override]]
data = "squares"
settings = { epochs = 9 }
"""
FIXED_RATE = ("lr = [0.001, 0.01]", "lr = 0.02")


@pytest.fixture
def data() -> Loaded:
    table = LabelTable.from_dense(["a.png", "b.png"], ["cat", "dog"], np.eye(2, dtype=int))
    return Loaded(Path(), table, table, 2, 0)


def test_overrides_change_the_cells_where_they_hold(write_grid: Callable[..., Path], data: Loaded) -> None:
    other = ("[settings]", '[masking.full]\nname = "known_ratio"\nratio = 1.0\n\n[settings]')
    path = write_grid(FIXED_RATE, other)
    before = read_grid(path)
    path.write_text(path.read_text() + OVERRIDE.replace('data = "squares"', 'masking = "full"'))
    grid = read_grid(path)

    def plan(of: object, masking: str, method: str) -> Plan:
        found = make_plan(of, data, {}, Cell("squares", masking, method, 0))  # type: ignore[arg-type]
        assert isinstance(found, Plan)
        return found

    assert plan(grid, "half", "bce").settings | {"epochs": 7, "lr": 0.5} == plan(grid, "half", "bce").settings
    assert plan(grid, "full", "bce").settings["epochs"] == 9
    assert plan(grid, "full", "bce").settings["lr"] == 0.02
    assert plan(grid, "half", "bce").key != plan(before, "half", "bce").key
    assert plan(grid, "full", "bce").key != plan(before, "full", "bce").key
    untouched = plan(grid, "half", "saliency, no CR")
    assert untouched == plan(before, "half", "saliency, no CR")
    assert untouched.settings["epochs"] == 1


def test_the_later_of_two_overrides_of_a_cell_wins(write_grid: Callable[..., Path]) -> None:
    path = write_grid(FIXED_RATE)
    path.write_text(path.read_text() + OVERRIDE)
    row = read_grid(path).row_of("squares", "half", "bce")
    assert (row.settings["epochs"], row.settings["lr"]) == (9, 0.5)
    assert (row.written["epochs"], row.written["lr"]) == (9, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"half"', '"halve"', "override 1: there is no masking 'halve'; there are half"),
        ("epochs = 7", "holdout = 0.2", "holdout holds for a whole row"),
        ("epochs = 7", 'holdout_by = "images"', "holdout_by holds for a whole row"),
        ("epochs = 7", 'start = "bce"', "start holds for a whole row"),
        ("lr = 0.5", "lr = [0.5]", "candidates are searched for a whole row"),
        ("epochs = 7", "batch_size = -7", "override: squares / half / bce: setting batch_size"),
        ("epochs = 7", "epoch = 7", "no setting 'epoch'"),
        ("settings = { epochs = 9 }", "setting = { epochs = 9 }", "settings is missing"),
    ],
)
def test_what_cannot_be_overridden(write_grid: Callable[..., Path], old: str, new: str, sentence: str) -> None:
    path = write_grid(FIXED_RATE)
    assert old in OVERRIDE
    path.write_text(path.read_text() + OVERRIDE.replace(old, new))
    with pytest.raises(UsageError, match=r"grid\.toml: ") as caught:
        read_grid(path)
    assert sentence in str(caught.value)


def test_a_searched_learning_rate_is_not_overridden(write_grid: Callable[..., Path]) -> None:
    path = write_grid()
    path.write_text(path.read_text() + OVERRIDE)
    with pytest.raises(UsageError, match="lr of 'bce' is searched"):
        read_grid(path)
