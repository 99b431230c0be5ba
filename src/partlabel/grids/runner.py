"""Run the cells of a grid one after the other, each once, and keep the tables up to date."""

import itertools
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from partlabel.errors import AssumptionError, Interrupted, LabelError, PartlabelError, StorageError, UsageError
from partlabel.evaluation import Evaluation
from partlabel.files import write_json, write_text
from partlabel.formats import read_written
from partlabel.grids.cell import Cell, Record, read_record
from partlabel.grids.data import Loaded, load
from partlabel.grids.figures import write_figures
from partlabel.grids.grid import Grid, read_grid, slug
from partlabel.grids.masked import lacking, masked_table
from partlabel.grids.out_folder import alone, shed_weights
from partlabel.grids.plan import Plan, make_plan, search_of
from partlabel.grids.stages import outstanding, wanted
from partlabel.grids.summary import Results
from partlabel.grids.table import write_tables
from partlabel.labels import LabelTable
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder


class Verbs(NamedTuple):
    """The verbs of `partlabel.api` that a cell consists of; handed in, because they stand above this package."""

    hide: Callable[..., LabelTable]
    train: Callable[..., RunFolder]
    resume: Callable[..., RunFolder]
    evaluate: Callable[..., Evaluation]


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


def run_grid(path: Path | str, out: Path | str, verbs: Verbs, reporter: Reporter) -> Outcome:
    """Run every cell of a grid file that has no result yet.

    Raises:
        PartlabelError: the grid or its data cannot be used, or the disk is full.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    grid, out = read_grid(path), Path(out)
    with alone(out):
        write_text(out / "grid.toml", grid.path.read_text(encoding="utf-8"))
        runner = _Runner(grid, _load(grid, out, reporter), out, verbs, reporter)
        try:
            return runner.run()
        except (Interrupted, KeyboardInterrupt) as error:
            raise Interrupted(f"stopped; go on with: partlabel bench {grid.path} --out {out}") from error


class _Runner:
    def __init__(self, grid: Grid, data: dict[str, Loaded], out: Path, verbs: Verbs, reporter: Reporter) -> None:
        self.grid, self.data, self.out, self.verbs, self.reporter = grid, data, out, verbs, reporter
        # The first seed comes before the others: it finds learning rates, and which rows go on.
        labels = itertools.product(data, grid.maskings, grid.seeds, grid.rows)
        self.cells = [Cell(label, masking, method, seed) for label, masking, seed, method in labels]
        self.records: dict[Cell, Record] = {}

    def run(self) -> Outcome:
        """Run what has no result; earlier results are in the tables from the beginning."""
        for cell in self.cells:
            self._recall(cell)
        missing = [cell for cell in self.cells if cell not in self.records]
        self._check_maskings([cell for cell in missing if wanted(self.grid, self.records, cell)])
        started, number = time.monotonic(), 0
        for cell in missing:
            if not wanted(self.grid, self.records, cell):
                continue
            waiting = outstanding(self.grid, self.records)
            minutes = (time.monotonic() - started) / 60 / max(number, 1) * waiting
            left = f", about {minutes:.0f} min left" if number else ""
            self.reporter.say(f"cell {number + 1} of {number + waiting}{left}: {cell}")
            self._run(cell)
            number += 1
            write_tables(self.out, self.grid, self.data, self.records)
        figures = write_figures(self.out, Results(self.grid, self.records))
        write_tables(self.out, self.grid, self.data, self.records, figures)
        failed, misfits = self._errors("failed"), self._errors("misfit")
        return Outcome(self.out / "table.md", len(self.records) - len(failed) - len(misfits), failed, misfits)

    def _errors(self, status: str) -> dict[str, str]:
        return {str(cell): record["error"] for cell, record in self.records.items() if record["status"] == status}

    def _plan(self, cell: Cell) -> Plan | None:
        return make_plan(self.grid, self.data[cell.data], self.records, cell)

    def _recall(self, cell: Cell) -> bool:
        """Take an earlier result, if it answers what the grid asks now."""
        if not wanted(self.grid, self.records, cell):
            return False
        search = search_of(self.grid, cell)
        if search and self.records.get(search, {}).get("status") == "misfit":
            self.records[cell] = self.records[search]
            return True
        plan, record = self._plan(cell), read_record(self._record_path(cell))
        if plan is None or record.get("status") not in {"done", "misfit"} or record.get("key") != plan.key:
            return False
        self.records[cell] = record
        return True

    def _check_maskings(self, waiting: list[Cell]) -> None:
        """Hide cells before the first training, so that a setting that cannot be used shows at once."""
        for cell in {(cell.data, cell.masking): cell for cell in reversed(waiting)}.values():
            try:
                self._masked(cell)
            except UsageError as error:
                raise UsageError(f"{self.grid.path}: masking.{cell.masking}: {error}") from error
            except PartlabelError:
                continue  # the cells of this masking will fail with this sentence, and the others go on

    def _run(self, cell: Cell) -> None:
        """Bring a cell to its end; a failure is recorded."""
        if self._recall(cell):
            return
        plan = self._plan(cell)
        if plan is None:
            error = f"the search of its learning rate, on seed {self.grid.seeds[0]}, failed"
            self.records[cell] = {"status": "failed", "error": error}
            return
        path = self._record_path(cell)
        resumes = self._resumes(cell, plan, read_record(path))
        if not resumes:
            shutil.rmtree(self._run_path(cell), ignore_errors=True)
        write_json(path, {"status": "started", "key": plan.key})
        started = time.monotonic()
        try:
            facts = self._train_and_judge(cell, plan, resumes)
            record = {"status": "done", "key": plan.key, **facts, "seconds": round(time.monotonic() - started, 1)}
        except (Interrupted, StorageError):
            raise  # neither is the fault of the cell, and it can be resumed
        except AssumptionError as error:
            self.reporter.say(f"{cell} does not fit: {error}")
            missing = lacking(read_written(self._masked(cell)))
            record = {"status": "misfit", "key": plan.key, "lacking": missing, "error": str(error)}
        except PartlabelError as error:
            self.reporter.say(f"{cell} failed: {error}")
            record = {"status": "failed", "key": plan.key, "error": str(error)}
        except Exception as error:  # out of memory, or a fault of a library: the other cells still count
            sentence = f"{type(error).__name__}: {error}"
            self.reporter.say(f"{cell} failed: {sentence}")
            record = {"status": "failed", "key": plan.key, "error": sentence, "traceback": traceback.format_exc()}
        write_json(path, record)
        self.records[cell] = record
        if record["status"] == "done" and not self.grid.keep_runs:
            shed_weights(self._run_path(cell))

    def _resumes(self, cell: Cell, plan: Plan, earlier: Record) -> bool:
        """Whether the run folder holds a training that can go on, or one that ended and only wants judging."""
        if not earlier:
            return False
        if earlier.get("key") != plan.key:
            self.reporter.say(f"{cell}: the grid or the labels have changed since it was run; running it anew")
            return False
        run = RunFolder(self._run_path(cell))
        if not all((run.path / name).is_file() for name in ("config.json", "run.json")):
            return False
        return bool(earlier.get("status") == "started" or run.info["status"] == "done")

    def _train_and_judge(self, cell: Cell, plan: Plan, resumes: bool) -> Record:
        data, masking, path = self.data[cell.data], self.grid.maskings[cell.masking], self._run_path(cell)
        if resumes:
            run = self.verbs.resume(path, report=False, reporter=self.reporter)
        else:
            run = self.verbs.train(
                self._masked(cell),
                images=data.images,
                out=path,
                find_lr=plan.rates,
                report=False,
                reporter=self.reporter,
                **{"devices": 1, **plan.settings},  # several processes would each run the grid
            )
        evaluation = self.verbs.evaluate(run, data.test, images=data.images, report=False, reporter=self.reporter)
        info, signs = run.info, run.info.get("held_out", {})
        return {
            "data": cell.data,
            "masking": {"label": cell.masking, "name": masking.name, "settings": masking.settings},
            "method": cell.method,
            "seed": cell.seed,
            "lr": run.settings.learning_rate,
            "found_lr": info.get("found_lr"),
            "settings": run.settings.model_dump(mode="json"),
            "held_out": info.get("held_out"),
            "thresholds": "held_out" if signs.get("present") and signs.get("absent") else "probability 0.5",
            "labels": {"train": data.train.hash, "masked": info["inputs"]["labels_hash"], "test": data.test.hash},
            "test": evaluation.to_json(),
            "versions": info["versions"],
        }

    def _masked(self, cell: Cell) -> Path:
        stem = self.out / "tables" / "--".join((slug(cell.data), slug(cell.masking), f"seed{cell.seed}"))
        masking = self.grid.maskings[cell.masking]
        return masked_table(self.data[cell.data].train, masking, cell.seed, stem, self.verbs.hide, self.reporter)

    def _record_path(self, cell: Cell) -> Path:
        return self.out / "cells" / cell.slug / "cell.json"

    def _run_path(self, cell: Cell) -> Path:
        return self.out / "runs" / cell.slug


def _load(grid: Grid, out: Path, reporter: Reporter) -> dict[str, Loaded]:
    data = {}
    for label, entry in grid.data.items():
        try:
            data[label] = load(entry, grid.path.parent, out / "data" / slug(label), reporter)
        except (LabelError, UsageError) as error:
            raise type(error)(f"{grid.path}: data.{label}: {error}") from error
    return data
