"""Run the cells of a grid one after the other, each once, and keep the tables up to date."""

import fcntl
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from partlabel.errors import Interrupted, LabelError, PartlabelError, RunError, StorageError, UsageError
from partlabel.evaluation import Evaluation
from partlabel.files import write_json, write_text
from partlabel.grids.cell import Cell, Record, digest, read_record
from partlabel.grids.data import Loaded, load
from partlabel.grids.grid import Grid, read_grid, slug
from partlabel.grids.masked import masked_table
from partlabel.grids.table import write_tables
from partlabel.labels import LabelTable
from partlabel.progress import Reporter
from partlabel.training.run_folder import RunFolder


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
        failed: for each cell that has none, why.
    """

    table: Path
    done: int
    failed: dict[str, str]


class _Plan(NamedTuple):
    """What a cell trains with: settings, learning rates to search, and the key of all that its result depends on."""

    settings: dict[str, Any]
    rates: tuple[float, ...]
    key: str


def run_grid(path: Path | str, out: Path | str, verbs: Verbs, reporter: Reporter) -> Outcome:
    """Run every cell of a grid file that has no result yet.

    Raises:
        PartlabelError: the grid or its data cannot be used, or the disk is full.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    grid, out = read_grid(path), Path(out)
    with _alone(out):
        write_text(out / "grid.toml", grid.path.read_text(encoding="utf-8"))
        runner = _Runner(grid, _load(grid, out, reporter), out, verbs, reporter)
        try:
            return runner.run()
        except (Interrupted, KeyboardInterrupt) as error:
            raise Interrupted(f"stopped; go on with: partlabel bench {grid.path} --out {out}") from error


class _Runner:
    def __init__(self, grid: Grid, data: dict[str, Loaded], out: Path, verbs: Verbs, reporter: Reporter) -> None:
        self.grid, self.data, self.out, self.verbs, self.reporter = grid, data, out, verbs, reporter
        self.cells = [Cell(*labels) for labels in itertools.product(data, grid.maskings, grid.rows, grid.seeds)]
        self.records: dict[Cell, Record] = {}

    def run(self) -> Outcome:
        """Run what has no result; earlier results are in the tables from the beginning."""
        for cell in self.cells:
            self._recall(cell)
        waiting = [cell for cell in self.cells if cell not in self.records]
        self._check_maskings(waiting)
        started = time.monotonic()
        for number, cell in enumerate(waiting):
            minutes = (time.monotonic() - started) / 60 / max(number, 1) * (len(waiting) - number)
            left = f", about {minutes:.0f} min left" if number else ""
            self.reporter.say(f"cell {number + 1} of {len(waiting)}{left}: {cell}")
            self._run(cell)
            self._write_tables()
        self._write_tables()
        failed = {str(cell): record["error"] for cell, record in self.records.items() if record["status"] == "failed"}
        return Outcome(self.out / "table.md", len(self.cells) - len(failed), failed)

    def _plan(self, cell: Cell) -> _Plan | None:
        """What a cell trains with; None while the first seed has not found its learning rate."""
        data, row, masking = self.data[cell.data], self.grid.rows[cell.method], self.grid.maskings[cell.masking]
        settings, rates = {**row.settings, "seed": cell.seed}, row.rates
        if rates and cell.seed != self.grid.seeds[0]:
            search = self.records.get(cell._replace(seed=self.grid.seeds[0]), {})
            if search.get("status") != "done":
                return None
            settings["lr"], rates = search["lr"], ()
        key = digest({
            "train": data.train.hash, "test": data.test.hash, "masking": masking.name, "masking settings": masking.settings,
            "settings": row.written, "lr": rates or settings.get("lr"), "seed": cell.seed,
        })  # fmt: skip
        return _Plan(settings, rates, key)

    def _recall(self, cell: Cell) -> bool:
        """Take an earlier result, if it answers what the grid asks now."""
        plan, record = self._plan(cell), read_record(self._record_path(cell))
        if plan is None or record.get("status") != "done" or record.get("key") != plan.key:
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
        plan = self._plan(cell)
        if plan is None:
            error = f"the search of its learning rate, on seed {self.grid.seeds[0]}, failed"
            self.records[cell] = {"status": "failed", "error": error}
            return
        if self._recall(cell):
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
        except PartlabelError as error:
            self.reporter.say(f"{cell} failed: {error}")
            record = {"status": "failed", "key": plan.key, "error": str(error)}
        write_json(path, record)
        self.records[cell] = record
        if record["status"] == "done" and not self.grid.keep_runs:
            _shed_weights(self._run_path(cell))

    def _resumes(self, cell: Cell, plan: _Plan, earlier: Record) -> bool:
        """Whether the run folder holds a training that can go on, or one that ended and only wants judging."""
        if not earlier:
            return False
        if earlier.get("key") != plan.key:
            self.reporter.say(f"{cell}: the grid or the labels have changed since it was run; running it anew")
            return False
        run = RunFolder(self._run_path(cell))
        if not all((run.path / name).is_file() for name in ("config.json", "run.json")):
            return False
        # A run that was killed before it noted that it searches would train without the search.
        noted = not plan.rates or "find_lr" in run.info
        return noted and (earlier.get("status") == "started" or run.info["status"] == "done")

    def _train_and_judge(self, cell: Cell, plan: _Plan, resumes: bool) -> Record:
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
                **plan.settings,
            )
        evaluation = self.verbs.evaluate(run, data.test, images=data.images, report=False, reporter=self.reporter)
        info, signs = run.info, run.info.get("held_out", {})
        return {
            "data": cell.data, "masking": {"label": cell.masking, "name": masking.name, "settings": masking.settings},
            "method": cell.method, "seed": cell.seed, "lr": run.settings.learning_rate, "found_lr": info.get("found_lr"),
            "settings": run.settings.model_dump(mode="json"), "held_out": info.get("held_out"),
            "thresholds": "held_out" if signs.get("present") and signs.get("absent") else "probability 0.5",
            "labels": {"train": data.train.hash, "masked": info["inputs"]["labels_hash"], "test": data.test.hash},
            "test": evaluation.to_json(), "versions": info["versions"],
        }  # fmt: skip

    def _masked(self, cell: Cell) -> Path:
        stem = self.out / "tables" / "--".join((slug(cell.data), slug(cell.masking), f"seed{cell.seed}"))
        masking = self.grid.maskings[cell.masking]
        return masked_table(self.data[cell.data].train, masking, cell.seed, stem, self.verbs.hide, self.reporter)

    def _record_path(self, cell: Cell) -> Path:
        return self.out / "cells" / cell.slug / "cell.json"

    def _run_path(self, cell: Cell) -> Path:
        return self.out / "runs" / cell.slug

    def _write_tables(self) -> None:
        write_tables(self.out, self.grid, self.data, self.records)


def _load(grid: Grid, out: Path, reporter: Reporter) -> dict[str, Loaded]:
    data = {}
    for label, entry in grid.data.items():
        try:
            data[label] = load(entry, grid.path.parent, out / "data" / slug(label), reporter)
        except (LabelError, UsageError) as error:
            raise type(error)(f"{grid.path}: data.{label}: {error}") from error
    return data


def _shed_weights(run: Path) -> None:
    """Delete what is large and can be made again; settings, log and held-out cells stay."""
    for folder in (run, *run.glob("find_lr/*")):
        for name in ("checkpoints", "model"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "labels.parquet").unlink(missing_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second process out of the folder."""
    lock = out / ".lock"
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror}") from error
    with open(lock, "w", encoding="utf-8") as stream:
        try:
            # Unlike flock, such a lock does not live on in worker processes that outlive a killed run.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another bench is writing to {out}; wait until it ends or choose another --out") from error
        yield
