"""What is known of the cells of a grid by now, read from the folder that all processes share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from partlabel.errors import LabelError, UsageError
from partlabel.files import write_text
from partlabel.grids.cell import Cell, Record, read_record
from partlabel.grids.claims import Claims
from partlabel.grids.cost_table import cost_table
from partlabel.grids.data import Loaded, load
from partlabel.grids.figures import write_figures
from partlabel.grids.grid import Grid, slug
from partlabel.grids.one_cell import record_path, run_path
from partlabel.grids.plan import Plan, Settled, Waiting, begun_by, cells_of, make_plan, wanted
from partlabel.grids.summary import Results
from partlabel.grids.table import write_tables
from partlabel.progress import Reporter


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


class Board:
    """The cells that have a record, and what is still to be run.

    Args:
        grid: the grid.
        data: its data by label.
        out: the folder of its results.
        call: names this call: a failure of an earlier one is tried again.
        small: whether it is the small form of the grid.
    """

    def __init__(self, grid: Grid, data: Mapping[str, Loaded], out: Path, call: str, *, small: bool = False) -> None:
        self.small = small
        self.grid, self.data, self.out, self.call, self.claims = grid, data, out, call, Claims()
        self.cells = cells_of(grid)
        self.records: dict[Cell, Record] = {}
        self._old_failures = {read_record(record_path(out, cell)).get("attempt") for cell in self.cells}
        self.recall_all()

    def plan(self, cell: Cell) -> Plan | Waiting | Settled:
        """What a cell trains with, as far as is known by now."""
        return make_plan(self.grid, self.data[cell.data], self.records, cell)

    def wanted(self, cell: Cell) -> bool:
        """Whether a cell is to be run, or was."""
        return wanted(self.grid, self.records, cell)

    def missing(self) -> list[Cell]:
        """The cells that are still to be run, as far as is known by now."""
        return [cell for cell in self.cells if cell not in self.records and self.wanted(cell)]

    def recall_all(self) -> None:
        """Take what others have found."""
        for cell in self.cells:
            self.recall(cell)

    def recall(self, cell: Cell) -> bool:
        """Take what is known of a cell already, if it answers what the grid asks now."""
        if cell in self.records:
            return True
        if not self.wanted(cell):
            return False
        plan = self.plan(cell)
        if isinstance(plan, Settled):
            self.records[cell] = plan.record
        elif isinstance(plan, Plan):
            record = read_record(record_path(self.out, cell))
            if record.get("key") == plan.key and self._counts(record) and self._serves(cell, record):
                self.records[cell] = record
        return cell in self.records

    @contextmanager
    def tables(self, reporter: Reporter) -> Iterator[None]:
        """In turn with other processes: take what they have found, then the block, which may write the tables."""
        with self.claims.in_turn(self.out / "cells", "writes the tables", reporter):
            self.recall_all()
            yield

    def settle(self, reporter: Reporter) -> Outcome:
        """Write tables and figures of what there is, and say how it went."""
        with self.tables(reporter):
            figures = write_figures(self.out, Results(self.grid, self.records), self._image_folders())
            write_tables(self.out, self.grid, self.data, self.records, figures)
            write_text(self.out / "costs.md", cost_table(self.grid, self.records))
        failed, misfits = self._errors("failed"), self._errors("misfit")
        return Outcome(self.out / "table.md", len(self.records) - len(failed) - len(misfits), failed, misfits)

    def _image_folders(self) -> dict[str, Path]:
        return {label: data.images for label, data in self.data.items()}

    def _errors(self, status: str) -> dict[str, str]:
        return {str(cell): record["error"] for cell, record in self.records.items() if record["status"] == status}

    def _counts(self, record: Record) -> bool:
        """Whether a record is a result, or a failure of this call: an earlier one is tried again."""
        if record.get("status") == "failed" and "attempt" in record:
            return record.get("call") == self.call or record["attempt"] not in self._old_failures
        return record.get("status") in {"done", "misfit"}

    def _serves(self, cell: Cell, record: Record) -> bool:
        """Whether the rows that begin from a cell can still do so, or have their results."""
        if record["status"] != "done" or (run_path(self.out, cell) / "model").is_dir():
            return True
        records = {**self.records, cell: record}
        for later in begun_by(self.grid, cell):
            if not wanted(self.grid, records, later):
                continue
            plan = make_plan(self.grid, self.data[cell.data], records, later)
            found = read_record(record_path(self.out, later))
            if isinstance(plan, Waiting) or (
                isinstance(plan, Plan) and not (found.get("key") == plan.key and self._counts(found))
            ):
                return False
        return True


def load_all(grid: Grid, out: Path, reporter: Reporter) -> dict[str, Loaded]:
    """The data of a grid by label.

    Raises:
        LabelError: labels cannot be read, or do not fit together.
    """
    data = {}
    for label, entry in grid.data.items():
        try:
            data[label] = load(entry, grid.path.parent, out / "data" / slug(label), reporter)
        except (LabelError, UsageError) as error:
            raise type(error)(f"{grid.path}: data.{label}: {error}") from error
    return data
