"""The run folder: everything about one training, and nothing torn.

config.json        the settings as used            log.csv           one line an epoch
run.json           versions, inputs, how it ended  checkpoints/      last.ckpt, best.ckpt of each phase
labels.parquet     the labels as trained on        model/            the bundle to ship
held_out.parquet   held-out cells, their logits    report.html       to look at
label_vectors.npy  vectors of the class names, if the method uses them
"""

import csv
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from partlabel.errors import RunError
from partlabel.files import atomic_path, storage_errors, write_json, write_text
from partlabel.formats import read_table, write_table
from partlabel.labels import Cells, LabelTable
from partlabel.runs.processes import process_rank, wait_for
from partlabel.runs.settings import TrainSettings
from partlabel.version import __version__

_PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "pillow", "safetensors")


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
        vectors: NDArray[np.float32] | None = None,
        /,
        **facts: Any,
    ) -> "RunFolder":
        """Start a run in a new or empty folder; the other processes of a training open the one that the first started.

        Raises:
            RunError: the folder holds something already.
        """
        run = cls(path)
        if process_rank():
            wait_for(run.path / "run.json")
            return run
        run.check_new()
        with storage_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
        write_table(table, run.labels_path)
        if vectors is not None:
            with atomic_path(run.path / "label_vectors.npy") as temporary, open(temporary, "wb") as stream:
                np.save(stream, vectors, allow_pickle=False)
        write_json(run.path / "config.json", settings.model_dump(mode="json"))
        run.update(status="training", versions=versions(), inputs=dict(inputs), **facts)
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
        """Refuse to start in a folder that holds something.

        Raises:
            RunError: it does.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            resumable = " or go on with --resume" if (self.path / "run.json").is_file() else ""
            raise RunError(f"{self.path} exists and is not empty; choose another --out{resumable}")

    @property
    def labels_path(self) -> Path:
        """The labels as trained on, before any cell was held out."""
        return self.path / "labels.parquet"

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.path / "model"

    def checkpoint(self, phase: str, kind: str = "last") -> Path:
        """Checkpoint of a phase ("selection" or "refit"); kind "last" or "best"."""
        return self.path / "checkpoints" / f"{phase}-{kind}.ckpt"

    @property
    def info(self) -> dict[str, Any]:
        """Content of run.json."""
        return _read_json(self.path / "run.json")

    def update(self, **facts: Any) -> None:
        """Set entries of run.json."""
        path = self.path / "run.json"
        write_json(path, {**(_read_json(path) if path.is_file() else {}), **facts})

    @property
    def settings(self) -> TrainSettings:
        """The settings as used.

        Raises:
            RunError: config.json does not hold them.
        """
        try:
            return TrainSettings(**_read_json(self.path / "config.json"))
        except ValueError as error:
            raise RunError(f"{self.path / 'config.json'} holds no settings of this release: {error}") from error

    def labels(self) -> LabelTable:
        """The labels as trained on."""
        return read_table(self.labels_path).table

    def label_vectors(self) -> NDArray[np.float32] | None:
        """Vectors `[C, d_t]` of the class names, if the method uses any that are not learned."""
        path = self.path / "label_vectors.npy"
        return np.load(path, allow_pickle=False) if path.is_file() else None

    def write_held_out(self, cells: Cells, logits: NDArray[np.float32], table: LabelTable) -> None:
        """Keep the held-out cells with the logits of the model that never saw them."""
        columns = {
            "image": pyarrow.array(table.images).take(pyarrow.array(cells.image_index)),
            "class": pyarrow.array(table.classes).take(pyarrow.array(cells.class_index)),
            "state": pyarrow.array(cells.states),
            "logit": pyarrow.array(logits),
        }
        with atomic_path(self.path / "held_out.parquet") as temporary:
            pyarrow.parquet.write_table(pyarrow.table(columns), temporary)

    def held_out(self, classes: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.int64]]:
        """Logits, states and class numbers of the held-out cells.

        Raises:
            RunError: the run has none.
        """
        path = self.path / "held_out.parquet"
        if not path.is_file():
            if self.info["status"] != "done":
                raise RunError(
                    f"the training of {self.path} has not finished; go on with: partlabel train --resume {self.path}"
                )
            raise RunError(f"{self.path} holds no held-out cells; train with --holdout above 0")
        table = pyarrow.parquet.read_table(path)
        position = {name: number for number, name in enumerate(classes)}
        numbers = np.asarray([position[name] for name in table["class"].to_pylist()], np.int64)
        return table["logit"].to_numpy().astype(np.float64), table["state"].to_numpy().astype(np.int8), numbers

    def write_evaluation(self, result: Mapping[str, Any]) -> None:
        """Keep the last evaluation of the run."""
        write_json(self.path / "evaluation.json", result)

    def evaluation(self) -> dict[str, Any] | None:
        """The last evaluation of the run, if there was one."""
        path = self.path / "evaluation.json"
        return _read_json(path) if path.is_file() else None

    def append_log(self, row: Mapping[str, Any]) -> None:
        """Add an epoch to log.csv, or replace it if it is there (training went on from before it)."""
        rows = [old for old in self.log() if old["phase"] != row["phase"] or int(old["epoch"]) < row["epoch"]]
        rows.append({name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()})
        names = list(dict.fromkeys(name for one in rows for name in one))
        lines = [",".join(names), *(",".join(one.get(name, "") for name in names) for one in rows)]
        write_text(self.path / "log.csv", "\n".join(lines) + "\n")

    def log(self) -> list[dict[str, str]]:
        """Rows of log.csv."""
        path = self.path / "log.csv"
        if not path.is_file():
            return []
        with open(path, newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "partlabel": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
