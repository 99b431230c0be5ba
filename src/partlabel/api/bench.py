"""`bench`: a grid of trainings, and the table that compares them."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

from partlabel.api.evaluate import evaluate
from partlabel.api.hide import hide
from partlabel.api.train import resume, train
from partlabel.errors import UsageError
from partlabel.grids.board import Outcome
from partlabel.grids.forecast import told
from partlabel.grids.grid import read_grid
from partlabel.grids.hand_out import Task, hand_out
from partlabel.grids.one_cell import Verbs
from partlabel.grids.ray_tasks import Ray
from partlabel.grids.runner import Worker, opened
from partlabel.grids.slurm import Slurm
from partlabel.grids.workers import run_workers
from partlabel.progress import SILENT, Reporter, Terminal

_VERBS = Verbs(hide, train, resume, evaluate)


def bench(
    grid: Path | str,
    *,
    out: Path | str,
    small: bool = False,
    jobs: int | None = None,
    submit: Literal["slurm", "ray"] | None = None,
    options: Mapping[str, Any] | None = None,
    reporter: Reporter = SILENT,
) -> Outcome:
    """Run data × masking × method × seed, each cell once, and compare the methods in a table.

    Results that are in `out` already are kept; a cell whose entry in the grid, or whose labels, have changed is run
    anew; an interrupted one goes on from its last checkpoint. A cell that fails does not stop the others, and is tried
    again by the next call; a method that cannot learn from the labels of a masking is no failure. Test labels decide
    nothing: learning rates, thresholds, models and the rows that go on are chosen on held-out training cells. Any
    number of calls may run one grid into one folder at once, on one host or on several that share it.

    Args:
        grid: a TOML file; `partlabel.grids.grid` shows one.
        out: where tables, results and run folders go; `partlabel.grids` describes it.
        small: try the file out: every row once, in a second or two each, on built-in scenes with a tiny network. The
            numbers mean nothing.
        jobs: number of processes on this machine; with `submit`, most jobs at a time. None: one process, or as many
            jobs as the cluster runs.
        submit: hand each cell out as a job of that cluster.
        options: what a job asks for: options of sbatch ("partition", "gpus", "time" in minutes), or of Ray's tasks
            ("num_gpus", "num_cpus") and the "address" of the cluster.
        reporter: where progress goes.

    Returns:
        The path of the table, the number of cells that have a result, and why others have none.

    Raises:
        UsageError: the grid or an option cannot be used; names the key.
        LabelError: labels cannot be read, or training and test labels do not fit together.
        StorageError: the disk is full.
        MissingDependencyError: the package for the cluster is not installed.
        RunError: processes or jobs end without results of their cells.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs is {jobs}; it must be 1 or more")
    if submit is None and options:
        raise UsageError("options are of the jobs of a cluster; say which with submit")
    with opened(grid, out, reporter, small=small, how=_how(jobs, submit, options or {})) as board:
        if submit == "slurm":
            return hand_out(board, Slurm(board.out, run_cell, options or {}), jobs, reporter)
        if submit == "ray":
            with redirect_stdout(sys.stderr):  # where Ray tells of dead tasks; standard output is for the table
                return hand_out(board, Ray(run_cell, options or {}), jobs, reporter)
        return Worker(board, _VERBS, reporter).run() if jobs in {None, 1} else run_workers(board, jobs or 1, reporter)


def bench_cost(grid: Path | str, *, images_per_second: float | None = None) -> str:
    """What a grid costs, from its file alone: trainings, steps and images to pass, for each data set.

    Args:
        grid: a TOML file; its variables need not be set.
        images_per_second: how many images pass in a second of training on your machine; then hours are told too.

    Raises:
        UsageError: the grid cannot be used; names the key. Or `images_per_second` is not above 0.
    """
    if images_per_second is not None and not images_per_second > 0:
        raise UsageError(f"images_per_second is {images_per_second:g}; it must be above 0")
    return told(read_grid(grid, fill=False), images_per_second)


def run_cell(task: Task) -> None:
    """What a job of a cluster does: run one cell, and leave its record in the shared folder."""
    reporter = Terminal()
    with opened(task.grid, task.out, reporter, small=task.small, call=task.call, only=task.cell.data) as board:
        Worker(board, _VERBS, reporter).run_one(task.cell)


def _how(jobs: int | None, submit: str | None, options: Mapping[str, Any]) -> list[str]:
    """Words of the command line that say the same."""
    words = [] if jobs is None else ["--jobs", str(jobs)]
    if submit is not None:
        words += ["--submit", submit]
        if options:
            words += [f"--{submit}", ",".join(f"{name}={value}" for name, value in options.items())]
    return words
