"""One cell of a grid, from its plan to its record."""

import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from partlabel.errors import AssumptionError, Interrupted, PartlabelError, StorageError
from partlabel.evaluation import Evaluation
from partlabel.files import write_json
from partlabel.formats import read_written
from partlabel.grids.cell import Cell, Record, read_record
from partlabel.grids.claims import Checked, Claim
from partlabel.grids.cost import measured
from partlabel.grids.data import Loaded, lacking, make_masked, masked_path
from partlabel.grids.grid import Grid, slug
from partlabel.grids.out_folder import shed_weights
from partlabel.grids.plan import Plan, begun_by
from partlabel.grids.recognised import present_ranks
from partlabel.labels import LabelTable
from partlabel.methods.catalogue import entry
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.ownership import OwnedError, forget_other_hosts


class Verbs(NamedTuple):
    """The verbs of `partlabel.api` that a cell consists of; handed in, because they stand above this package."""

    hide: Callable[..., LabelTable]
    train: Callable[..., RunFolder]
    resume: Callable[..., RunFolder]
    evaluate: Callable[..., Evaluation]


def record_path(out: Path, cell: Cell) -> Path:
    """The file of a cell's record; who runs it owns the folder."""
    return out / "cells" / cell.slug / "cell.json"


def run_path(out: Path, cell: Cell) -> Path:
    """The run folder of a cell."""
    return out / "runs" / cell.slug


class CellRunner:
    """Runs cells of a grid, and keeps their records.

    Args:
        grid: the grid.
        data: its data by label.
        out: the folder of its results.
        verbs: what a cell consists of.
        call: names the call that a failure belongs to; another one tries again.
    """

    def __init__(self, grid: Grid, data: Mapping[str, Loaded], out: Path, verbs: Verbs, call: str) -> None:
        self.grid, self.data, self.out, self.verbs, self.call = grid, data, out, verbs, call
        self._checked: set[Path] = set()

    def masked(self, cell: Cell, reporter: Reporter) -> Path:
        """The file of its labels, made where it is missing, and checked once.

        Raises:
            PartlabelError: the masking does not fit the labels, or the file is not what was written.
        """
        stem = self.out / "tables" / "--".join((slug(cell.data), slug(cell.masking), f"seed{cell.seed}"))
        masking, complete = self.grid.maskings[cell.masking], self.data[cell.data].train
        path = masked_path(complete, masking, cell.seed, stem)
        if path not in self._checked:
            make_masked(complete, masking, cell.seed, path, self.verbs.hide, reporter)
            self._checked.add(path)
        return path

    def run(self, cell: Cell, plan: Plan, claim: Claim, reporter: Reporter) -> Record:
        """Bring a cell to its end; a failure is a record too.

        Args:
            cell: the cell.
            plan: what it trains with.
            claim: that it is this process that runs it.
            reporter: where progress goes.

        Raises:
            Interrupted: it was stopped, and can go on.
            StorageError: the disk is full.
            ClaimLost: another process has taken it meanwhile.
        """
        reporter = Checked(reporter, claim)
        forget_other_hosts(run_path(self.out, cell))  # whoever has the cell has its run
        path = record_path(self.out, cell)
        resumes = self._resumes(cell, plan, read_record(path), reporter)
        if not resumes:
            shutil.rmtree(run_path(self.out, cell), ignore_errors=True)
        write_json(path, {"status": "started", "key": plan.key})
        with measured() as cost:
            record = {**self._result(cell, plan, resumes, reporter), "key": plan.key}
        if record["status"] == "done":
            record["cost"] = {**cost, "resumed": resumes}
        claim.confirm()
        write_json(path, record)
        if record["status"] == "done" and not self.grid.keep_runs:
            shed_weights(run_path(self.out, cell), others_begin_here=bool(begun_by(self.grid, cell)))
        return record

    def _result(self, cell: Cell, plan: Plan, resumes: bool, reporter: Reporter) -> Record:
        """The record of a training and its test, or of why there is none."""
        try:
            return {"status": "done", **self._train_and_judge(cell, plan, resumes, reporter)}
        except (Interrupted, StorageError, OwnedError):
            raise  # none is the fault of the cell, and it can be resumed
        except AssumptionError as error:
            reporter.say(f"{cell} does not fit: {error}")
            known = lacking(read_written(self.masked(cell, reporter)))
            return {"status": "misfit", "lacking": known, "error": str(error)}
        except PartlabelError as error:
            reporter.say(f"{cell} failed: {error}")
            return self._failure(str(error))
        except Exception as error:  # out of memory, or a fault of a library: the other cells still count
            sentence = f"{type(error).__name__}: {error}"
            reporter.say(f"{cell} failed: {sentence}")
            return {**self._failure(sentence), "traceback": traceback.format_exc()}

    def _failure(self, sentence: str) -> Record:
        return {"status": "failed", "error": sentence, "call": self.call, "attempt": uuid4().hex}

    def _resumes(self, cell: Cell, plan: Plan, earlier: Record, reporter: Reporter) -> bool:
        """Whether the run folder holds a training that can go on, or one that ended and only wants judging."""
        if not earlier:
            return False
        if earlier.get("key") != plan.key:
            reporter.say(f"{cell}: the grid or the labels have changed since it was run; running it anew")
            return False
        run = RunFolder(run_path(self.out, cell))
        if not all((run.path / name).is_file() for name in ("config.json", "run.json")):
            return False
        return run.model.is_dir() if run.info["status"] == "done" else earlier.get("status") == "started"

    def _train_and_judge(self, cell: Cell, plan: Plan, resumes: bool, reporter: Reporter) -> Record:
        data, masking, path = self.data[cell.data], self.grid.maskings[cell.masking], run_path(self.out, cell)
        log_test = data.test if self.grid.log_test else None
        if resumes:
            run = self.verbs.resume(path, log_test=log_test, report=False, reporter=reporter)
        else:
            run = self.verbs.train(
                self.masked(cell, reporter),
                images=data.images,
                out=path,
                find_lr=plan.rates,
                init=None if plan.start is None else run_path(self.out, plan.start),
                truth=data.train if self.grid.log_truth else None,
                log_test=log_test,
                report=False,
                reporter=reporter,
                **{"devices": 1, **plan.settings},  # several processes would each run the grid
            )
        evaluation = self.verbs.evaluate(run, data.test, images=data.images, report=False, reporter=reporter)
        asked = self.grid.recognised
        info, signs = run.info, run.info.get("held_out", {})
        return {
            "data": cell.data,
            "masking": {"label": cell.masking, "name": masking.name, "settings": masking.settings},
            "method": cell.method,
            "start": None if plan.start is None else plan.start.method,
            "seed": cell.seed,
            "lr": None if entry(run.settings.method).fitted else run.settings.learning_rate,
            "found_lr": info.get("found_lr"),
            "settings": run.settings.model_dump(mode="json"),
            "label_vectors": info.get("label_vectors_used"),
            "held_out": info.get("held_out"),
            "thresholds": "held_out" if signs.get("present") and signs.get("absent") else "probability 0.5",
            "labels": {"train": data.train.hash, "masked": info["inputs"]["labels_hash"], "test": data.test.hash},
            "test": evaluation.to_json(),
            "present_ranks": asked and present_ranks(run, data, asked.images, reporter),
            "versions": info["versions"],
        }
