"""`bench`: a grid of trainings, and the table that compares them."""

from pathlib import Path

from partlabel.api.evaluate import evaluate
from partlabel.api.hide import hide
from partlabel.api.train import resume, train
from partlabel.grids.forecast import told
from partlabel.grids.grid import read_grid
from partlabel.grids.one_cell import Verbs
from partlabel.grids.runner import Outcome, run_grid
from partlabel.progress import SILENT, Reporter


def bench(grid: Path | str, *, out: Path | str, small: bool = False, reporter: Reporter = SILENT) -> Outcome:
    """Run data × masking × method × seed, each cell once, and compare the methods in a table.

    Results that are in `out` already are kept; a cell whose entry in the grid, or whose labels, have changed is run
    anew; an interrupted one goes on from its last checkpoint. A cell that fails does not stop the others, and is tried
    again by the next call; a method that cannot learn from the labels of a masking is no failure. Test labels decide
    nothing: learning rates, thresholds, models and the rows that go on are chosen on held-out training cells.

    Args:
        grid: a TOML file; `partlabel.grids.grid` shows one.
        out: where tables, results and run folders go; `partlabel.grids` describes it.
        small: try the file out: every row once, in a second or two each, on built-in scenes with a tiny network. The
            numbers mean nothing.
        reporter: where progress goes.

    Returns:
        The path of the table, the number of cells that have a result, and why others have none.

    Raises:
        UsageError: the grid cannot be used; names the key.
        LabelError: labels cannot be read, or training and test labels do not fit together.
        StorageError: the disk is full.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    return run_grid(grid, out, Verbs(hide, train, resume, evaluate), reporter, small=small)


def bench_cost(grid: Path | str, *, images_per_second: float | None = None) -> str:
    """What a grid costs, from its file alone: trainings, steps and images to pass, for each data set.

    Args:
        grid: a TOML file; its variables need not be set.
        images_per_second: how many images pass in a second of training on your machine; then hours are told too.

    Raises:
        UsageError: the grid cannot be used; names the key.
    """
    return told(read_grid(grid, fill=False), images_per_second)
