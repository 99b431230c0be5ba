"""What methods set aside: counted in grids that ask for it, and drawn."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import partlabel
from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid
from partlabel.grids.set_aside_plot import set_aside_lines, set_aside_plot
from partlabel.grids.summary import Results
from partlabel.runs.folder import RunFolder

ROW = """[method.coselection]
ramp = 1
tau_h = 0.3
epochs = 2
lr = 0.003
"""


def test_lines_are_means_over_networks_and_seeds() -> None:
    logs = [
        [
            {"phase": "selection", "epoch": "1", "missed_share": "0.2", "first_high_loss_precision": ""},
            {
                "phase": "selection",
                "epoch": "2",
                "missed_share": "0.4",
                "first_high_loss_precision": "0.5",
                "second_high_loss_precision": "0.25",
                "first_high_loss_share": "0.9",
            },
            {"phase": "refit", "epoch": "2", "missed_share": "0.9"},
        ],
        [{"phase": "selection", "epoch": "2", "missed_share": "0.6", "second_high_loss_precision": "0"}],
    ]
    lines = set_aside_lines(logs)
    assert lines.keys() == {"missed_share", "high_loss_precision"}
    assert lines["missed_share"] == pytest.approx({1: 0.2, 2: 0.5})
    assert lines["high_loss_precision"] == pytest.approx({2: 0.25})


def test_drawn_for_the_rows_that_have_counts(
    bare_grid: Callable[..., Grid], record: Callable[..., Record], tmp_path: Path
) -> None:
    grid = bare_grid(["a", "b", "c"], top="seeds = [0]\nlog_truth = true")
    cells = [Cell("squares", "half", method, 0) for method in "abc"]
    results = Results(grid, {cell: record(0.5) for cell in cells})
    assert set_aside_plot(results, tmp_path) is None
    for place, cell in enumerate(cells[:2]):
        for epoch in (1, 2, 3):
            value = {"first_high_loss_precision": 0.1 * epoch + 0.05 * place, "first_high_loss_recall": 0.2}
            row = {"phase": "selection", "epoch": epoch, "missed_share": 0.1, **value}
            RunFolder(tmp_path / cell.slug).append_log(row)
    both = set_aside_plot(results, tmp_path)
    assert both is not None
    assert both == set_aside_plot(results, tmp_path)
    alone = Results(bare_grid(["a", "b", "c"], top='seeds = [0]\nlog_truth = true\ncurves = ["a"]'), results.done)
    assert set_aside_plot(alone, tmp_path) not in {both, None}


@pytest.mark.slow
def test_a_grid_counts_against_its_complete_labels_if_asked(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    rows = (
        "[method.bce]\nlr = [0.001, 0.01]\n\n"
        '[method."saliency, no CR"]\nmethod = "saliency"\npseudo = "none"\nlr = 0.003\n'
    )
    tests, out = {}, {name: tmp_path / name for name in ("without", "with")}
    for name, top in (("without", "seeds = [0]"), ("with", "log_truth = true\nseeds = [0]")):
        outcome = partlabel.bench(write_grid((rows, ROW), ("seeds = [0, 1]", top)), out=out[name])
        assert not outcome.failed
        tests[name] = json.loads(next(out[name].glob("cells/*/cell.json")).read_text())["test"]
    assert tests["with"] == tests["without"]
    log = RunFolder(next(out["with"].glob("runs/*"))).log()
    assert 0 < float(log[-1]["missed_share"]) < 1
    assert 0 <= float(log[-1]["first_high_loss_precision"]) <= 1
    assert (out["with"] / "set-aside.png").is_file()
    assert "set-aside.png" in (out["with"] / "table.md").read_text()
    assert not (out["without"] / "set-aside.png").exists()
    assert "set aside" not in (out["without"] / "table.md").read_text()
