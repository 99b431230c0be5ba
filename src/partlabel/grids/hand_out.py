"""Hand the cells of a grid out to a cluster, one job each, and collect what they find.

An engine only starts jobs; who runs a cell is settled by the claims in the folder that all share. So it does no harm if
a cell is handed out twice, by two calls or after one that was killed.
"""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from partlabel.errors import RunError, UsageError
from partlabel.grids.board import Board, Outcome
from partlabel.grids.cell import Cell
from partlabel.grids.one_cell import record_path, run_path
from partlabel.grids.plan import Plan
from partlabel.grids.table import write_tables
from partlabel.progress import Reporter
from partlabel.stopping import finishing_steps
from partlabel.wording import amount

LOOK = 2.0
"""Seconds between two looks at the jobs."""
TRIES = 3
"""Jobs in a row that may end without a result of their cell or a new checkpoint: one that the queue stops at its time
limit leaves a checkpoint, from which the next goes on.
"""


class Task(NamedTuple):
    """What a job does: run one cell.

    Args:
        grid: absolute path of the grid file.
        out: absolute path of the folder of the results.
        cell: the cell.
        call: the call that it belongs to.
        small: whether the cell is one of the small form of the grid.
    """

    grid: str
    out: str
    cell: Cell
    call: str
    small: bool


class Job(Protocol):
    """A job of a cluster."""

    def ended(self) -> bool:
        """Whether it runs no more and will not run again."""

    def last_words(self) -> str:
        """After its end: where to look for what went wrong."""

    def cancel(self) -> None:
        """Ask it to stop; it writes a checkpoint first."""


class Engine(Protocol):
    """What starts jobs."""

    def submit(self, tasks: list[Task]) -> list[Job]:
        """Start one job for each task.

        Raises:
            PartlabelError: the cluster refuses them.
        """


def options_of(texts: Iterable[str]) -> dict[str, Any]:
    """`partition=gpu,gpus_per_node=1` as names and values; numbers are numbers.

    >>> options_of(["partition=gpu,gpus_per_node=1", "mem=8GB"])
    {'partition': 'gpu', 'gpus_per_node': 1, 'mem': '8GB'}
    """
    options: dict[str, Any] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise UsageError(f"{part!r} is no option of a cluster; write NAME=VALUE,NAME=VALUE")
        options[name] = _number(value)
    return options


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def hand_out(board: Board, engine: Engine, at_once: int | None, reporter: Reporter) -> Outcome:
    """Start a job for every cell that can be run, then for those that follow, until each has a result.

    Args:
        board: the cells.
        engine: what starts jobs.
        at_once: most jobs at a time; None leaves that to the cluster.
        reporter: where progress goes.

    Raises:
        RunError: jobs ended again and again without a result of their cells.
        Interrupted: Ctrl-C; the jobs were asked to stop.
    """
    hands = _Hands(board, engine, at_once, reporter)
    with finishing_steps("stopped") as asked:
        try:
            while not asked() and hands.more():
                time.sleep(LOOK)
        finally:
            hands.cancel()
    outcome = board.settle(reporter)
    if hands.given_up:
        cell, why = next(iter(hands.given_up.items()))
        raise RunError(
            f"{amount(len(hands.given_up), 'cell')} got no result in {TRIES} jobs each; the first is {cell}: {why}"
        )
    return outcome


class _Hands:
    """The jobs that are out."""

    def __init__(self, board: Board, engine: Engine, at_once: int | None, reporter: Reporter) -> None:
        self.board, self.engine, self.at_once, self.reporter = board, engine, at_once, reporter
        self.jobs: dict[Cell, Job] = {}
        self.tries: Counter[Cell] = Counter()
        self.checkpoints: dict[Cell, int] = {}
        self.given_up: dict[Cell, str] = {}

    def more(self) -> bool:
        """Collect what has come in, hand out what can be run; whether there is more to wait for."""
        before = len(self.board.records)
        self._collect()
        self.board.recall_all()
        missing = self.board.missing()
        if len(self.board.records) > before:
            with self.board.tables(self.reporter):
                write_tables(self.board.out, self.board.grid, self.board.data, self.board.records)
            self.reporter.say(f"{amount(len(self.board.records), 'cell')} done, {len(missing)} or more to come")
        elsewhere = [cell for cell in missing if cell not in self.jobs and self._is_claimed(cell)]
        ready = [
            cell
            for cell in missing
            if cell not in {*self.jobs, *self.given_up, *elsewhere} and isinstance(self.board.plan(cell), Plan)
        ]
        self._submit(ready[: None if self.at_once is None else max(0, self.at_once - len(self.jobs))])
        return bool(self.jobs or elsewhere)

    def cancel(self) -> None:
        """Ask all jobs to stop."""
        for job in self.jobs.values():
            job.cancel()

    def _is_claimed(self, cell: Cell) -> bool:
        return self.board.claims.is_claimed(record_path(self.board.out, cell).parent)

    def _collect(self) -> None:
        """Take jobs that have ended; one without a result counts against its cell, unless another process runs it."""
        for cell, job in [(cell, job) for cell, job in self.jobs.items() if job.ended()]:
            del self.jobs[cell]
            if self.board.recall(cell) or self._is_claimed(cell):
                continue
            if self._checkpoint(cell) != self.checkpoints[cell]:
                self.tries[cell] = 0
            self.tries[cell] += 1
            self.reporter.say(f"{cell}: its job ended without a result; {job.last_words()}")
            if self.tries[cell] >= TRIES:
                self.given_up[cell] = job.last_words()

    def _checkpoint(self, cell: Cell) -> int:
        """When its last checkpoint was written, by the clock of the file system; 0 if there is none."""
        files = run_path(self.board.out, cell).rglob("*.ckpt")
        return max((path.stat().st_mtime_ns for path in files), default=0)

    def _submit(self, cells: list[Cell]) -> None:
        if not cells:
            return
        grid, out = str(self.board.grid.path.resolve()), str(self.board.out.resolve())
        jobs = self.engine.submit([Task(grid, out, cell, self.board.call, self.board.small) for cell in cells])
        self.jobs.update(zip(cells, jobs, strict=True))
        self.checkpoints.update({cell: self._checkpoint(cell) for cell in cells})
        self.reporter.say(f"{amount(len(cells), 'job')} handed out, from {cells[0]} on")
