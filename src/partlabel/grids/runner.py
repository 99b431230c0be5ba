"""Run the cells of a grid, each once, and keep the tables up to date.

Several processes, on one host or on several that share a folder, may run one grid: each claims the cell that it runs
and reads what the others have found. Rows that find learning rates, that others begin from, or that decide which rows
go on are barriers: who finds nothing to run meanwhile waits, and says for what.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from partlabel.errors import Interrupted, PartlabelError, UsageError
from partlabel.files import write_text
from partlabel.grids import claims
from partlabel.grids.board import Board, Outcome, load_all
from partlabel.grids.cell import Cell
from partlabel.grids.claims import ClaimLost
from partlabel.grids.grid import read_grid
from partlabel.grids.one_cell import CellRunner, Verbs, record_path
from partlabel.grids.plan import Plan, Waiting, outstanding
from partlabel.grids.table import write_tables
from partlabel.progress import Reporter
from partlabel.runs.ownership import OwnedError
from partlabel.stopping import way_on
from partlabel.wording import amount, command

CALL = "PARTLABEL_BENCH_CALL"
"""Environment variable that names the call a worker belongs to: within one call, a cell that failed is not tried again
by others.
"""
_SECONDS_BETWEEN_LINES = 60.0
_PATIENCE = 90.0
"""Seconds that a network file system may take to show what another host has written."""


@contextmanager
def opened(
    path: Path | str,
    out: Path | str,
    reporter: Reporter,
    *,
    small: bool = False,
    how: Sequence[str] = (),
    call: str = "",
    only: str | None = None,
) -> Iterator[Board]:
    """A checked grid with its data, and how it stands; within, a request to stop says how to go on.

    Args:
        path: the grid file.
        out: the folder of its results.
        reporter: where progress goes.
        small: take the small form of the grid.
        how: further words of the command to go on with.
        call: the call that this belongs to, if not a new one.
        only: the data whose cells are wanted; all if left out.

    Raises:
        PartlabelError: the grid or its data cannot be used.
        Interrupted: Ctrl-C.
    """
    grid, out = read_grid(path, tiny=small), Path(out)
    _check_kind(out, small=small)
    write_text(out / "grid.toml", grid.path.read_text(encoding="utf-8"))
    if only is not None:
        grid = replace(grid, data={only: grid.data[only]})
    again = f"go on with: {command('bench', grid.path, '--out', out, *['--small'] * small, *how)}"
    try:
        with way_on(again):
            data = load_all(grid, out, reporter)
            yield Board(grid, data, out, call or os.environ.get(CALL) or uuid4().hex, small=small)
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(f"stopped; {again}") from error


def _check_kind(out: Path, *, small: bool) -> None:
    """Refuse results of the whole grid in the folder of a small one and the other way round: they would be run anew."""
    mark = out / "small-trial"
    if (out / "cells").is_dir() and mark.is_file() != small:
        held = "results of a small trial" if mark.is_file() else "results that are no small trial"
        raise UsageError(f"{out} holds {held}, which would be written over; name another folder with --out")
    if small:
        write_text(mark, "The results in this folder are of `bench --small`; their numbers mean nothing.\n")


class Worker:
    """One process that runs cells of a grid until each has a result.

    Args:
        board: the cells.
        verbs: what a cell consists of.
        reporter: where progress goes.
    """

    def __init__(self, board: Board, verbs: Verbs, reporter: Reporter) -> None:
        self.board, self.reporter = board, reporter
        self.one = CellRunner(board.grid, board.data, board.out, verbs, board.call)
        self.started, self.ran = time.monotonic(), 0
        self._told, self._told_at = "", 0.0

    def run(self) -> Outcome:
        """Run what has no result; earlier results are in the tables from the beginning."""
        self._check_maskings()
        while self.board.missing():
            if held_up := self._pass():
                self._tell(held_up)
                time.sleep(claims.LOOK)
        return self.board.settle(self.reporter)

    def run_one(self, cell: Cell) -> None:
        """Run one cell, unless it has a result, another process runs it, or what it rests on does not appear."""
        deadline = time.monotonic() + _PATIENCE
        while not self.board.recall(cell) and isinstance(self.board.plan(cell), Waiting):
            if time.monotonic() > deadline:
                return
            time.sleep(claims.LOOK)
            self.board.recall_all()
        with suppress(OwnedError):
            self._claim_and_run(cell)

    def _pass(self) -> str:
        """Run every cell that can be run and that nobody else is running; what the others wait for, if none was."""
        board, busy, later, ran = self.board, [], 0, self.ran
        for cell in board.cells:
            if board.recall(cell) or not board.wanted(cell):
                continue
            if isinstance(board.plan(cell), Waiting):
                later += 1
                continue
            try:
                self._claim_and_run(cell)
                self._show()
            except OwnedError as error:
                busy.append(f"{cell}, by {error.owner}")
        if self.ran > ran or not busy:
            return ""
        after = f"; {amount(later, 'cell')} after {'it' if len(busy) == 1 else 'them'}" if later else ""
        return f"waiting for {amount(len(busy), 'cell')} of other processes: {busy[0]}{after}"

    def _claim_and_run(self, cell: Cell) -> None:
        try:
            with self.board.claims.claim(record_path(self.board.out, cell).parent) as claim:
                plan = self.board.plan(cell)
                if self.board.recall(cell) or not isinstance(plan, Plan):  # somebody else has run it a moment ago
                    return
                self._announce(cell)
                self.board.records[cell] = self.one.run(cell, plan, claim, self.reporter)
                self.ran += 1
        except ClaimLost:
            self.reporter.say(f"{cell}: this process was silent so long that another one runs it; going on without")

    def _show(self) -> None:
        """Bring the tables up to date, unless another process does just now."""
        board = self.board
        with suppress(OwnedError), board.claims.claim(board.out / "cells"):
            board.recall_all()
            write_tables(board.out, board.grid, board.data, board.records)

    def _announce(self, cell: Cell) -> None:
        waiting = outstanding(self.board.grid, self.board.records)
        minutes = (time.monotonic() - self.started) / 60 / max(self.ran, 1) * waiting
        left = f", about {minutes:.0f} min left" if self.ran else ""
        self.reporter.say(f"cell {self.ran + 1} of {self.ran + waiting}{left}: {cell}")

    def _tell(self, text: str) -> None:
        """Say what is waited for, when that has changed or was said long ago."""
        now = time.monotonic()
        if text != self._told or now - self._told_at > _SECONDS_BETWEEN_LINES:
            self.reporter.say(text)
            self._told, self._told_at = text, now

    def _check_maskings(self) -> None:
        """Hide cells before the first training, so that a setting that cannot be used shows at once."""
        for cell in {(cell.data, cell.masking): cell for cell in reversed(self.board.missing())}.values():
            try:
                self.one.masked(cell, self.reporter)
            except UsageError as error:
                raise UsageError(f"{self.board.grid.path}: masking.{cell.masking}: {error}") from error
            except PartlabelError:
                continue  # the cells of this masking will fail with this sentence, and the others go on
