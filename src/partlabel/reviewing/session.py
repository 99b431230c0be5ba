"""What the page is told, as JSON: the session, its cells and images, and what changed."""

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from partlabel.labels import IntArray, State
from partlabel.reviewing.implied import Told
from partlabel.reviewing.journal import Journal
from partlabel.reviewing.queues import STANDINGS, VERDICTS, BoolArray, Wanted, asked_of, queue_list
from partlabel.reviewing.subject import KINDS, Subject, no_cells
from partlabel.reviewing.verdicts import Decision, Last, Verdicts

if TYPE_CHECKING:  # it brings scipy, which would make every start slower
    from partlabel.reviewing.audit_progress import AuditProgress
    from partlabel.reviewing.pupil import Learned

_ALL_CLASSES_UP_TO = 300
_ORDERED_AT_MOST = 1_000_000


class Session:
    """A review that is going on.

    Args:
        subject: what is reviewed.
        journal: where verdicts are kept.
        who: name of the person at this machine.
        has_evidence: whether maps can be drawn.
        learns: whether a model learns from the verdicts.

    Attributes:
        revision: number of the order of the cells, which changes where a model learns.
        learning: what a model that learns does now, in words; None where it does nothing.
        key: of this source and journal, the same after a restart: numbers of cells mean something else in any other.
    """

    def __init__(
        self, subject: Subject, journal: Journal, who: str, *, has_evidence: bool = False, learns: bool = False
    ) -> None:
        self.subject, self.who, self.has_evidence = subject, who, has_evidence
        self.asked = asked_of(subject, learns)
        self.verdicts = Verdicts(subject, self.asked, journal)
        self.listed = no_cells() if subject.listed is None else subject.listed
        place = str(journal.path.resolve()).encode(errors="surrogateescape")
        self.key = hashlib.sha256(subject.hash.encode() + place).hexdigest()[:32]
        self.revision = 1
        self.learning: Callable[[], str] | None = None
        self._announced: list[dict[str, Any]] = []
        self._audit = _audit_of(subject)
        self._folded = [name.casefold() for name in subject.images]

    def summary(self) -> dict[str, Any]:
        """Title, counts, classes and queues."""
        tally = self.asked.tally.tolist()
        columns = zip(self.subject.classes, self.asked.cells_by_class.tolist(), tally, strict=True)
        return {
            "subject": self.key,
            "title": self.subject.title,
            "who": self.who,
            "images": len(self.subject.images),
            "cells": int(self.asked.cells_by_class.sum()),
            "seq": self.verdicts.number,
            "revision": self.revision,
            "classes": [
                {"id": column, "name": name, "cells": cells, **dict(zip(STANDINGS, counts, strict=True))}
                for column, (name, cells, counts) in enumerate(columns)
            ],
            "queues": queue_list(self.asked),
            "has_suggestions": self.subject.listed is not None,
            "has_evidence": self.has_evidence,
            "has_relations": self.subject.relations is not None,
            "contradictions": [cell for cell, told in self.verdicts.implied.cells() if told.against],
            "announcements": self._announced,
            "learning": self._doing(),
            "journal": str(self.verdicts.journal.path),
            "progress": self.progress(),
        }

    def progress(self) -> dict[str, Any] | None:
        """What the verdicts of an audit allow so far; None where the cells are not those of an audit, so that verdicts
        promise nothing.
        """
        if self._audit is None:
            return None
        given = ((cell, _name(last)) for cell, last in self.verdicts.last.items())
        return self._audit(self.verdicts.number, {cell: name for cell, name in given if name is not None})

    def given(self) -> dict[int, int]:
        """By cell, the verdicts that stand and what follows from them, as positions in `VERDICTS`."""
        implied = {cell: VERDICTS.index(state.name.lower()) for cell, state in self.verdicts.implied.settled().items()}
        return {cell: last.verdict for cell, last in self.verdicts.last.items() if last.verdict} | implied

    def take(self, learned: "Learned", text: str) -> None:
        """Order the cells anew by what a model has learned, and announce it. What a page shows stays as it is until it
        asks for the new order.
        """
        self.asked.take(learned)
        self.revision += 1
        self.announce(text)

    def announce(self, text: str) -> None:
        """Tell all pages, in place of what was announced before."""
        number = 1 + (self._announced[0]["id"] if self._announced else 0)
        self._announced = [{"id": number, "text": text}]

    def matching(self, search: str) -> BoolArray | None:
        """Images whose name holds the text, in any case, as bool `[N]`; None if every one does."""
        text = search.casefold()
        return np.array([text in name for name in self._folded], bool) if text else None

    def cells(self, wanted: Wanted, offset: int, limit: int) -> dict[str, Any]:
        """Some cells of a queue."""
        page = self.asked.page(wanted, offset, limit)
        return {
            "total": page.total,
            "offset": offset,
            "revision": self.revision,
            "cells": self._described(page.cells),
        }

    def order(self, wanted: Wanted) -> dict[str, Any]:
        """The numbers of the cells of a queue, a million at most."""
        page = self.asked.page(wanted, 0, _ORDERED_AT_MOST)
        return {
            "total": page.total,
            "seq": self.verdicts.number,
            "revision": self.revision,
            "cells": page.cells.tolist(),
        }

    def cells_at(self, cells: IntArray) -> dict[str, Any]:
        """Any cells by their numbers; those that do not exist are left out."""
        there = (cells >= 0) & (cells < len(self.subject.images) * len(self.subject.classes))
        return {"cells": self._described(cells[there]), "seq": self.verdicts.number}

    def images(self, search: str, offset: int, limit: int) -> dict[str, Any]:
        """Some images, in the order of the table."""
        fits = self.matching(search)
        found = np.arange(len(self.subject.images)) if fits is None else np.flatnonzero(fits)
        shown = found[offset : offset + limit]
        return {"total": int(found.size), "images": [self._image(row) for row in shown.tolist()]}

    def image(self, row: int, size: tuple[int, int] | None) -> dict[str, Any]:
        """One image with its cells: all of them where there are few classes, else those that somebody said something
        about.
        """
        width = len(self.subject.classes)
        first = row * width
        complete = width <= _ALL_CLASSES_UP_TO
        cells = np.arange(first, first + width)
        if not complete:
            known = first + np.flatnonzero(self.subject.known.rows([row])[0] != State.UNKNOWN)
            listed = self.listed.cells[self.listed.of_image(row, width)]
            decided = [cell for cell in range(first, first + width) if cell in self.verdicts.last]
            decided += [cell for cell, _ in self.verdicts.implied.cells([row])]
            cells = np.unique(np.concatenate([known, listed, np.array(decided, np.int64)]))
        return {
            "id": row,
            "name": self.subject.images[row],
            "width": None if size is None else size[0],
            "height": None if size is None else size[1],
            "cells": self._described(cells),
            "complete": complete,
            "seq": self.verdicts.number,
        }

    def decide(self, client: str, decisions: list[Decision]) -> dict[str, Any]:
        """Keep verdicts."""
        accepted, conflicts = self.verdicts.decide(client, self.who, decisions)
        return {
            "seq": self.verdicts.number,
            "accepted": [_told(cell, last) for cell, last in accepted],
            "conflicts": [{**_told(cell, last), "who": last.who, "when": last.when} for cell, last in conflicts],
            "related": self._related(cell for cell, _ in accepted),
        }

    def changes(self, after: int, client: str) -> dict[str, Any]:
        """What other clients did after a record."""
        upto, changed = self.verdicts.changes(after, client)
        return {
            "seq": upto,
            "changes": [{**_told(cell, last), "who": last.who} for cell, last in changed],
            "related": self._related(cell for cell, _ in changed),
            "revision": self.revision,
            "announcements": self._announced,
            "learning": self._doing(),
            "progress": self.progress(),
        }

    def _related(self, cells: Iterable[int]) -> list[dict[str, Any]]:
        """All that relations say now of the images of some cells."""
        if self.subject.relations is None:
            return []
        rows = dict.fromkeys(cell // len(self.subject.classes) for cell in cells)
        told = self.verdicts.implied
        return [
            {
                "image": row,
                "seq": self.verdicts.number,
                "cells": [{"cell": cell, **_relation(one)} for cell, one in told.cells([row])],
            }
            for row in rows
        ]

    def _doing(self) -> str | None:
        return None if self.learning is None else self.learning()

    def _image(self, row: int) -> dict[str, Any]:
        width = len(self.subject.classes)
        known = self.subject.known.rows([row])[0]
        where = self.listed.of_image(row, width)
        suggested = self.listed.cells[where][self.listed.suggests[where] == State.PRESENT] - row * width
        return {
            "id": row,
            "name": self.subject.images[row],
            "open": int(self.asked.open_by_image[row]),
            "known_present": np.flatnonzero(known == State.PRESENT).tolist(),
            "suggested": suggested.tolist(),
        }

    def _described(self, cells: IntArray) -> list[dict[str, Any]]:
        rows, columns = np.divmod(cells, max(len(self.subject.classes), 1))
        known = self.subject.known.states_at(rows, columns)
        positions, listed = self.listed.find(cells)
        likely = self.asked.probability_of(cells)
        columns_of_cells = (cells, rows, columns, known, positions, listed, likely)
        parts: Iterable[Any] = zip(*(column.tolist() for column in columns_of_cells), strict=True)
        return [
            {
                "cell": cell,
                "image": row,
                "class": column,
                "name": self.subject.images[row],
                "known": State(state).name.lower(),
                **self._suggestion(position if is_listed else None, None if math.isnan(likely) else likely),
                **self._verdict(cell),
            }
            for cell, row, column, state, position, is_listed, likely in parts
        ]

    def _suggestion(self, position: int | None, probability: float | None) -> dict[str, Any]:
        if position is None:
            return {"kind": "unlabelled", "suggests": None, "probability": probability}
        state = int(self.listed.suggests[position])
        return {
            "kind": KINDS[self.listed.kind[position]],
            "suggests": State(state).name.lower() if state else None,
            "probability": probability,
        }

    def _verdict(self, cell: int) -> dict[str, Any]:
        last, told = self.verdicts.last.get(cell), self.verdicts.implied.at(cell)
        given = {"verdict": None, "seq": None} if last is None else {"verdict": _name(last), "seq": last.number}
        return given if told is None else {**given, "relation": _relation(told)}


def _audit_of(subject: Subject) -> "AuditProgress | None":
    """The progress of an audit, where the file still lists the cells that were drawn, in the order of the draw."""
    plan, listed = subject.audit, subject.listed
    if plan is None or listed is None or listed.cells.size != plan.asked.size:
        return None
    from partlabel.recovery.audit_file import cells_digest
    from partlabel.reviewing.audit_progress import AuditProgress

    cells = listed.cells[np.argsort(listed.line)]
    rows, columns = np.divmod(cells, len(subject.classes))
    names = ((subject.images[row], subject.classes[column]) for row, column in zip(rows, columns, strict=True))
    return AuditProgress(plan, cells) if cells_digest(names) == plan.cells else None


def _told(cell: int, last: Last) -> dict[str, Any]:
    return {"cell": cell, "verdict": _name(last), "seq": last.number}


def _relation(told: Told) -> dict[str, Any]:
    """What relations say of a cell, as JSON."""
    return {
        "kind": "against" if told.against else "implied",
        "state": told.state.name.lower(),
        "class": told.column,
        "other": told.other.name.lower(),
        "known": told.known,
    }


def _name(last: Last) -> str | None:
    return VERDICTS[last.verdict] if last.verdict else None
