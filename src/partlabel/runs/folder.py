"""The run folder: everything about one training, and nothing torn.

config.json        the settings as used            log.csv           one line per epoch
run.json           versions, inputs, how it ended  checkpoints/      last.ckpt, best.ckpt of each phase
labels.parquet     the labels as trained on        model/            the bundle to ship
truth.parquet      complete labels, for log.csv
held_out.parquet   held-out cells, their logits    report.html       to look at
folds/             models that never saw a fold of cells, and what they make of it (`recover`)
assets/            vectors of the class names and other tensors that the method took from outside the labels
label_graph.csv    weights between classes that the method learned, if it learns any
evaluation.json    the last evaluation             recovered.json    what the report shows of the last suggestions
"""

import csv
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from partlabel.errors import RunError, StorageError
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.files import atomic_path, storage_errors, write_json, write_text
from partlabel.formats import read_written, write_table
from partlabel.labels import Cells, LabelTable
from partlabel.runs.origin import sealed
from partlabel.runs.ownership import is_ownership
from partlabel.runs.processes import process_rank, wait_for
from partlabel.runs.settings import TrainSettings
from partlabel.version import __version__

_PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "safetensors")
LOG = "log.csv"
TEST_LOG = "test_log.csv"
"""MAP of test images by epoch, where somebody asked for it; nothing that chooses reads it."""
_BEGINNING = ".beginning"
"""A file that stands in a run folder while it is being made."""


class RunFolder:
    """Paths and small files of a run.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(
        cls,
        path: Path | str,
        settings: TrainSettings,
        inputs: Mapping[str, Any],
        table: LabelTable,
        assets: Mapping[str, NDArray[np.float32]] | None = None,
        truth: LabelTable | None = None,
        /,
        **facts: Any,
    ) -> "RunFolder":
        """Start a run in a new or empty folder; the other processes of a training open the one that the first started.

        run.json comes last: a folder without it never began and may be used again.

        Raises:
            RunError: the folder holds something already.
        """
        run = cls(path)
        if process_rank():
            wait_for(run.path / "run.json")
            return run
        run.check_new()
        write_text(run.path / _BEGINNING, "")
        write_table(table, run.labels_path)
        if truth is not None:
            write_table(truth, run.truth_path)
        for name, value in (assets or {}).items():
            with atomic_path(run.path / "assets" / f"{name}.npy") as temporary, open(temporary, "wb") as stream:
                np.save(stream, value, allow_pickle=False)
        run.write_config(settings)
        run.update(status="training", versions=versions(), inputs=sealed(inputs), **facts)
        (run.path / _BEGINNING).unlink(missing_ok=True)
        return run

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """An existing run.

        Raises:
            RunError: it is no run folder.
        """
        run = cls(path)
        if not (run.path / "config.json").is_file() or not (run.path / "run.json").is_file():
            raise RunError(f"{run.path} is no run folder (config.json or run.json is missing)")
        return run

    def check_new(self) -> None:
        """Refuse to start in a folder that holds something, or that cannot be written.

        Raises:
            RunError: it does.
            StorageError: it cannot.
        """
        if self.path.exists():
            if not self.path.is_dir() or not (self._never_began() or all(map(_is_passing, self.path.iterdir()))):
                resumable = " or go on with --resume" if (self.path / "run.json").is_file() else ""
                raise RunError(f"{self.path} exists and is not empty; choose another --out{resumable}")
            return
        there = next(folder for folder in self.path.absolute().parents if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            reason = "is not a folder" if not there.is_dir() else "cannot be written"
            raise StorageError(f"{self.path} cannot be made, because {there} {reason}; choose another --out")

    def _never_began(self) -> bool:
        """Whether a training was killed while it made this folder: all that is in it will be written again."""
        return (self.path / _BEGINNING).is_file() and not (self.path / "run.json").is_file()

    def discard_unless_begun(self) -> None:
        """Empty a folder that a training made and failed in before its first checkpoint."""
        if any(self.path.rglob("checkpoints/*.ckpt")):
            return
        for path in self.path.iterdir():
            if not is_ownership(path):
                _remove(path)

    def begin_anew(self) -> None:
        """Empty the folder, so that another training may start in it.

        Killed on the way it leaves the run as what it was of, to be emptied again, or a folder that never began.
        """
        write_text(self.path / _BEGINNING, "")
        for path in self.path.iterdir():
            if path.name not in {_BEGINNING, "run.json", "config.json"}:
                _remove(path)
        (self.path / "run.json").unlink()

    @property
    def resume_command(self) -> str:
        """What goes on with this run, as it can be pasted into a shell."""
        return f"partlabel train --resume {shlex.quote(str(self.path))}"

    @property
    def labels_path(self) -> Path:
        """The labels as trained on, before any cell was held out."""
        return self.path / "labels.parquet"

    @property
    def truth_path(self) -> Path:
        """Complete labels that only the log may see; missing where none were given."""
        return self.path / "truth.parquet"

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.path / "model"

    @property
    def start(self) -> "RunFolder":
        """The run of the fit that this one refines; missing where it refines none."""
        return RunFolder(self.path / "start")

    def fold(self, count: int, number: int) -> Path:
        """The folder of the model that never saw one of so many folds of cells."""
        return self.path / "folds" / f"{number + 1}-of-{count}"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def checkpoint(self, phase: str, kind: str = "last") -> Path:
        """Checkpoint of a phase ("selection" or "refit"); kind "last" or "best"."""
        return self.checkpoints / f"{phase}-{kind}.ckpt"

    @property
    def info(self) -> dict[str, Any]:
        """Content of run.json.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "run.json"
        content = _read_json(path)
        if not isinstance(content.get("status"), str) or not isinstance(content.get("inputs", {}), dict):
            raise RunError(f"{path} does not say how a training stands; restore the file or train anew")
        return content

    @property
    def inputs(self) -> dict[str, Any]:
        """What the training was given: among others "images", its image folder, and "labels_hash".

        Raises:
            RunError: run.json does not say.
        """
        found = self.info.get("inputs", {})
        if not all(isinstance(found.get(name), str) for name in ("images", "labels_hash")):
            raise RunError(f"{self.path / 'run.json'} does not say what was trained on; restore the file or train anew")
        return found  # type: ignore[no-any-return]

    def update(self, **facts: Any) -> None:
        """Set entries of run.json."""
        path = self.path / "run.json"
        write_json(path, {**(_read_json(path) if path.is_file() else {}), **facts})

    def write_config(self, settings: TrainSettings) -> None:
        """Keep the settings."""
        write_json(self.path / "config.json", settings.model_dump(mode="json"))

    @property
    def settings(self) -> TrainSettings:
        """The settings as used.

        Raises:
            RunError: config.json does not hold them.
        """
        try:
            # runs of earlier releases held out cells whatever the labels
            return TrainSettings(**{"holdout_by": "cells", **_read_json(self.path / "config.json")})
        except ValueError as error:
            raise RunError(f"{self.path / 'config.json'} holds no settings of this release: {error}") from error

    def labels(self) -> LabelTable:
        """The labels as trained on."""
        return read_written(self.labels_path)

    def assets(self) -> dict[str, NDArray[np.float32]]:
        """What the method took from outside the labels, by name (see `methods.base.Context`).

        Raises:
            RunError: a file is damaged.
        """
        earlier = [self.path / "label_vectors.npy"]  # of runs of release 0.1
        return {
            path.stem: _read_array(path)
            for path in (*earlier, *sorted(self.path.glob("assets/*.npy")))
            if path.is_file()
        }

    @property
    def has_held_out(self) -> bool:
        """Whether held-out cells were judged and kept."""
        return (self.path / "held_out.parquet").is_file() and "held_out" in self.info

    def write_held_out(
        self, cells: Cells, logits: NDArray[np.float32], table: LabelTable, folds: int | None = None
    ) -> None:
        """Keep known cells with the logits of a model that never saw them: those held out of the training, or all that
        were stated, each scored by the model of its fold of so many.
        """
        columns = {
            "image": pyarrow.array(table.images).take(pyarrow.array(cells.image_index)),
            "class": pyarrow.array(table.classes).take(pyarrow.array(cells.class_index)),
            "state": pyarrow.array(cells.states),
            "logit": pyarrow.array(logits),
        }
        with atomic_path(self._scored(folds)) as temporary:
            pyarrow.parquet.write_table(pyarrow.table(columns), temporary)

    def held_out(self, classes: tuple[str, ...], folds: int | None = None) -> ScoredCells:
        """The held-out cells with the logits of the model that never saw them, numbered by the order of `classes`; or
        all stated cells, by the models of so many folds.

        Raises:
            RunError: the run has none, or they are of other classes.
        """
        path = self._scored(folds)
        if not path.is_file():
            if self.info["status"] != "done":
                raise RunError(f"the training of {self.path} has not finished; go on with: {self.resume_command}")
            raise RunError(f"{self.path} holds no held-out cells; train with --holdout above 0, or give --folds")
        return _read_held_out(path, classes)

    def has_crossed(self, folds: int) -> bool:
        """Whether all stated cells were scored by the models of so many folds."""
        return self._scored(folds).is_file()

    def forget_crossed(self, folds: int) -> None:
        """Delete these scores: models are trained anew."""
        with storage_errors(self.path):
            self._scored(folds).unlink(missing_ok=True)

    def _scored(self, folds: int | None) -> Path:
        return self.path / ("held_out.parquet" if folds is None else f"folds/scored-by-{folds}.parquet")

    def write_evaluation(self, result: Mapping[str, Any]) -> None:
        """Keep the last evaluation of the run."""
        write_json(self.path / "evaluation.json", result)

    def evaluation(self) -> dict[str, Any] | None:
        """The last evaluation of the run, if there was one."""
        path = self.path / "evaluation.json"
        return _read_json(path) if path.is_file() else None

    def append_log(self, row: Mapping[str, Any], name: str = LOG) -> None:
        """Add an epoch to a log, or replace it if it is there (training went on from before it)."""
        rows = [old for old in self.log(name) if old["phase"] != row["phase"] or int(old["epoch"]) < row["epoch"]]
        rows.append({name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()})
        names = list(dict.fromkeys(name for one in rows for name in one))
        lines = [",".join(names), *(",".join(one.get(name, "") for name in names) for one in rows)]
        write_text(self.path / name, "\n".join(lines) + "\n")

    def log(self, name: str = LOG) -> list[dict[str, str]]:
        """Rows of a log.

        Args:
            name: of the file.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / name
        if not path.is_file():
            return []
        try:
            with open(path, newline="", encoding="utf-8") as stream:
                reader = csv.DictReader(stream, strict=True)
                rows = list(reader)
            if rows or reader.fieldnames:
                missing = {"phase", "epoch"} - {*(reader.fieldnames or ())}
                if missing:
                    raise ValueError(f"it has no column {min(missing)!r}")
            for row in rows:
                int(row["epoch"]), row["phase"].strip(), [value.strip() for value in row.values()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise RunError(
                f"{path} is not the log of a training ({error}); restore it, or delete it to go on without its rows"
            ) from error
        return rows


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "partlabel": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }


def _remove(path: Path) -> None:
    """Delete a file or a folder, as far as that goes."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _is_passing(path: Path) -> bool:
    """Whether a file says that somebody writes in its folder, or was left by somebody who was killed while he did."""
    return is_ownership(path) or (path.name.startswith(".") and ".part" in path.name)


def _read_held_out(path: Path, classes: tuple[str, ...]) -> ScoredCells:
    position = {name: number for number, name in enumerate(classes)}
    try:
        table = pyarrow.parquet.read_table(path, columns=["image", "class", "state", "logit"])
        images = table["image"].combine_chunks().dictionary_encode()
        return ScoredCells(
            classes,
            table["logit"].to_numpy().astype(np.float64),
            table["state"].to_numpy().astype(np.int8),
            np.asarray([position[name] for name in table["class"].to_pylist()], np.int64),
            tuple(images.dictionary.to_pylist()),
            images.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        )
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{path} does not hold the held-out cells of this run ({error}); restore the file or train anew"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}); restore the file or train anew") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds no table of names and values; restore the file or train anew")
    return content


def _read_array(path: Path) -> NDArray[np.float32]:
    try:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"{path} holds no array ({error}); restore the file or train anew") from error
