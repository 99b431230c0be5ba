"""A measure by the share of known labels and by a setting of rows, drawn where a grid varies them."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partlabel.grids.captions import share_caption
from partlabel.grids.cell import Cell, Record
from partlabel.grids.figures import write_figures
from partlabel.grids.grid import Grid, read_grid
from partlabel.grids.lines import Panel, Point, lines_plot
from partlabel.grids.schema import Masking
from partlabel.grids.share_plot import share_of, share_panels, share_plot, shares
from partlabel.grids.summary import Results
from partlabel.grids.sweep_plot import sweep_plot, sweeps

DATA = '[data.squares]\ntrain = "train.csv"\ntest = "test.csv"\nimages = "images"\n'
SHARES = {"most": 0.9, "few": 0.1, "half": 0.5}
MASKINGS = "".join(f'[masking.{label}]\nname = "known_ratio"\nratio = {share}\n' for label, share in SHARES.items())
SINGLE = '[masking.single]\nname = "single_positive"\n'
ROWS = '[method.a]\nmethod = "bce"\nlr = 0.01\n[method.b]\nmethod = "asl"\nlr = 0.01\n'
HEAD = 'seeds = [0, 1, 2]\nmeasures = ["mAP", "OF1"]\n'


def grid(folder: Path, *parts: str) -> Grid:
    path = folder / "lines.toml"
    path.write_text("".join(parts), encoding="utf-8")
    return read_grid(path)


def value(cell: Cell) -> float:
    """A number that differs for every cell."""
    return 0.3 * SHARES.get(cell.masking, 0.2) + (0.1 if cell.method == "a" else 0.17) + 0.01 * cell.seed**2


def results(grid: Grid, record: Callable[..., Record], lacking: tuple[Cell, ...] = ()) -> Results:
    cells = [
        Cell(data, masking, method, seed)
        for data in grid.data
        for masking in grid.maskings
        for method in grid.rows
        for seed in grid.seeds
    ]
    return Results(grid, {cell: record(value(cell)) for cell in cells if cell not in lacking})


def coloured(content: bytes, colour: tuple[int, int, int]) -> np.ndarray:
    """Places (row, column) of the pixels of a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)
    return np.argwhere(np.abs(pixels - colour).sum(-1) < 12)


BLUE, ORANGE = (0, 0x72, 0xB2), (0xD5, 0x5E, 0)


@pytest.mark.parametrize(
    ("name", "settings", "share"),
    [
        ("known_ratio", {"ratio": 0.2}, 0.2),
        ("legacy_removal", {"removal": 0.75}, 0.25),
        ("per_class", {"fraction": 1}, 1.0),
        ("per_class", {"count": 5}, None),
        ("drop_positives", {"keep": 0.4}, 0.4),
        ("drop_positives", {"published_left": 40}, None),
        ("single_positive", {}, None),
    ],
)
def test_the_share_that_a_masking_states(name: str, settings: dict[str, float], share: float | None) -> None:
    assert share_of(Masking.model_validate({"name": name, **settings})) == share


def test_three_shares_of_one_kind_make_a_line(tmp_path: Path) -> None:
    kept = '[masking.kept]\nname = "drop_positives"\nkeep = 0.5\n'
    assert shares(grid(tmp_path, HEAD, DATA, MASKINGS, SINGLE, kept, ROWS).maskings) == {"known_ratio": SHARES}
    two = MASKINGS.replace("ratio = 0.9", "ratio = 0.1")
    assert shares(grid(tmp_path, HEAD, DATA, two, ROWS).maskings) == {}


def test_points_are_the_values_of_the_seeds_and_gains_are_paired(tmp_path: Path, record: Callable[..., Record]) -> None:
    read = grid(tmp_path, HEAD, 'baseline = "a"\n', DATA, MASKINGS, SINGLE, ROWS)
    found = results(read, record, lacking=(Cell("squares", "half", "a", 1), Cell("squares", "few", "b", 2)))
    measured, gained = share_panels(found, "mAP")
    for masking, share in SHARES.items():
        for method in ("a", "b"):
            mine = [one for one in measured.lines[method] if one.place == pytest.approx(100 * share)]
            expected = [
                100 * value(cell)
                for seed in (0, 1, 2)
                if (cell := Cell("squares", masking, method, seed)) in found.done
            ]
            assert [*mine[0].values] == pytest.approx(expected)
            assert len(mine) == 1
        differences = []
        for seed in (0, 1, 2):
            ours, theirs = Cell("squares", masking, "b", seed), Cell("squares", masking, "a", seed)
            if ours in found.done and theirs in found.done:
                differences.append(100 * (value(ours) - value(theirs)))
        (point,) = (one for one in gained.lines["b"] if one.place == pytest.approx(100 * share))
        assert [*point.values] == pytest.approx(differences)
    assert gained.lines["a"] == []
    assert (gained.zero, gained.y) == ("a", "mAP above a, points")


def test_more_labels_more_to_the_right_higher_and_gains_beside(tmp_path: Path, record: Callable[..., Record]) -> None:
    alone = share_plot(results(grid(tmp_path, HEAD, DATA, MASKINGS, ROWS), record), "mAP")
    read = grid(tmp_path, HEAD, 'baseline = "a"\n', DATA, MASKINGS, ROWS)
    both = share_plot(results(read, record), "mAP")
    assert alone is not None
    assert both is not None
    legend = 0.75 * Image.open(io.BytesIO(alone)).height
    line = np.array([place for place in coloured(alone, BLUE) if place[0] < legend])
    left, right = line[:, 1].min(), line[:, 1].max()
    assert line[line[:, 1] < left + 12, 0].mean() > line[line[:, 1] > right - 12, 0].mean() + 50
    half = Image.open(io.BytesIO(both)).width / 2
    level = np.array([place for place in coloured(both, BLUE) if place[1] > half and place[0] < legend])
    assert len(set(level[:, 0])) <= 3  # the baseline itself, at 0 from side to side
    assert np.ptp(level[:, 1]) > 0.7 * half
    gains = [place for place in coloured(both, ORANGE) if place[1] > half and place[0] < legend]
    assert max(place[0] for place in gains) < level[:, 0].min()


def test_the_baseline_lies_at_zero() -> None:
    """Gains of -10, 0 and 10: the level of the baseline goes through the one in the middle."""
    points = [Point(place, (10 * (place - 1),)) for place in (0.0, 1.0, 2.0)]
    panel = Panel("", "", "", {"a": [], "b": points}, zero="a")
    grid = Grid(Path(), "", (0, 1), ("mAP",), None, (), False, False, False, {}, {}, {}, {})
    content = lines_plot(Results(grid, {}), [panel], ["a", "b"])
    assert content is not None
    above_legend = 0.75 * Image.open(io.BytesIO(content)).height
    level, gains = (
        np.array([row for row, _ in coloured(content, colour) if row < above_legend]) for colour in (BLUE, ORANGE)
    )
    assert abs(level.mean() - (gains.min() + gains.max()) / 2) < 4


def test_several_seeds_have_a_bar() -> None:
    def height(values: tuple[float, ...]) -> int:
        other = [Point(0, (10.0,)), Point(1, (90.0,))]
        panel = Panel("", "", "", {"a": [Point(0.5, values)], "b": other})
        grid = Grid(Path(), "", (0, 1), ("mAP",), None, (), False, False, False, {}, {}, {}, {})
        content = lines_plot(Results(grid, {}), [panel], ["a", "b"])
        assert content is not None
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)
        panel_only = pixels[: int(0.75 * len(pixels))]
        return int(np.ptp(np.argwhere(panel_only[..., 2] - panel_only[..., 0] > 60)[:, 0]))

    assert height((30.0, 70.0)) > 5 * height((50.0,)) > 0


def test_a_sweep_is_of_rows_that_differ_in_one_number_defaults_filled_in(tmp_path: Path) -> None:
    rows = "".join(f'[method."tau {tau}"]\nmethod = "saliency"\ntau = {tau}\n' for tau in (0.5, 0.9))
    rows += '[method.default]\nmethod = "saliency"\n[method.other]\nmethod = "saliency"\ntau = 0.7\nk = 3\n'
    rows += '[method.switch]\nmethod = "saliency"\ntau = 0.8\nsaliency = false\n'
    override = '[[override]]\nmasking = "few"\nmethod = "tau 0.9"\nsettings = { tau = 0.95 }\n'
    read = grid(tmp_path, HEAD, DATA, MASKINGS, rows, override)
    default = 0.6
    assert sweeps(read, "squares", "half") == [("tau", {"tau 0.5": 0.5, "tau 0.9": 0.9, "default": default})]
    assert sweeps(read, "squares", "few") == [("tau", {"tau 0.5": 0.5, "tau 0.9": 0.95, "default": default})]
    assert sweeps(grid(tmp_path, HEAD, DATA, MASKINGS, ROWS), "squares", "few") == []


def test_figures_stand_in_the_folder_and_their_captions_say_what_they_rest_on(
    tmp_path: Path, record: Callable[..., Record]
) -> None:
    rows = "".join(f'[method."l2 {decay}"]\nmethod = "bce"\nweight_decay = {decay}\n' for decay in (0, 0.001, 0.1))
    read = grid(tmp_path, HEAD, 'baseline = "l2 0"\n', DATA, MASKINGS, rows)
    found = results(replace(read, measures=("OF1",)), record)
    drawn = [shown.name for shown in write_figures(tmp_path, found, {})]
    assert drawn == [f"{kind}-OF1.png" for kind in ("plot", "share", "sweep")]
    assert sweep_plot(found, "OF1") == (tmp_path / "sweep-OF1.png").read_bytes()
    words = share_caption(found)
    assert "seeds 0, 1, 2" in words
    assert "2 classes of squares" in words
    assert "gain over l2 0 is paired by seed" in words
    assert write_figures(tmp_path, Results(read, {}), {}) == []
    assert not list(tmp_path.glob("*.png"))
