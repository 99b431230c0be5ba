"""Run the cells of a grid one after the other, each once, and keep the tables up to date.

Several processes may run one grid into one folder: each owns the cell that it runs, reads what the others have found,
and waits only for cells that it needs.
"""

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
from partlabel.grids.data import Loaded, lacking, load, make_masked, masked_path
from partlabel.grids.figures import write_figures
from partlabel.grids.grid import Grid, read_grid, slug
from partlabel.grids.out_folder import shed_weights
from partlabel.grids.plan import Failed, Plan, Waiting, make_plan, outstanding, search_of, wanted
from partlabel.grids.summary import Results
from partlabel.grids.table import write_tables
from partlabel.labels import LabelTable
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.ownership import OwnedError, owned
from partlabel.stopping import way_on
from partlabel.wording import amount, command

_SECONDS_BETWEEN_LOOKS = 5.0


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
    write_text(out / "grid.toml", grid.path.read_text(encoding="utf-8"))
    again = f"go on with: {command('bench', grid.path, '--out', out)}"
    try:
        with way_on(again):
            return _Runner(grid, _load(grid, out, reporter), out, verbs, reporter).run()
    except (Interrupted, KeyboardInterrupt) as error:
        raise Interrupted(f"stopped; {again}") from error


class _Runner:
    def __init__(self, grid: Grid, data: dict[str, Loaded], out: Path, verbs: Verbs, reporter: Reporter) -> None:
        self.grid, self.data, self.out, self.verbs, self.reporter = grid, data, out, verbs, reporter
        # The first seed comes before the others: it finds learning rates, and which rows go on.
        labels = itertools.product(data, grid.maskings, grid.seeds, grid.rows)
        self.cells = [Cell(label, masking, method, seed) for label, masking, seed, method in labels]
        self.records: dict[Cell, Record] = {}
        self.started, self.ran = time.monotonic(), 0
        self.checked: set[Path] = set()

    def run(self) -> Outcome:
        """Run what has no result; earlier results are in the tables from the beginning."""
        for cell in self.cells:
            self._recall(cell)
        self._check_maskings([cell for cell in self._missing() if wanted(self.grid, self.records, cell)])
        while busy := self._pass():
            self.reporter.say(f"waiting for {amount(len(busy), 'cell')} of other processes; {busy[0]}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        figures = write_figures(self.out, Results(self.grid, self.records))
        write_tables(self.out, self.grid, self.data, self.records, figures)
        failed, misfits = self._errors("failed"), self._errors("misfit")
        return Outcome(self.out / "table.md", len(self.records) - len(failed) - len(misfits), failed, misfits)

    def _pass(self) -> list[str]:
        """Run every cell that nobody else is running; who runs those that are left."""
        busy = []
        for cell in self._missing():
            if not wanted(self.grid, self.records, cell):
                continue
            try:
                with owned(self._record_path(cell).parent):
                    if self._recall(cell):  # somebody else has run it meanwhile
                        continue
                    plan = self._plan(cell)
                    if isinstance(plan, Waiting):
                        continue
                    self._announce(cell)
                    self._run(cell, plan)
                    self.ran += 1
            except OwnedError as error:
                busy.append(str(error))
                continue
            write_tables(self.out, self.grid, self.data, self.records)
        return busy

    def _missing(self) -> list[Cell]:
        return [cell for cell in self.cells if cell not in self.records]

    def _announce(self, cell: Cell) -> None:
        waiting = outstanding(self.grid, self.records)
        minutes = (time.monotonic() - self.started) / 60 / max(self.ran, 1) * waiting
        left = f", about {minutes:.0f} min left" if self.ran else ""
        self.reporter.say(f"cell {self.ran + 1} of {self.ran + waiting}{left}: {cell}")

    def _errors(self, status: str) -> dict[str, str]:
        return {str(cell): record["error"] for cell, record in self.records.items() if record["status"] == status}

    def _plan(self, cell: Cell) -> Plan | Waiting | Failed:
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
        if (
            not isinstance(plan, Plan)
            or record.get("status") not in {"done", "misfit"}
            or record.get("key") != plan.key
        ):
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

    def _run(self, cell: Cell, plan: Plan | Failed) -> None:
        """Bring a cell to its end; a failure is recorded."""
        if isinstance(plan, Failed):
            self.records[cell] = {"status": "failed", "error": plan.error}
            return
        path = self._record_path(cell)
        resumes = self._resumes(cell, plan, read_record(path))
        if not resumes:
            shutil.rmtree(self._run_path(cell), ignore_errors=True)
        write_json(path, {"status": "started", "key": plan.key})
        started = time.monotonic()
        record = {**self._result(cell, plan, resumes), "key": plan.key}
        if record["status"] == "done":
            record["seconds"] = round(time.monotonic() - started, 1)
        write_json(path, record)
        self.records[cell] = record
        if record["status"] == "done" and not self.grid.keep_runs:
            shed_weights(self._run_path(cell))

    def _result(self, cell: Cell, plan: Plan, resumes: bool) -> Record:
        """The record of a training and its test, or of why there is none."""
        try:
            return {"status": "done", **self._train_and_judge(cell, plan, resumes)}
        except (Interrupted, StorageError, OwnedError):
            raise  # none is the fault of the cell, and it can be resumed
        except AssumptionError as error:
            self.reporter.say(f"{cell} does not fit: {error}")
            return {"status": "misfit", "lacking": lacking(read_written(self._masked(cell))), "error": str(error)}
        except PartlabelError as error:
            self.reporter.say(f"{cell} failed: {error}")
            return {"status": "failed", "error": str(error)}
        except Exception as error:  # out of memory, or a fault of a library: the other cells still count
            sentence = f"{type(error).__name__}: {error}"
            self.reporter.say(f"{cell} failed: {sentence}")
            return {"status": "failed", "error": sentence, "traceback": traceback.format_exc()}

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
        """The file of the cell's labels, checked once."""
        stem = self.out / "tables" / "--".join((slug(cell.data), slug(cell.masking), f"seed{cell.seed}"))
        masking, complete = self.grid.maskings[cell.masking], self.data[cell.data].train
        path = masked_path(complete, masking, cell.seed, stem)
        if path not in self.checked:
            make_masked(complete, masking, cell.seed, path, self.verbs.hide, self.reporter)
            self.checked.add(path)
        return path

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
