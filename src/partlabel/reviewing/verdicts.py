"""The verdicts of a journal in memory: the last one on each cell."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from partlabel.errors import UsageError
from partlabel.labels import Int8Array, State
from partlabel.reviewing.implied import Implied
from partlabel.reviewing.journal import Journal, Record, now
from partlabel.reviewing.queues import IMPLIED, VERDICTS, Asked
from partlabel.reviewing.subject import Subject

_NUMBER = {name: number for number, name in enumerate(VERDICTS)}
_STATES = {"present": State.PRESENT, "absent": State.ABSENT}
_CHANGES = 10_000


class Last(NamedTuple):
    """The last record on a cell.

    Args:
        verdict: position in `VERDICTS`.
        number: of the record.
        who: name of the person.
        client: the tab that sent it.
        when: UTC, ISO 8601.
    """

    verdict: int
    number: int
    who: str
    client: str
    when: str


class Decision(NamedTuple):
    """A verdict that a client sends; `seen` is the number of the record that it knows on the cell."""

    cell: int
    verdict: str
    seen: int | None = None
    force: bool = False


_NOTHING = Last(0, 0, "", "", "")


class Verdicts:
    """All verdicts, kept in step with the journal and with the counts of the cells that are asked.

    Args:
        subject: what is reviewed.
        asked: the cells that are asked; its counts start without verdicts.
        journal: where each verdict is written first.

    Attributes:
        implied: what follows from the verdicts, which is no verdict, and not in the journal.
    """

    def __init__(self, subject: Subject, asked: Asked, journal: Journal) -> None:
        self.subject, self.asked, self.journal = subject, asked, journal
        self.last: dict[int, Last] = {}
        self.number = 0
        self._changed = array("q")
        self.implied = Implied(subject, asked)
        self._replay(journal.take_records())
        self.implied.renew()
        cells = list(self.last | dict(self.implied.cells()))
        asked.note(np.array(cells, np.int64), np.zeros(len(cells), np.int8), self._standings(cells))

    @property
    def given(self) -> int:
        """How many cells have a verdict."""
        return sum(last.verdict > 0 for last in self.last.values())

    def decide(
        self, client: str, who: str, decisions: Sequence[Decision]
    ) -> tuple[list[tuple[int, Last]], list[tuple[int, Last]]]:
        """Write verdicts; those on cells that another client decided otherwise meanwhile are left out.

        Returns:
            Cells that were accepted, and those in conflict, each with its last record.

        Raises:
            UsageError: a cell or verdict does not exist, or a cell comes twice.
            StorageError: they could not be written; nothing has changed.
        """
        self._check(decisions)
        free = [one for one in decisions if not self._in_conflict(client, one)]
        kept = {one.cell for one in free}
        first, by = self.number + 1, (who, client, now())
        records = [self._new(number, one.cell, one.verdict, by, first) for number, one in enumerate(free, first)]
        self._write([one.cell for one in free], records)
        conflicts = [(one.cell, self.last[one.cell]) for one in decisions if one.cell not in kept]
        return [(one.cell, self.last[one.cell]) for one in free], conflicts

    def changes(self, after: int, client: str) -> tuple[int, list[tuple[int, Last]]]:
        """Cells that other clients changed after a record, each with its last record; and the number up to which this
        is complete.
        """
        start = min(max(after, 0), self.number)
        end = min(start + _CHANGES, self.number)
        cells = dict.fromkeys(self._changed[start:end])
        return end, [(cell, self.last[cell]) for cell in cells if self.last[cell].client != client]

    def _check(self, decisions: Sequence[Decision]) -> None:
        cells = len(self.subject.images) * len(self.subject.classes)
        seen = set()
        for one in decisions:
            if not 0 <= one.cell < cells:
                raise UsageError(f"cell {one.cell} does not exist; cells are 0 to {cells - 1}: reload the page")
            if one.verdict not in _NUMBER:
                raise UsageError(f"verdict {one.verdict!r} is not {', '.join(VERDICTS)}")
            if one.cell in seen:
                raise UsageError(f"cell {one.cell} comes twice in one request; send its last verdict only")
            seen.add(one.cell)

    def _in_conflict(self, client: str, one: Decision) -> bool:
        last = self.last.get(one.cell)
        if last is None or one.force or last.client == client or last.number <= (one.seen or 0):
            return False
        return last.verdict != _NUMBER[one.verdict]

    def _new(self, number: int, cell: int, verdict: str, by: tuple[str, str, str], request: int) -> Record:
        row, column = divmod(cell, len(self.subject.classes))
        names = self.subject.images[row], self.subject.classes[column]
        previous = VERDICTS[self.last.get(cell, _NOTHING).verdict]
        return Record(number, *names, verdict, previous, *by, "verdict", request)

    def _write(self, cells: list[int], records: list[Record]) -> None:
        """On disk first: what the page is told is never more than what a restart finds."""
        if not records:
            return
        self.journal.append(records)
        rows = {cell // len(self.subject.classes) for cell in cells}
        touched = [*cells, *(cell for cell, _ in self.implied.cells(rows))]
        before = dict(zip(touched, self._standings(touched).tolist(), strict=True))
        for cell, record in zip(cells, records, strict=True):
            self._apply(cell, record)
        self.implied.renew(rows)
        now = [cell for cell, _ in self.implied.cells(rows) if cell not in before]
        before |= dict.fromkeys(now, 0) | {cell: self.last[cell].verdict for cell in now if cell in self.last}
        self.asked.note(
            np.array([*before], np.int64), np.array([*before.values()], np.int8), self._standings([*before])
        )

    def _standings(self, cells: list[int]) -> Int8Array:
        """Numbers of verdicts; `IMPLIED` where a cell has none, and follows from others."""
        return np.array([self._standing(cell) for cell in cells], np.int8)

    def _standing(self, cell: int) -> int:
        if verdict := self.last.get(cell, _NOTHING).verdict:
            return verdict
        told = self.implied.at(cell)
        return 0 if told is None else IMPLIED

    def _replay(self, records: Sequence[Record]) -> None:
        rows, columns = self.subject.known.image_positions, self.subject.known.class_positions
        width = len(self.subject.classes)
        for record in records:  # the journal has none of other images or classes
            self._apply(rows[record.image] * width + columns[record.class_name], record)

    def _apply(self, cell: int, record: Record) -> None:
        self.number = record.number
        self.last[cell] = Last(_NUMBER[record.verdict], self.number, record.who, record.client, record.when)
        self._changed.append(cell)
        self.implied.note(cell, _STATES.get(record.verdict, State.UNKNOWN))
