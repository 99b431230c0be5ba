"""The cells that are asked, in the orders in which they are asked, and how many of them are open.

Numbers of verdicts: 0 none, 1 present, 2 absent, 3 unsure, the positions in `VERDICTS`. A cell without a verdict that
follows from those on other cells has the number `IMPLIED`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import Int8Array, IntArray, LabelTable, Source, State
from partlabel.reviewing.subject import KINDS, Listed, Subject

if TYPE_CHECKING:
    from partlabel.reviewing.pupil import Learned

VERDICTS = ("none", "present", "absent", "unsure")
STANDINGS = ("open", *VERDICTS[1:], "implied")
"""How a cell that is asked may stand, by its number."""
IMPLIED = STANDINGS.index("implied")
QUEUES = {
    "file": "in the order of the file",
    "probability": "most probable first",
    "unsure_first": "least certain first",
    "value": "what teaches the model most",
    "doubtful": "known labels that the model contradicts",
    "audit": "random draw",
    "images": "image by image",
}

BoolArray = NDArray[np.bool_]

_AT_ONCE = 4_000_000
"""Cells looked at together."""


class Wanted(NamedTuple):
    """Which cells of a queue are wanted.

    Args:
        queue: key of `QUEUES`.
        column: number of a class; None for all.
        verdict: number of their verdict, or `IMPLIED`; 0 for open ones, None for all.
        images: bool `[N]`, images whose cells count; None for all.
    """

    queue: str
    column: int | None = None
    verdict: int | None = None
    images: BoolArray | None = None


class Page(NamedTuple):
    """Some of the wanted cells, int64, and how many there are in all."""

    cells: IntArray
    total: int


class Asked(ABC):
    """Cells that are asked, with the verdicts on them counted.

    Args:
        subject: what is reviewed.
        learns: whether a model learns, so that there is a queue by value.
        cells_by_class: int64 `[C]`, cells that are asked.
        cells_by_image: int64 `[N]`.
    """

    def __init__(self, subject: Subject, learns: bool, cells_by_class: IntArray, cells_by_image: IntArray) -> None:
        self.subject, self.learns = subject, learns
        self.classes = len(subject.classes)
        self.cells_by_class = cells_by_class
        self.open_by_image = cells_by_image.copy()
        self.tally = np.zeros((self.classes, len(STANDINGS)), np.int64)
        self.tally[:, 0] = cells_by_class

    @property
    @abstractmethod
    def queues(self) -> tuple[str, ...]:
        """Keys of `QUEUES`, the one to begin with first."""

    @abstractmethod
    def holds(self, cells: IntArray) -> BoolArray:
        """Which of the cells are asked."""

    @abstractmethod
    def page(self, wanted: Wanted, offset: int, limit: int) -> Page:
        """Some of the wanted cells in the order of their queue."""

    @abstractmethod
    def probability_of(self, cells: IntArray) -> NDArray[np.float64]:
        """Probabilities of being present; NaN where nothing says one."""

    @abstractmethod
    def take(self, learned: "Learned") -> None:
        """Order the cells by what a model has learned."""

    def note(self, cells: IntArray, before: Int8Array, after: Int8Array) -> None:
        """Count verdicts that have changed; no cell twice."""
        asked = self.holds(cells)
        cells, before, after = cells[asked], before[asked], after[asked]
        rows, columns = np.divmod(cells, self.classes)
        np.subtract.at(self.tally, (columns, before), 1)
        np.add.at(self.tally, (columns, after), 1)
        np.add.at(self.open_by_image, rows, (after == 0).astype(np.int64) - (before == 0))
        self._keep(cells, after)

    @abstractmethod
    def _keep(self, cells: IntArray, after: Int8Array) -> None:
        """Remember verdicts on cells that are asked."""


class ListedCells(Asked):
    """The cells that a file lists.

    Args:
        subject: what is reviewed.
        listed: its cells. Where no suggested one has a probability, the order of the file is a queue, and those by
            probability are queues only where a model may learn one.
        learns: whether a model learns.
    """

    def __init__(self, subject: Subject, listed: Listed, learns: bool) -> None:
        self.listed, self.probability = listed, listed.probability
        self.row, self.column = np.divmod(listed.cells, max(len(subject.classes), 1))
        by_class = np.bincount(self.column, minlength=len(subject.classes))
        super().__init__(subject, learns, by_class, np.bincount(self.row, minlength=len(subject.images)))
        self.verdict = np.zeros(listed.cells.size, np.int8)
        suggested = listed.kind == KINDS.index("suggested")
        self.by_line = not np.isfinite(listed.probability[suggested]).any()
        self.orders = self._orders(None)

    @property
    def queues(self) -> tuple[str, ...]:
        """Those that the file has cells for."""
        return tuple(self.orders)

    def holds(self, cells: IntArray) -> BoolArray:
        """Which of the cells are listed."""
        return self.listed.find(cells)[1]

    def page(self, wanted: Wanted, offset: int, limit: int) -> Page:
        """Some of the wanted cells in the order of their queue; by value there are only open ones."""
        order = self.orders["probability" if wanted.queue == "value" and wanted.verdict else wanted.queue]
        fits = np.ones(order.size, bool)
        if wanted.column is not None:
            fits &= self.column[order] == wanted.column
        if wanted.verdict is not None:
            fits &= self.verdict[order] == wanted.verdict
        if wanted.images is not None:
            fits &= wanted.images[self.row[order]]
        found = np.flatnonzero(fits)
        return Page(self.listed.cells[order[found[offset : offset + limit]]], int(found.size))

    def _keep(self, cells: IntArray, after: Int8Array) -> None:
        self.verdict[self.listed.find(cells)[0]] = after

    def probability_of(self, cells: IntArray) -> NDArray[np.float64]:
        """That of the file, or what a model has learned since."""
        position, listed = self.listed.find(cells)
        found = np.full(cells.size, np.nan)
        found[listed] = self.probability[position[listed]]
        return found

    def take(self, learned: "Learned") -> None:
        """Order the suggestions anew; other kinds of cells stay as the file has them."""
        new = (self.listed.kind == KINDS.index("suggested")) & np.isfinite(learned.probability)
        self.probability = np.where(new, learned.probability, self.listed.probability)
        self.orders = self._orders(self.listed.find(learned.by_value)[0])

    def _orders(self, by_value: IntArray | None) -> dict[str, IntArray]:
        """Positions of the cells of each queue, in its order; equal ones as in the file."""
        kind, line = self.listed.kind, self.listed.line
        of_state = np.where(self.listed.suggests < 0, 1 - self.probability, self.probability)
        certain = np.nan_to_num(of_state, nan=-1.0)
        distance = np.abs(certain - self.subject.threshold[self.column])
        distance[np.isnan(self.probability)] = 2
        keys = {"file": ("suggested", line)} if self.by_line else {}
        if self.learns or not self.by_line:
            keys |= {"probability": ("suggested", -certain), "unsure_first": ("suggested", distance)}
        keys |= {name: (name, line) for name in ("doubtful", "audit")}
        orders = {}
        for queue, (of_kind, key) in keys.items():
            chosen = np.flatnonzero(kind == KINDS.index(of_kind))
            if chosen.size:
                orders[queue] = chosen[np.lexsort((line[chosen], key[chosen]))]
        if self.learns and "probability" in orders:
            orders["value"] = orders["unsure_first"] if by_value is None else by_value
        return orders or {"file": np.empty(0, np.int64)}


class UnknownCells(Asked):
    """Every cell that is unknown and not unsure, in the order of images, then classes; none of them is written down.

    Args:
        subject: what is reviewed.
        learns: whether a model learns.
    """

    def __init__(self, subject: Subject, learns: bool) -> None:
        self.known = _with_unsure_known(subject.known)
        self.by_image: dict[int, dict[int, int]] = {}
        self.by_class: dict[int, dict[int, int]] = {}
        self.unknown = self.known.counts_by_image().unknown
        self.learned: Learned | None = None
        super().__init__(subject, learns, self.known.counts_by_class().unknown, self.unknown)

    @property
    def queues(self) -> tuple[str, ...]:
        """Image by image, and by value where a model learns."""
        return ("value", "images") if self.learns else ("images",)

    def holds(self, cells: IntArray) -> BoolArray:
        """Which of the cells are unknown."""
        return np.asarray(self.known.states_at(*np.divmod(cells, self.classes)) == State.UNKNOWN)

    def page(self, wanted: Wanted, offset: int, limit: int) -> Page:
        """Some of the wanted cells; by value those that a model chose, unless they are wanted by a verdict."""
        if wanted.queue == "value" and self.learned is not None and not wanted.verdict:
            return self._by_value(self.learned.by_value, wanted, offset, limit)
        if wanted.column is not None:
            return self._of_class(wanted, wanted.column, offset, limit)
        if wanted.verdict:
            return self._decided(wanted, wanted.verdict, offset, limit)
        count = self.unknown if wanted.verdict is None else self.open_by_image
        if wanted.images is not None:
            count = np.where(wanted.images, count, 0)
        ends = np.cumsum(count)
        total = int(ends[-1]) if ends.size else 0
        if offset >= total:
            return Page(np.empty(0, np.int64), total)
        first = int(np.searchsorted(ends, offset, "right"))
        last = int(np.searchsorted(ends, min(offset + limit, total), "left"))
        rows = first + np.flatnonzero(count[first : last + 1])
        skipped = offset - int(ends[first] - count[first])
        step = max(1, _AT_ONCE // self.classes)
        parts = [
            self._of_images(rows[start : start + step], wanted.verdict == 0) for start in range(0, rows.size, step)
        ]
        return Page(np.concatenate(parts)[skipped : skipped + limit], total)

    def probability_of(self, cells: IntArray) -> NDArray[np.float64]:
        """Those of the cells that a model has chosen."""
        found = np.full(cells.size, np.nan)
        if self.learned is not None and self.learned.cells.size:
            place = np.minimum(np.searchsorted(self.learned.cells, cells), self.learned.cells.size - 1)
            there = self.learned.cells[place] == cells
            found[there] = self.learned.probability[place[there]]
        return found

    def take(self, learned: "Learned") -> None:
        """Keep what a model has chosen."""
        self.learned = learned

    def _by_value(self, cells: IntArray, wanted: Wanted, offset: int, limit: int) -> Page:
        rows, columns = np.divmod(cells, self.classes)
        fits = np.ones(cells.size, bool) if wanted.column is None else columns == wanted.column
        if wanted.images is not None:
            fits &= wanted.images[rows]
        if wanted.verdict is not None:
            given = [self.by_image.get(row, {}).get(column, 0) for row, column in zip(rows, columns, strict=True)]
            fits &= np.array(given, np.int64) == wanted.verdict
        return Page(cells[fits][offset : offset + limit], int(fits.sum()))

    def _of_images(self, rows: IntArray, only_open: bool) -> IntArray:
        wanted = self.known.rows(rows) == State.UNKNOWN
        for place, row in enumerate(rows.tolist()) if only_open else ():
            if decided := self.by_image.get(row):
                wanted[place, list(decided)] = False
        places, columns = np.nonzero(wanted)
        return np.asarray(rows[places] * self.classes + columns)

    def _of_class(self, wanted: Wanted, column: int, offset: int, limit: int) -> Page:
        rows = np.arange(len(self.known))
        fits = self.known.states_at(rows, np.full(rows.size, column)) == State.UNKNOWN
        if wanted.verdict is not None:
            verdicts = np.zeros(rows.size, np.int8)
            if decided := self.by_class.get(column):
                verdicts[list(decided)] = list(decided.values())
            fits &= verdicts == wanted.verdict
        if wanted.images is not None:
            fits &= wanted.images
        found = np.flatnonzero(fits)
        return Page(found[offset : offset + limit] * self.classes + column, int(found.size))

    def _decided(self, wanted: Wanted, verdict: int, offset: int, limit: int) -> Page:
        cells = [
            row * self.classes + column
            for row, decided in self.by_image.items()
            if wanted.images is None or wanted.images[row]
            for column, given in decided.items()
            if given == verdict
        ]
        found = np.sort(np.array(cells, np.int64))
        return Page(found[offset : offset + limit], int(found.size))

    def _keep(self, cells: IntArray, after: Int8Array) -> None:
        for cell, verdict in zip(cells.tolist(), after.tolist(), strict=True):
            row, column = divmod(cell, self.classes)
            for outer, inner, key in ((self.by_image, column, row), (self.by_class, row, column)):
                if verdict:
                    outer.setdefault(key, {})[inner] = verdict
                else:
                    outer.get(key, {}).pop(inner, None)


def _with_unsure_known(known: LabelTable) -> LabelTable:
    """The table to tell by what is asked: of a cell that was unsure already, any known state does."""
    if not known.unsure:
        return known
    states = np.where(known.sources == Source.UNSURE, np.int8(State.ABSENT), known.states)
    sources = np.where(known.sources == Source.UNSURE, np.int8(Source.IMPORT), known.sources)
    return replace(known, states=states, sources=sources)


def asked_of(subject: Subject, learns: bool) -> Asked:
    """The cells that are asked of a subject."""
    return UnknownCells(subject, learns) if subject.listed is None else ListedCells(subject, subject.listed, learns)


def queue_list(asked: Asked) -> list[Mapping[str, Any]]:
    """The queues as JSON."""
    return [{"id": name, "name": QUEUES[name]} for name in asked.queues]
