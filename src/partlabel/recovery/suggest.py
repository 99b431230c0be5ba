"""Suggestions: unknown cells that are probably present, each with its calibrated probability."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray
from partlabel.files import atomic_path, file_sha256, write_json
from partlabel.formats.text import name_cell
from partlabel.labels import IntArray, LabelTable, Source, State
from partlabel.recovery.calibrate import Calibration
from partlabel.recovery.thresholds import CONFIDENCE, PrecisionThresholds

COLUMNS = ("image", "class", "state", "source", "probability", "logit", "rule")
ASSUMPTION = (
    "The precision was measured on known cells that training never saw. It holds for unknown cells only if being "
    "known does not depend on the state of a cell, given the model's score. A lower bound reads the two counts alone; "
    "the threshold was "
    "chosen on the same cells, so it promises less than its confidence."
)
_SEEN = (
    "{} of the held-out cells were training cells of the run whose weights this one started from, so that the "
    "precision comes out too high."
)


class Suggestion(NamedTuple):
    """One unknown cell that is probably present; `rule` says whose threshold it passed, "own" or "pooled"."""

    image: str
    class_name: str
    probability: float
    logit: float
    rule: str


@dataclass(frozen=True, eq=False)
class Suggestions:
    """Suggested present cells, L of them, the most probable first; equal ones in the order of images, then classes.

    Args:
        table: the labels that they complete; none of its known cells is among them.
        thresholds: by which they were chosen, in the class order of the table.
        scored: bool `[N]`; the images whose logits were given.
        unknown: int64 `[C]`, unknown cells of the scored images.
        image_index: int64 `[L]`.
        class_index: int64 `[L]`, in the class order of the table.
        probability: float64 `[L]`, calibrated.
        logit: float64 `[L]`.
        seen_before: how many held-out cells the model knew after all, from the run that it started from.
    """

    table: LabelTable
    thresholds: PrecisionThresholds
    scored: BoolArray = field(repr=False)
    unknown: IntArray = field(repr=False)
    image_index: IntArray = field(repr=False)
    class_index: IntArray = field(repr=False)
    probability: FloatArray = field(repr=False)
    logit: FloatArray = field(repr=False)
    seen_before: int = 0

    def __len__(self) -> int:
        return self.image_index.size

    def __iter__(self) -> Iterator[Suggestion]:
        columns = zip(self.image_index, self.class_index, self.probability, self.logit, strict=True)
        for row, column, probability, logit in columns:
            entry = self.thresholds.classes[column]
            yield Suggestion(self.table.images[row], entry.name, float(probability), float(logit), entry.rule)

    def to_table(self) -> LabelTable:
        """The suggestions as labels of source `RECOVERED` over the images and classes of the table, ready to be
        merged.
        """
        states = np.full(len(self), State.PRESENT, np.int8)
        names = self.table.images, self.table.classes
        return LabelTable.from_cells(*names, self.image_index, self.class_index, states, Source.RECOVERED)

    def summary(self) -> dict[str, Any]:
        """JSON values: target, counts, what each class's threshold rests on, and what was left out and why."""
        suggested = np.bincount(self.class_index, minlength=len(self.table.classes))
        classes = []
        for column, entry in enumerate(self.thresholds.classes):
            classes.append(
                {
                    "class": entry.name,
                    "suggested": int(suggested[column]),
                    "unknown": int(self.unknown[column]),
                    "rule": entry.rule,
                    "threshold": entry.threshold,
                    "held_out": {
                        "present": entry.present,
                        "absent": entry.absent,
                        "accepted": entry.accepted,
                        "correct": entry.correct,
                        "precision": entry.precision,
                        "expected": entry.expected,
                        "lower_bound": entry.lower_bound,
                    },
                }
            )
        reasons = ((column, self.thresholds.why_not(column)) for column in range(len(classes)))
        return {
            "target_precision": self.thresholds.target_precision,
            "lower_bound_confidence": CONFIDENCE,
            "assumption": ASSUMPTION,
            **({"seen_before": _SEEN.format(self.seen_before)} if self.seen_before else {}),
            "suggested": len(self),
            "unknown": int(self.unknown.sum()),
            "images": int(self.scored.sum()),
            "images_without_scores": int((~self.scored).sum()),
            "left_out": [
                {"class": self.table.classes[column], "unknown": int(self.unknown[column]), "why": why}
                for column, why in reasons
                if why is not None
            ],
            "classes": classes,
        }

    def write(self, path: Path | str) -> None:
        """Write a CSV that reads as a long label file, and its summary beside it as `PATH.json`; each whole or not at
        all.

        The summary comes first, with the hash of the CSV that it is of and of the one that it replaces, so that an
        interruption between the two leaves a pair that `refuse_checked` knows.

        Raises:
            StorageError: a file cannot be written.
        """
        path = Path(path)
        replaced = file_sha256(path) if path.is_file() else None
        with atomic_path(path) as temporary:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                file.write(",".join(COLUMNS) + "\n")
                for image, name, probability, logit, rule in self:
                    names = f"{name_cell(image)},{name_cell(name)}"
                    file.write(f"{names},present,recovered,{probability:.6f},{logit:.6g},{rule}\n")
            digest = file_sha256(temporary)
            replaces = {"replaces": replaced} if replaced not in {None, digest} else {}
            write_json(f"{path}.json", {"sha256": digest, **replaces, **self.summary()})


def refuse_checked(path: Path | str) -> None:
    """Refuse to write suggestions over a file that is not as `Suggestions.write` left it: it may hold somebody's
    checks.

    Raises:
        UsageError: there is such a file, or the one beside it for the summary is no summary.
    """
    path, beside = Path(path), Path(f"{path}.json")
    record: Any = None
    with suppress(OSError, ValueError):
        record = json.loads(beside.read_text(encoding="utf-8"))
    written = [record.get("sha256"), record.get("replaces")] if isinstance(record, dict) else []
    if path.is_file() and file_sha256(path) not in written:
        raise UsageError(
            f"{path} exists and is not as recover wrote it: it may hold your checks; give another file to write"
        )
    if beside.exists() and not (isinstance(record, dict) and "target_precision" in record):
        raise UsageError(f"{beside} exists and is no summary that recover wrote; give another file to write")


def suggest(
    table: LabelTable,
    scores: Iterable[tuple[ArrayLike, ArrayLike]],
    calibration: Calibration,
    thresholds: PrecisionThresholds,
) -> Suggestions:
    """Suggest the unknown cells whose calibrated probability is at or above the threshold of their class.

    Memory beyond the suggestions is that of one chunk.

    Args:
        table: the labels to complete; only cells that are unknown in it are suggested.
        scores: chunks of (rows of the table `[n]`, logits `[n, C]` in the class order of the calibration); no row
            twice.
        calibration: of the model that gave the logits.
        thresholds: from the same held-out cells as the calibration.

    Raises:
        LabelError: the classes of table, calibration and thresholds differ, a chunk has another shape, or a row comes
        twice. NotFiniteError: a logit is NaN.
    """
    columns = _columns(table, calibration, thresholds)
    limits = thresholds.values
    scored = np.zeros(len(table), bool)
    unknown = np.zeros(len(columns), np.int64)
    found: list[tuple[NDArray[Any], ...]] = []
    for rows, logits in scores:
        index, values = np.asarray(rows, np.int64).ravel(), np.asarray(logits)
        if values.shape != (index.size, len(columns)):
            raise LabelError(
                f"logits have shape {values.shape}; {index.size} images and {len(columns)} classes were expected"
            )
        open_cells = table.rows(index)[:, columns] == State.UNKNOWN
        if scored[index].any() or np.unique(index).size < index.size:
            raise LabelError("an image was scored twice; give the logits of each image once")
        _refuse_nan(values, index, table, calibration.classes)
        scored[index] = True
        unknown += open_cells.sum(axis=0)
        probability = calibration.probability(values)
        chunk_row, column = np.nonzero(open_cells & (probability >= limits))
        at = chunk_row, column
        found.append((index[chunk_row], columns[column], probability[at], values[at].astype(np.float64)))
    return _sorted(table, thresholds, columns, scored, unknown, found)


def _refuse_nan(logits: NDArray[Any], rows: IntArray, table: LabelTable, classes: tuple[str, ...]) -> None:
    missing = np.argwhere(np.isnan(logits))
    if missing.size:
        row, column = missing[0]
        raise NotFiniteError(
            f"{len(missing)} logit(s) are NaN, the first for image {table.images[rows[row]]!r} and class "
            f"{classes[column]!r}; the model is broken, train it again"
        )


def _columns(table: LabelTable, calibration: Calibration, thresholds: PrecisionThresholds) -> IntArray:
    """The table's column of each class of the model."""
    if calibration.classes != thresholds.names:
        raise LabelError("calibration and thresholds are of different classes; make both from the same held-out cells")
    if set(calibration.classes) != set(table.classes):
        strange = sorted(set(calibration.classes) ^ set(table.classes))
        raise LabelError(
            f"the model has {len(calibration.classes)} classes and the table {len(table.classes)}, and "
            f"{len(strange)} of them are in one only, first: {strange[0]!r}; use the table that the model was trained "
            f"on, or one with the same classes"
        )
    return np.array([table.class_positions[name] for name in calibration.classes], np.int64)


def _sorted(
    table: LabelTable,
    thresholds: PrecisionThresholds,
    columns: IntArray,
    scored: BoolArray,
    unknown: IntArray,
    found: list[tuple[NDArray[Any], ...]],
) -> Suggestions:
    """Everything in the class order of the table, the most probable first."""
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    image, column, probability, logit = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
    order = np.lexsort((column, image, -probability))
    by_table = np.argsort(columns)
    entries = tuple(thresholds.classes[position] for position in by_table)
    return Suggestions(
        table,
        PrecisionThresholds(thresholds.target_precision, thresholds.min_accepted, thresholds.min_present, entries),
        scored,
        unknown[by_table],
        image[order],
        column[order],
        probability[order],
        logit[order],
    )
