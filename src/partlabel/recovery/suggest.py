"""Suggestions: unknown cells that probably have a state, each with its calibrated probability."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray
from partlabel.files import atomic_path, file_sha256, write_json
from partlabel.formats.text import name_cell
from partlabel.labels import IntArray, LabelTable, Source, State
from partlabel.recovery.audited import Audited
from partlabel.recovery.calibrate import Calibration
from partlabel.recovery.promise import Promise
from partlabel.recovery.sample import Aside
from partlabel.recovery.thresholds import PrecisionThresholds

Thresholds = Promise | PrecisionThresholds | Audited

COLUMNS = ("image", "class", "state", "source", "probability", "logit", "rule")


class Suggestion(NamedTuple):
    """One unknown cell that probably has the suggested state, with the probability of that state; `rule` says what it
    was accepted by.
    """

    image: str
    class_name: str
    probability: float
    logit: float
    rule: str


@dataclass(frozen=True, eq=False)
class Candidates:
    """Unknown cells that may be suggested, U of them, the most probable first; equal ones in the order of images, then
    classes.

    Args:
        table: the labels that they complete.
        state: that is suggested, present or absent.
        scored: bool `[N]`; the images whose logits were given.
        unknown: int64 `[C]`, unknown cells of the scored images.
        image_index: int64 `[U]`.
        class_index: int64 `[U]`, in the class order of the table.
        probability: float64 `[U]`, of the state, calibrated.
        logit: float64 `[U]`, of the class.
        aside: cells that are known, but not by chance.
    """

    table: LabelTable
    state: State
    scored: BoolArray = field(repr=False)
    unknown: IntArray = field(repr=False)
    image_index: IntArray = field(repr=False)
    class_index: IntArray = field(repr=False)
    probability: FloatArray = field(repr=False)
    logit: FloatArray = field(repr=False)
    aside: Aside = field(default_factory=Aside.none, repr=False)

    def accepted(self, thresholds: Thresholds) -> "Suggestions":
        """Those at or above the threshold of their class; thresholds are in the class order of the table."""
        return self.chosen(self.probability >= thresholds.values[self.class_index], thresholds)

    def chosen(self, which: BoolArray | IntArray, thresholds: Thresholds) -> "Suggestions":
        """Those of a bool `[U]`, or with these numbers."""
        return Suggestions(
            self.table,
            thresholds,
            self.scored,
            self.unknown,
            self.image_index[which],
            self.class_index[which],
            self.probability[which],
            self.logit[which],
            self.state,
        )


@dataclass(frozen=True, eq=False)
class Suggestions:
    """Suggested cells, L of them, the most probable first; equal ones in the order of images, then classes.

    Args:
        table: the labels that they complete; none of its known cells is among them.
        thresholds: by which they were chosen, in the class order of the table.
        scored: bool `[N]`; the images whose logits were given.
        unknown: int64 `[C]`, unknown cells of the scored images.
        image_index: int64 `[L]`.
        class_index: int64 `[L]`, in the class order of the table.
        probability: float64 `[L]`, of the suggested state, calibrated.
        logit: float64 `[L]`, of the class.
        state: that is suggested.
        evidence: JSON values that say which known cells the thresholds rest on.
    """

    table: LabelTable = field(repr=False)
    thresholds: Thresholds = field(repr=False)
    scored: BoolArray = field(repr=False)
    unknown: IntArray = field(repr=False)
    image_index: IntArray = field(repr=False)
    class_index: IntArray = field(repr=False)
    probability: FloatArray = field(repr=False)
    logit: FloatArray = field(repr=False)
    state: State = State.PRESENT
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.image_index.size

    def __repr__(self) -> str:
        return f"Suggestions({len(self)} {self.state.name.lower()} labels of {int(self.scored.sum())} images)"

    def __iter__(self) -> Iterator[Suggestion]:
        columns = zip(self.image_index, self.class_index, self.probability, self.logit, strict=True)
        rules = self.thresholds.rules
        for row, column, probability, logit in columns:
            image, name = self.table.images[row], self.table.classes[column]
            yield Suggestion(image, name, float(probability), float(logit), rules[column])

    def to_table(self) -> LabelTable:
        """The suggestions as labels of source `RECOVERED` over the images and classes of the table, ready to be
        merged.
        """
        states = np.full(len(self), self.state, np.int8)
        names = self.table.images, self.table.classes
        return LabelTable.from_cells(*names, self.image_index, self.class_index, states, Source.RECOVERED)

    def summary(self) -> dict[str, Any]:
        """JSON values: target, counts, what the thresholds rest on, and what was left out and why."""
        suggested = np.bincount(self.class_index, minlength=len(self.table.classes))
        rules, limits = self.thresholds.rules, self.thresholds.values
        classes = [
            {
                "class": name,
                "suggested": int(suggested[column]),
                "unknown": int(self.unknown[column]),
                "rule": rules[column],
                "threshold": float(limits[column]) if np.isfinite(limits[column]) else None,
                **self.thresholds.of_class(column),
            }
            for column, name in enumerate(self.table.classes)
        ]
        reasons = ((column, self.thresholds.why_not(column)) for column in range(len(classes)))
        return {
            **self.thresholds.summary(),
            "evidence": dict(self.evidence),
            "state": self.state.name.lower(),
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
                state = self.state.name.lower()
                for image, name, probability, logit, rule in self:
                    names = f"{name_cell(image)},{name_cell(name)}"
                    file.write(f"{names},{state},recovered,{probability:.6f},{logit:.6g},{rule}\n")
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


Scores = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]
"""Rows of the table `[n]`, logits `[n, C]` and, where each fold of cells has a model of its own, folds `[n, C]`."""


def find_candidates(
    table: LabelTable,
    scores: Iterable[Scores],
    calibrations: Sequence[Calibration],
    at_least: ArrayLike,
    state: State = State.PRESENT,
    most: int | None = None,
    stated: LabelTable | None = None,
) -> Candidates:
    """The unknown cells that reach a probability of a state, or the most probable of them.

    Memory beyond the candidates is that of one chunk.

    Args:
        table: the labels to complete; only cells that are unknown in it are suggested.
        scores: chunks, no row twice; see `Scores`. Logits are in the class order of the calibrations.
        calibrations: of the model that gave the logits, or of that of each fold.
        at_least: smallest probability, a number or one for each class of the calibrations.
        state: present or absent.
        most: how many at most.
        stated: a table of the same images and classes in which those known cells are listed that are known by chance;
            the other known ones of `table` are set aside. None: none is.

    Raises:
        LabelError: the classes of table and calibration differ, a chunk has another shape, or a row comes twice.
        NotFiniteError: a logit is NaN.
    """
    columns = _columns(table, calibrations[0])
    limits = np.broadcast_to(np.asarray(at_least, np.float64), columns.shape)
    scored = np.zeros(len(table), bool)
    unknown = np.zeros(len(columns), np.int64)
    found: list[tuple[NDArray[Any], ...]] = []
    apart: list[tuple[NDArray[Any], ...]] = []
    for rows, logits, *folds in scores:
        index, values = np.asarray(rows, np.int64).ravel(), np.asarray(logits)
        open_cells = table.open_rows(index)[:, columns]
        _check_chunk(index, values, scored, table, calibrations[0].classes)
        scored[index] = True
        unknown += open_cells.sum(axis=0)
        probability = _probability(values, calibrations, np.asarray(folds[0]) if folds else None)
        if state is State.ABSENT:
            probability = 1 - probability
        if stated is not None:
            known = table.rows(index)[:, columns] != State.UNKNOWN
            decided = known & (stated.rows(index)[:, columns] == State.UNKNOWN)
            places = np.nonzero(decided & (probability >= limits))
            apart.append((probability[places], columns[places[1]], index[places[0]]))
        at = np.nonzero(open_cells & (probability >= limits))
        found.append((index[at[0]], columns[at[1]], probability[at], values[at].astype(np.float64)))
        if most is not None:
            found = [_most_probable(found, most)]
    empty = tuple(np.empty(0, kind) for kind in (np.int64, np.int64, np.float64, np.float64))
    image, column, probability, logit = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
    order = np.lexsort((column, image, -probability))
    by_table = np.argsort(columns)
    return Candidates(
        table,
        state,
        scored,
        unknown[by_table],
        image[order],
        column[order],
        probability[order],
        logit[order],
        _aside(table, state, apart),
    )


def _aside(table: LabelTable, state: State, found: list[tuple[NDArray[Any], ...]]) -> Aside:
    """Set-aside cells; one that a model recovered is taken to be right."""
    if not found:
        return Aside.none()
    probability, column, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
    position, listed = table.find(row, column)
    recovered = np.zeros(row.size, bool)
    recovered[listed] = table.sources[position[listed]] == Source.RECOVERED
    return Aside(probability, column, recovered | (table.states_at(row, column) == state))


def _most_probable(found: list[tuple[NDArray[Any], ...]], most: int) -> tuple[NDArray[Any], ...]:
    """Of columns of images, classes, probabilities and logits, the rows of highest probability."""
    columns = tuple(np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((columns[1], columns[0], -columns[2]))[:most]
    return tuple(column[order] for column in columns)


def suggest(
    table: LabelTable, scores: Iterable[Scores], calibration: Calibration, thresholds: PrecisionThresholds
) -> Suggestions:
    """Suggest the unknown cells whose calibrated probability is at or above the threshold of their class.

    Args:
        table: the labels to complete; only cells that are unknown in it are suggested.
        scores: chunks, no row twice; see `Scores`.
        calibration: of the model that gave the logits.
        thresholds: from the same held-out cells as the calibration.

    Raises:
        LabelError: the classes of table, calibration and thresholds differ, a chunk has another shape, or a row comes
            twice.
        NotFiniteError: a logit is NaN.
    """
    if calibration.classes != thresholds.names:
        raise LabelError("calibration and thresholds are of different classes; make both from the same held-out cells")
    found = find_candidates(table, scores, (calibration,), thresholds.values)
    entry = {entry.name: entry for entry in thresholds.classes}
    return found.accepted(replace(thresholds, classes=tuple(entry[name] for name in table.classes)))


def _probability(logits: NDArray[Any], calibrations: Sequence[Calibration], fold: NDArray[Any] | None) -> FloatArray:
    """Probabilities of being present, `[n, C]`, each by the calibration of its fold."""
    if fold is None:
        return calibrations[0].probability(logits)
    each = np.stack([calibration.probability(logits) for calibration in calibrations])
    return np.asarray(np.take_along_axis(each, fold[None], 0)[0], np.float64)


def _check_chunk(
    rows: IntArray, logits: NDArray[Any], scored: BoolArray, table: LabelTable, classes: tuple[str, ...]
) -> None:
    """Refuse logits of another shape, of an image that was scored already, or with a NaN."""
    if logits.shape != (rows.size, len(classes)):
        raise LabelError(
            f"logits have shape {logits.shape}; {rows.size} images and {len(classes)} classes were expected"
        )
    if scored[rows].any() or np.unique(rows).size < rows.size:
        raise LabelError("an image was scored twice; give the logits of each image once")
    missing = np.argwhere(np.isnan(logits))
    if missing.size:
        row, column = missing[0]
        raise NotFiniteError(
            f"{len(missing)} logit(s) are NaN, the first for image {table.images[rows[row]]!r} and class "
            f"{classes[column]!r}; the model is broken, train it again"
        )


def _columns(table: LabelTable, calibration: Calibration) -> IntArray:
    """The table's column of each class of the model."""
    if set(calibration.classes) != set(table.classes):
        strange = sorted(set(calibration.classes) ^ set(table.classes))
        raise LabelError(
            f"the model has {len(calibration.classes)} classes and the table {len(table.classes)}, and "
            f"{len(strange)} of them are in one only, first: {strange[0]!r}; use the table that the model was trained "
            f"on, or one with the same classes"
        )
    return np.array([table.class_positions[name] for name in calibration.classes], np.int64)
