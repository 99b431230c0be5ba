"""From a journal to a label table, and what that changes."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import LabelError, UsageError
from partlabel.files import file_sha256, write_json
from partlabel.formats import read_table, write_table
from partlabel.labels import Cells, Conflict, Int8Array, LabelTable, Source, State
from partlabel.merging import merge, merge_related, without
from partlabel.reviewing.journal import Content
from partlabel.reviewing.source import completed_by
from partlabel.reviewing.subject import KINDS, Subject
from partlabel.wording import amount

_STATES = {"present": State.PRESENT, "absent": State.ABSENT}
_EXAMPLES = 3
_RECORD = "export of a review"


class ClassChange(NamedTuple):
    """What a review changes of one class.

    Args:
        name: of the class.
        present: cells that become present.
        absent: cells that become absent.
        changed: those of them that were known as the opposite.
        examples: names of the first images among all of them.
    """

    name: str
    present: int
    absent: int
    changed: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        changed = f", {self.changed:,} of them known otherwise before" if self.changed else ""
        shown = ", ".join(map(repr, self.examples))
        more = ", ..." if self.present + self.absent > len(self.examples) else ""
        return f"{self.name}: {self.present:+,} present, {self.absent:+,} absent{changed} ({shown}{more})"


class Exported(NamedTuple):
    """The labels of a review.

    Args:
        table: with the verdicts, whose cells are of source `REVIEW`, or `UNSURE` where nobody could decide.
        changes: of each class that changes, in the order of the table.
        contradictions: cells whose verdict is the opposite of what was known.
        unsure: how many cells nobody could decide; those that were known stay so, the others are of source `UNSURE`.
        replaced: what became of the labels of an earlier export of this journal; None if there was none.
        implied: how many of its cells follow from others by relations; they are of source `IMPLIED`.
        left_out: verdicts that contradict each other by relations, and are not in the table.
        gave_way: labels that are unknown or the opposite now, because of verdicts on other classes.
    """

    table: LabelTable
    changes: tuple[ClassChange, ...]
    contradictions: tuple[Conflict, ...]
    unsure: int
    replaced: str | None = None
    implied: int = 0
    left_out: tuple[Conflict, ...] = ()
    gave_way: tuple[Conflict, ...] = ()

    def lines(self) -> Iterator[str]:
        """The changes in words, a line per class."""
        yield from map(str, self.changes)
        total = sum(change.present for change in self.changes), sum(change.absent for change in self.changes)
        yield f"in all: {total[0]:+,} present, {total[1]:+,} absent in {amount(len(self.changes), 'class', 'classes')}"
        if self.unsure:
            yield f"{amount(self.unsure, 'cell')} unsure: known ones stay so, the others are not asked again"
        if self.implied:
            yield f"{amount(self.implied, 'cell')} known because of others, of source implied; nobody judged them"
        for one in self.contradictions:
            yield f"contradicted: class {one.class_name!r} of {one.image!r}"
        for one in self.left_out:
            yield f"left out, because verdicts contradict each other: class {one.class_name!r} of {one.image!r}"
        for one in self.gave_way:
            yield f"a label gave way to a verdict on another class: class {one.class_name!r} of {one.image!r}"
        if self.replaced is not None:
            yield self.replaced


def export(
    subject: Subject,
    known: LabelTable | None,
    content: Content,
    journal: Path,
    prefer: Literal["review", "table"] | None,
) -> Exported:
    """The table with the last verdict on each cell.

    Args:
        subject: what was reviewed.
        known: table that verdicts are added to; None: they stand alone.
        content: of the journal.
        journal: its path, for messages.
        prefer: which one is right where a verdict contradicts what is known; None: refuse.

    Raises:
        LabelError: there is no verdict, one is on something else, or contradictions are not decided.
    """
    given = _last_verdicts(subject, content, journal)
    decided = {cell: _STATES.get(verdict, State.UNKNOWN) for cell, verdict in given.items()}
    if not given:
        raise LabelError(f"journal {journal} holds no verdict; there is nothing to export")
    cells = np.array(sorted(decided), np.int64)
    rows, columns = np.divmod(cells, len(subject.classes))
    states = np.array([decided[cell] for cell in cells.tolist()], np.int8)
    names = subject.images, subject.classes
    sources = np.where(states == State.UNKNOWN, np.int8(Source.UNSURE), np.int8(Source.REVIEW))
    verdicts = LabelTable.from_cells(*names, rows, columns, states, sources)
    empty = LabelTable.from_cells(*names, [], [], [])
    base = empty if known is None else known
    if subject.relations is not None:  # of classes, too, that the table lacks
        base = completed_by(subject.relations, merge(base, empty)[0], subject.conflicts)
    merged, contradictions = merge(base, verdicts, "self" if prefer == "table" else "other")
    if contradictions and prefer is None:
        raise LabelError(_undecided(contradictions, verdicts))
    left_out: tuple[Conflict, ...] = ()
    if subject.relations is not None:
        kept = without(verdicts, contradictions) if prefer == "table" else verdicts
        settled = completed_by(subject.relations, kept, subject.conflicts)
        left_out = tuple(_left_out(kept, settled))
        merged, _ = merge_related(base, settled, subject.relations, "other")
        merged = _left_to_people(merged, subject, base)
    return Exported(
        merged,
        tuple(_changes(base, verdicts, merged)),
        tuple(contradictions),
        int(((states == State.UNKNOWN) & ~_follows(merged, verdicts)).sum()),
        implied=int((merged.sources == Source.IMPLIED).sum()),
        left_out=left_out,
        gave_way=tuple(_gave_way(base, verdicts, merged)),
    )


def write_export(found: Exported, out: Path, journal: Path) -> Exported:
    """Write the table, and beside it as `OUT.json` of which journal it is; each whole or not at all. An earlier export
    of the same journal is replaced.

    Returns:
        `found`, with what became of the earlier one.

    Raises:
        UsageError: `out` is there and is not as an export of this journal left it.
        LabelError: the table cannot be kept in this format.
        StorageError: a file cannot be written.
    """
    _refuse_others(out, journal)
    replaced = None
    if out.is_file():
        before = read_table(out).table
        other = int((_before(found.table, before) != before.cells().states).sum())
        labels = amount(before.cells().states.size, "label")
        now = f"{other:,} of them other or gone now" if other else "all of them here again"
        replaced = f"{out} was an earlier export of this journal with {labels}, {now}"
    write_table(found.table, out)
    if out.is_file():
        record = {"kind": _RECORD, "sha256": file_sha256(out), "journal": str(journal.resolve())}
        write_json(f"{out}.json", record)
    return found._replace(replaced=replaced)


def _refuse_others(out: Path, journal: Path) -> None:
    """Refuse to write over what somebody else made, or changed since."""
    beside, record = Path(f"{out}.json"), None
    with suppress(OSError, ValueError):
        record = json.loads(beside.read_text(encoding="utf-8"))
    ours: dict[str, Any] = record if isinstance(record, dict) and record.get("kind") == _RECORD else {}
    if beside.exists() and not ours:
        raise UsageError(f"{beside} exists and is not of an export of a review; give another file to write")
    if not out.is_file():
        return
    if file_sha256(out) != ours.get("sha256"):
        raise UsageError(
            f"{out} exists and is not as an export of a review left it: it may hold somebody's work; give another file "
            f"to write"
        )
    if ours.get("journal") != str(journal.resolve()):
        raise UsageError(f"{out} is an export of another journal, {ours.get('journal')}; give another file to write")


def _last_verdicts(subject: Subject, content: Content, journal: Path) -> dict[int, str]:
    """By cell; those that were taken back are left out."""
    given: dict[int, str] = {}
    for record in content.records:
        cell = subject.cell(record.image, record.class_name)
        if cell is None:
            raise LabelError(
                f"journal {journal} is of other images or classes: its record {record.number} is about class "
                f"{record.class_name!r} of {record.image!r}, which is not here; give the source that was reviewed"
            )
        given[cell] = record.verdict
    return {cell: verdict for cell, verdict in given.items() if verdict != "none"}


def _undecided(contradictions: list[Conflict], verdicts: LabelTable) -> str:
    shown = []
    for one in contradictions[:10]:
        at = [verdicts.image_positions[one.image]], [verdicts.class_positions[one.class_name]]
        verdict, before = ("present", "absent") if verdicts.states_at(*at)[0] > 0 else ("absent", "present")
        shown.append(f"class {one.class_name!r} of {one.image!r} (known {before}, verdict {verdict})")
    more = f", and {len(contradictions) - 10:,} more" if len(contradictions) > 10 else ""
    return (
        f"{amount(len(contradictions), 'verdict')} the opposite of a known label: {', '.join(shown)}{more}; say "
        f"which is right (--prefer review, or table)"
    )


def _changes(base: LabelTable, verdicts: LabelTable, merged: LabelTable) -> Iterator[ClassChange]:
    """Of each class of the verdicts, in its order."""
    cells = verdicts.cells()
    rows = np.array([merged.image_positions[name] for name in verdicts.images], np.int64)[cells.image_index]
    columns = np.array([merged.class_positions[name] for name in verdicts.classes], np.int64)[cells.class_index]
    after = merged.states_at(rows, columns)
    before = _before(base, verdicts)
    differs = (after != before) & (cells.states != State.UNKNOWN)
    order = np.argsort(cells.class_index, kind="stable")
    starts = np.searchsorted(cells.class_index[order], np.arange(len(verdicts.classes) + 1))
    for column in np.flatnonzero(np.diff(starts)).tolist():
        at = order[starts[column] : starts[column + 1]]
        at = at[differs[at]]
        if at.size:
            yield ClassChange(
                verdicts.classes[column],
                int((after[at] == State.PRESENT).sum()),
                int((after[at] == State.ABSENT).sum()),
                int((before[at] != State.UNKNOWN).sum()),
                tuple(verdicts.images[row] for row in cells.image_index[at[:_EXAMPLES]]),
            )


def _left_to_people(merged: LabelTable, subject: Subject, base: LabelTable) -> LabelTable:
    """The table in which no cell that an audit drew follows from verdicts on other cells."""
    if subject.listed is None or not (drawn := subject.listed.kind == KINDS.index("audit")).any():
        return merged
    rows, columns = np.divmod(subject.listed.cells[drawn], len(subject.classes))
    asked = LabelTable.from_cells(subject.images, subject.classes, rows, columns, np.ones(rows.size, np.int8))
    cells = merged.cells()
    gone = (cells.sources == Source.IMPLIED) & _in(asked, merged, cells)[2]
    gone &= _in(base, merged, cells)[0] == State.UNKNOWN
    return LabelTable.from_cells(
        merged.images,
        merged.classes,
        cells.image_index,
        cells.class_index,
        np.where(gone, np.int8(State.UNKNOWN), cells.states),
        np.where(gone, np.int8(Source.IMPORT), cells.sources),
        merged.background,
    )


def _follows(merged: LabelTable, verdicts: LabelTable) -> NDArray[np.bool_]:
    """Which cells of the verdicts follow from others in the end."""
    return np.asarray(_in(merged, verdicts, verdicts.cells())[1] == Source.IMPLIED)


def _left_out(verdicts: LabelTable, settled: LabelTable) -> Iterator[Conflict]:
    """Verdicts that are not among those that settle other cells."""
    cells = verdicts.cells()
    lost = (cells.states != State.UNKNOWN) & (_in(settled, verdicts, cells)[0] == State.UNKNOWN)
    for row, column in zip(cells.image_index[lost].tolist(), cells.class_index[lost].tolist(), strict=True):
        yield Conflict(verdicts.images[row], verdicts.classes[column])


def _gave_way(base: LabelTable, verdicts: LabelTable, merged: LabelTable) -> Iterator[Conflict]:
    """Labels that somebody stated, that no verdict is on, and that do not stand any more."""
    cells = base.cells()
    stated = (cells.states != State.UNKNOWN) & ~np.isin(cells.sources, (Source.RECOVERED, Source.IMPLIED))
    judged = _in(verdicts, base, cells)[2]
    lost = stated & ~judged & (_in(merged, base, cells)[0] != cells.states)
    for row, column in zip(cells.image_index[lost].tolist(), cells.class_index[lost].tolist(), strict=True):
        yield Conflict(base.images[row], base.classes[column])


def _in(table: LabelTable, other: LabelTable, cells: Cells) -> tuple[Int8Array, Int8Array, NDArray[np.bool_]]:
    """States and sources in a table of the cells of another one, and whether it lists them."""
    rows = np.array([table.image_positions.get(name, -1) for name in other.images], np.int64)[cells.image_index]
    columns = np.array([table.class_positions.get(name, -1) for name in other.classes], np.int64)[cells.class_index]
    there = np.flatnonzero((rows >= 0) & (columns >= 0))
    states, sources, listed = (np.zeros(rows.size, np.int8) for _ in range(3))
    position, found = table.find(rows[there], columns[there])
    states[there] = table.states_at(rows[there], columns[there])
    sources[there[found]] = table.sources[position[found]]
    listed[there] = found
    return states, sources, listed.astype(bool)


def _before(base: LabelTable, verdicts: LabelTable) -> Int8Array:
    """States that the cells of the verdicts had; unknown where the table lacks image or class."""
    return _in(base, verdicts, verdicts.cells())[0]
