"""How good each class is, by held-out cells or by a test, and which classes are worst."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from partlabel.evaluation.cells import BoolArray, FloatArray, mean_over
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import IntArray, LabelTable
from partlabel.runs.folder import RunFolder

MOST_ROWS = 400
_MOST_WORST = 6
_WORST_SHARE = 4


class Judged(NamedTuple):
    """Average precision (raw) of each class and the known cells that it stands on.

    Args:
        where: "held-out" or "test".
        values: float64 `[C]`, fractions; NaN where a class lacks a known present or a known absent cell.
        present: int64 `[C]`.
        absent: int64 `[C]`.
    """

    where: str
    values: FloatArray
    present: IntArray
    absent: IntArray

    @property
    def scored(self) -> BoolArray:
        """Bool `[C]`: classes that have an average precision."""
        return ~np.isnan(self.values)

    @property
    def mean(self) -> float | None:
        """MAP over the scored classes; None without any."""
        return mean_over(self.values, self.scored) if self.scored.any() else None

    def worst(self) -> list[int]:
        """Columns of the lowest values, the lowest first: a quarter of the scored classes, at most six."""
        ascending = np.argsort(self.values, kind="stable")[: self.scored.sum()]
        return [int(column) for column in ascending[: min(_MOST_WORST, -(-ascending.size // _WORST_SHARE))]]


class ClassRow(NamedTuple):
    """One line of the table of classes; counts of training labels, then of the cells that it was judged by."""

    name: str
    present: int
    absent: int
    judged_present: int
    judged_absent: int
    average_precision: float | None
    threshold: float | None
    worst: bool


def read_held_out(run: RunFolder, classes: tuple[str, ...]) -> ScoredCells | None:
    """The held-out cells of a run; None if it has none."""
    return run.held_out(classes) if (run.path / "held_out.parquet").is_file() else None


def judge_held_out(cells: ScoredCells) -> Judged:
    """Average precision of each class over its held-out cells."""
    return Judged("held-out", cells.ranking.raw, cells.counts.present, cells.counts.absent)


def judge_test(evaluation: Mapping[str, Any], classes: tuple[str, ...]) -> Judged:
    """What `Evaluation.to_json` says of each class."""
    by_name = {entry["class"]: entry for entry in evaluation["per_class"]}
    entries = [by_name.get(name, {"AP": {"raw": None}, "present": 0, "absent": 0}) for name in classes]
    values = [np.nan if entry["AP"]["raw"] is None else entry["AP"]["raw"] for entry in entries]
    present, absent = ([entry[state] for entry in entries] for state in ("present", "absent"))
    return Judged("test", np.array(values, np.float64), np.array(present, np.int64), np.array(absent, np.int64))


def class_rows(labels: LabelTable, judged: Judged | None, thresholds: tuple[float, ...] | None) -> list[ClassRow]:
    """Lines of the table of classes: the lowest average precision first, classes without one last, at most
    `MOST_ROWS`.
    """
    counts = labels.counts_by_class()
    if judged is None:
        nothing = np.zeros(len(labels.classes), np.int64)
        judged = Judged("", np.full(len(labels.classes), np.nan), nothing, nothing)
    worst = set(judged.worst())
    return [
        ClassRow(
            labels.classes[column],
            int(counts.present[column]),
            int(counts.absent[column]),
            int(judged.present[column]),
            int(judged.absent[column]),
            float(judged.values[column]) if judged.scored[column] else None,
            thresholds[column] if thresholds is not None else None,
            column in worst,
        )
        for column in np.argsort(judged.values, kind="stable")[:MOST_ROWS].tolist()
    ]
