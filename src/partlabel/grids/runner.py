"""Run the cells of a grid, each once, and keep the tables up to date.

Several processes, on one host or on several that share a folder, may run one grid: each claims the cell that it runs
and reads what the others have found. Rows that find learning rates, that others begin from, or that decide which rows
go on are barriers: who finds nothing to run meanwhile waits, and says for what.
"""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from partlabel.errors import Interrupted, LabelError, PartlabelError, UsageError
from partlabel.files import write_text
from partlabel.grids import claims
from partlabel.grids.cell import Cell, Record, read_record
from partlabel.grids.claims import ClaimLost, Claims
from partlabel.grids.data import Loaded, load
from partlabel.grids.figures import write_figures
from partlabel.grids.grid import Grid, read_grid, slug
from partlabel.grids.one_cell import CellRunner, Verbs
from partlabel.grids.plan import Plan, Settled, Waiting, begun_by, cells_of, make_plan, outstanding, wanted
from partlabel.grids.summary import Results
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


@dataclass(frozen=True)
class Outcome:
    """How a grid went.

    Args:
        table: the table to read; `table.csv` beside it holds the same numbers in full.
        done: number of cells that have a result.
        failed: for each cell whose training or judging failed, why.
        misfits: for each cell whose method cannot learn from its labels, why.
    """

    table: Path
    done: int
    failed: dict[str, str]
    misfits: dict[str, str]


def run_grid(path: Path | str, out: Path | str, verbs: Verbs, reporter: Reporter, *, small: bool = False) -> Outcome:
    """Run every cell of a grid file that has no result yet, or, with `small`, of its small form.

    Raises:
        PartlabelError: the grid or its data cannot be used, or the disk is full.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    grid, out = read_grid(path, tiny=small), Path(out)
    write_text(out / "grid.toml", grid.path.read_text(encoding="utf-8"))
    again = f"go on with: {command('bench', grid.path, '--out', out, *(['--small'] if small else []))}"
    try:
        with way_on(again):
            return Worker(grid, _load(grid, out, reporter), out, verbs, reporter).run()
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(f"stopped; {again}") from error


class Worker:
    """One process that runs cells of a grid until each has a result.

    Args:
        grid: the grid.
        data: its data by label.
        out: the folder of its results.
        verbs: what a cell consists of.
        reporter: where progress goes.
    """

    def __init__(self, grid: Grid, data: dict[str, Loaded], out: Path, verbs: Verbs, reporter: Reporter) -> None:
        self.grid, self.data, self.out, self.reporter = grid, data, out, reporter
        self.call = os.environ.get(CALL) or uuid4().hex
        self.one, self.claims = CellRunner(grid, data, out, verbs, self.call), Claims()
        self.cells = cells_of(grid)
        self.records: dict[Cell, Record] = {}
        self.started, self.ran = time.monotonic(), 0
        self._told, self._told_at = "", 0.0
        self._old_failures = {read_record(self.one.record_path(cell)).get("attempt") for cell in self.cells}

    def run(self) -> Outcome:
        """Run what has no result; earlier results are in the tables from the beginning."""
        self._recall_all()
        self._check_maskings(self._missing())
        while self._missing():
            if held_up := self._pass():
                self._tell(held_up)
                time.sleep(claims.LOOK)
        with self.claims.in_turn(self.out / "cells", "writes the tables", self.reporter):
            self._recall_all()
            figures = write_figures(self.out, Results(self.grid, self.records))
            write_tables(self.out, self.grid, self.data, self.records, figures)
        failed, misfits = self._errors("failed"), self._errors("misfit")
        return Outcome(self.out / "table.md", len(self.records) - len(failed) - len(misfits), failed, misfits)

    def _pass(self) -> str:
        """Run every cell that can be run and that nobody else is running; what the others wait for, if none was."""
        busy, later, ran = [], 0, self.ran
        for cell in self.cells:
            if cell in self.records or self._recall(cell) or not wanted(self.grid, self.records, cell):
                continue
            if isinstance(self._plan(cell), Waiting):
                later += 1
                continue
            try:
                self._claim_and_run(cell)
            except OwnedError as error:
                busy.append(f"{cell}, by {error.owner}")
            except ClaimLost:
                self.reporter.say(f"{cell}: this process was silent so long that another one runs it; going on without")
        if self.ran > ran or not busy:
            return ""
        after = f"; {amount(later, 'cell')} after {'it' if len(busy) == 1 else 'them'}" if later else ""
        return f"waiting for {amount(len(busy), 'cell')} of other processes: {busy[0]}{after}"

    def _claim_and_run(self, cell: Cell) -> None:
        with self.claims.claim(self.one.record_path(cell).parent) as claim:
            if self._recall(cell):  # somebody else has run it a moment ago
                return
            plan = self._plan(cell)
            if not isinstance(plan, Plan):
                return
            self._announce(cell)
            self.records[cell] = self.one.run(cell, plan, claim, self.reporter)
            self.ran += 1
        with suppress(OwnedError), self.claims.claim(self.out / "cells"):  # else another process writes them just now
            self._recall_all()
            write_tables(self.out, self.grid, self.data, self.records)

    def _missing(self) -> list[Cell]:
        return [cell for cell in self.cells if cell not in self.records and wanted(self.grid, self.records, cell)]

    def _announce(self, cell: Cell) -> None:
        waiting = outstanding(self.grid, self.records)
        minutes = (time.monotonic() - self.started) / 60 / max(self.ran, 1) * waiting
        left = f", about {minutes:.0f} min left" if self.ran else ""
        self.reporter.say(f"cell {self.ran + 1} of {self.ran + waiting}{left}: {cell}")

    def _tell(self, text: str) -> None:
        """Say what is waited for, when that has changed or was said long ago."""
        now = time.monotonic()
        if text != self._told or now - self._told_at > _SECONDS_BETWEEN_LINES:
            self.reporter.say(text)
            self._told, self._told_at = text, now

    def _errors(self, status: str) -> dict[str, str]:
        return {str(cell): record["error"] for cell, record in self.records.items() if record["status"] == status}

    def _plan(self, cell: Cell) -> Plan | Waiting | Settled:
        return make_plan(self.grid, self.data[cell.data], self.records, cell)

    def _recall_all(self) -> None:
        for cell in self.cells:
            if cell not in self.records:
                self._recall(cell)

    def _recall(self, cell: Cell) -> bool:
        """Take what is known of a cell already, if it answers what the grid asks now."""
        if not wanted(self.grid, self.records, cell):
            return False
        plan = self._plan(cell)
        if isinstance(plan, Settled):
            self.records[cell] = plan.record
        elif isinstance(plan, Plan):
            record = read_record(self.one.record_path(cell))
            if record.get("key") == plan.key and self._counts(record) and self._serves(cell, record):
                self.records[cell] = record
        return cell in self.records

    def _counts(self, record: Record) -> bool:
        """Whether a record is a result, or a failure of this call: an earlier one is tried again."""
        if record.get("status") == "failed" and "attempt" in record:
            return record.get("call") == self.call or record["attempt"] not in self._old_failures
        return record.get("status") in {"done", "misfit"}

    def _serves(self, cell: Cell, record: Record) -> bool:
        """Whether the rows that begin from a cell can still do so, or have their results."""
        if record["status"] != "done" or (self.one.run_path(cell) / "model").is_dir():
            return True
        records = {**self.records, cell: record}
        for later in begun_by(self.grid, cell):
            if not wanted(self.grid, records, later):
                continue
            plan = make_plan(self.grid, self.data[cell.data], records, later)
            found = read_record(self.one.record_path(later))
            if isinstance(plan, Waiting) or (
                isinstance(plan, Plan) and not (found.get("key") == plan.key and self._counts(found))
            ):
                return False
        return True

    def _check_maskings(self, waiting: list[Cell]) -> None:
        """Hide cells before the first training, so that a setting that cannot be used shows at once."""
        for cell in {(cell.data, cell.masking): cell for cell in reversed(waiting)}.values():
            try:
                self.one.masked(cell, self.reporter)
            except UsageError as error:
                raise UsageError(f"{self.grid.path}: masking.{cell.masking}: {error}") from error
            except PartlabelError:
                continue  # the cells of this masking will fail with this sentence, and the others go on


def _load(grid: Grid, out: Path, reporter: Reporter) -> dict[str, Loaded]:
    data = {}
    for label, entry in grid.data.items():
        try:
            data[label] = load(entry, grid.path.parent, out / "data" / slug(label), reporter)
        except (LabelError, UsageError) as error:
            raise type(error)(f"{grid.path}: data.{label}: {error}") from error
    return data
