import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from partlabel.grids.cell import Cell, Record
from partlabel.grids.figures import curve_of, curve_plot
from partlabel.grids.grid import Grid
from partlabel.grids.summary import Results
from partlabel.runs.folder import RunFolder

Log = list[dict[str, str]]
AMONG = "held_out_mAP_among_unknown"


def log(values: Mapping[int, float | str], column: str = "held_out_mAP", phase: str = "selection") -> Log:
    return [{"phase": phase, "epoch": str(epoch), column: str(value)} for epoch, value in values.items()]


def test_mean_and_deviation_over_seeds_at_each_epoch() -> None:
    seeds = [{1: 0.5, 2: 0.75, 3: 0.25}, {1: 0.25, 2: 0.5, 3: 0.25}, {1: 0.125, 2: 0.25, 3: 0.25}]
    curve = curve_of([log(values) for values in seeds])
    assert curve is not None
    assert (curve.column, curve.epochs) == ("held_out_mAP", (1, 2, 3))
    for place, epoch in enumerate((1, 2, 3)):
        values = [one[epoch] for one in seeds]
        assert curve.means[place] == pytest.approx(statistics.mean(values))
        assert curve.deviations[place] == pytest.approx(statistics.stdev(values))


def test_only_epochs_that_every_seed_judged() -> None:
    curve = curve_of([log({1: "", 2: 0.5, 3: "nan", 4: 0.5}), log({1: 0.1, 2: 0.25, 3: 0.3, 4: 0.75})])
    assert curve is not None
    assert (curve.epochs, curve.means) == ((2, 4), (0.375, 0.625))


def test_one_seed_has_no_spread_and_a_refit_no_held_out_cells() -> None:
    curve = curve_of([log({1: 0.5}) + log({1: 0.9, 2: 0.9}, phase="refit")])
    assert curve is not None
    assert (curve.epochs, curve.means, curve.deviations) == ((1,), (0.5,), (0.0,))


def test_mean_average_precision_among_unknown_cells_is_not_mixed_with_the_other() -> None:
    curve = curve_of([log({1: 0.5}, AMONG), log({1: 0.25}, AMONG)])
    assert curve is not None
    assert (curve.column, curve.means) == (AMONG, (0.375,))
    curve = curve_of([log({1: 0.5}, AMONG), log({1: 0.25})])
    assert curve is not None
    assert (curve.column, curve.means) == ("held_out_mAP", (0.25,))


@pytest.mark.parametrize("logs", [[], [[]], [log({1: "", 2: "nan"})], [log({1: 0.5}), log({2: 0.5})]])
def test_nothing_measured_is_no_curve(logs: list[Log]) -> None:
    assert curve_of(logs) is None


def test_drawn_for_the_rows_that_the_grid_names(
    bare_grid: Callable[..., Grid], record: Callable[..., Record], tmp_path: Path
) -> None:
    cells = [Cell("squares", "half", method, seed) for method in ("a", "b") for seed in (0, 1)]
    for place, cell in enumerate(cells):
        run = RunFolder(tmp_path / cell.slug)
        for epoch in (1, 2, 3):
            run.append_log({"phase": "selection", "epoch": epoch, "held_out_mAP": 0.1 * place + 0.01 * epoch})
    records = {cell: record(0.5) for cell in cells}

    def drawn(curves: list[str], known: dict[Cell, Record] = records) -> bytes | None:
        return curve_plot(Results(bare_grid(["a", "b"], top=f"seeds = [0, 1]\ncurves = {curves}"), known), tmp_path)

    both = drawn(["a", "b"])
    assert both is not None
    assert both == drawn(["a", "b"])
    assert drawn(["a"]) not in {both, drawn(["b"]), None}
    assert both == drawn(["a", "b"], {cell: record(0.9) for cell in cells})  # test measures have no part in it
    assert drawn([]) is None
    assert drawn(["a"], {}) is None
