import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from partlabel.grids.cell import Cell, Record
from partlabel.grids.figures import measure_plot, write_figures
from partlabel.grids.grid import Grid
from partlabel.grids.summary import Results

Build = Callable[..., Grid]
Make = Callable[..., Record]


def pixels(content: bytes | None) -> np.ndarray:
    assert content is not None
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)


def dots(figure: np.ndarray) -> np.ndarray:
    """Places (row, column) of the bluish pixels: dots and bars."""
    return np.argwhere(figure[..., 2] - figure[..., 0] > 40)


def test_the_best_is_on_top_and_to_the_right(bare_grid: Build, record: Make) -> None:
    grid = bare_grid(["worse", "better"])
    records = {Cell("squares", "half", name, 0): record(value) for name, value in (("worse", 0.2), ("better", 0.7))}
    places = dots(pixels(measure_plot(Results(grid, records), "mAP")))
    middle = (places[:, 0].min() + places[:, 0].max()) / 2
    assert places[places[:, 0] < middle, 1].min() > places[places[:, 0] > middle, 1].max()


def test_several_seeds_have_a_bar(bare_grid: Build, record: Make) -> None:
    grid = bare_grid(["a"])
    cells = {Cell("squares", "half", "a", seed): record(value) for seed, value in enumerate((0.2, 0.7))}
    one, two = (
        np.ptp(dots(pixels(measure_plot(Results(grid, some), "mAP"))), 0)
        for some in (dict([*cells.items()][:1]), cells)
    )
    assert two[1] > 5 * one[1]


def test_same_results_same_bytes_whatever_the_users_settings(bare_grid: Build, record: Make) -> None:
    results = Results(bare_grid(["a", "price $1$ or $2"]), {Cell("squares", "half", "price $1$ or $2", 0): record(0.5)})
    first = measure_plot(results, "OF1")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        assert measure_plot(results, "OF1") == first
        assert matplotlib.rcParams["font.size"] == 20


def test_settings_without_results_have_no_panel(bare_grid: Build, record: Make) -> None:
    many, few = bare_grid(["a"], ["one", "two", "three", "four", "five"]), bare_grid(["a"], ["one"])
    records = {Cell("squares", "one", "a", 0): record(0.5)}
    assert measure_plot(Results(many, records), "mAP") == measure_plot(Results(few, records), "mAP")
    assert measure_plot(Results(many, {}), "mAP") is None


def test_figures_with_nothing_to_show_are_deleted(bare_grid: Build, record: Make, tmp_path: Path) -> None:
    records = {Cell("squares", "half", "a", 0): record(0.5)}
    drawn = write_figures(
        tmp_path, Results(bare_grid(["a"], top="seeds = [0]\nmeasures = ['mAP', 'CF1 mean']"), records), {}
    )
    assert drawn == [("plot-mAP.png", "mAP"), ("plot-CF1-mean.png", "CF1 mean")]
    assert {path.name for path in tmp_path.glob("*.png")} == {"plot-mAP.png", "plot-CF1-mean.png"}
    write_figures(tmp_path, Results(bare_grid(["a"], top="seeds = [0]\nmeasures = ['mAP']"), records), {})
    assert {path.name for path in tmp_path.glob("*.png")} == {"plot-mAP.png"}
    assert write_figures(tmp_path, Results(bare_grid(["a"]), {}), {}) == []
    assert not list(tmp_path.glob("*.png"))
