from collections.abc import Callable

import pytest

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid
from partlabel.grids.plan import finalists, held_out, outstanding, wanted

Build = Callable[..., Grid]
Make = Callable[..., Record]
TOP = "seeds = [7, 0, 1]\ntop = 2"


def cell(method: str, seed: int = 7) -> Cell:
    return Cell("squares", "half", method, seed)


def test_the_best_by_held_out_cells_of_the_first_seed_go_on(bare_grid: Build, record: Make) -> None:
    grid = bare_grid("abcd", top=TOP)
    values = {"a": 0.2, "b": 0.5, "c": 0.4, "d": 0.3}
    records = {cell(name): record(1 - value, value) for name, value in values.items()}  # tests would choose a and d
    assert finalists(grid, records, "squares", "half") == ("b", "c")
    assert {name for name in "abcd" if wanted(grid, records, cell(name, 0))} == {"b", "c"}
    assert all(wanted(grid, records, cell(name)) for name in "abcd")
    later = {cell("a", 0): record(0, 0.9), cell("d", 1): record(0, 0.9)}  # of a time when others were chosen
    assert finalists(grid, records | later, "squares", "half") == ("b", "c")
    assert outstanding(grid, records | later) == 4
    assert outstanding(grid, records | {cell(name, seed): record(0) for name in "bc" for seed in (0, 1)}) == 0


def test_nothing_is_chosen_before_the_first_seed_is_through(bare_grid: Build, record: Make) -> None:
    grid = bare_grid("abcd", top=TOP)
    records = {cell(name): record(0.5) for name in "abc"}
    assert finalists(grid, records, "squares", "half") is None
    assert not wanted(grid, records, cell("a", 0))
    assert outstanding(grid, records) == 1 + 2 * 2
    assert outstanding(grid, {}) == 4 + 2 * 2


def test_rows_without_a_held_out_map_do_not_go_on(bare_grid: Build, record: Make) -> None:
    grid = bare_grid("abcd", top=TOP)
    records = {
        cell("a"): {"status": "failed", "error": ""},
        cell("b"): {"status": "misfit", "error": "", "lacking": ""},
        cell("c"): record(0.5, held_out={"mAP": None}),
        cell("d"): record(0.5),
    }
    records[cell("c")]["held_out"] = {"mAP": None}
    assert finalists(grid, records, "squares", "half") == ("d",)
    assert outstanding(grid, records) == 2


def test_equal_rows_stay_in_the_order_of_the_grid(bare_grid: Build, record: Make) -> None:
    grid = bare_grid("dacb", top=TOP)
    assert finalists(grid, {cell(name): record(0.5) for name in "abcd"}, "squares", "half") == ("d", "a")


def test_without_top_every_row_goes_on(bare_grid: Build) -> None:
    grid = bare_grid("ab")
    assert finalists(grid, {}, "squares", "half") == ("a", "b")
    assert outstanding(grid, {}) == 6


@pytest.mark.parametrize(
    ("judged", "expected"),
    [
        ({"mAP": 0.0}, (0.0, False)),
        ({"mAP": None, "mAP_among_unknown": 0.25}, (0.25, True)),
        ({"mAP": None}, None),
        (None, None),
    ],
)
def test_the_measure_that_models_are_chosen_by(judged: object, expected: tuple[float, bool] | None) -> None:
    assert held_out({"held_out": judged}) == expected
