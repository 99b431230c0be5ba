"""What verdicts say of other cells of their image, by relations between classes.

It is derived anew from the verdicts that stand, and written nowhere. A verdict that another verdict or a known cell
contradicts says nothing, until one of the two is changed. The cells of an audit are settled by nobody but a person:
its bound holds for a random draw of judgements, and of a cell that followed from others nobody looked at the picture.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from partlabel.labels import Int8Array, IntArray, Source, State
from partlabel.reviewing.queues import Asked
from partlabel.reviewing.subject import KINDS, Subject

_NONE = np.empty(0, np.int64), np.empty(0, np.int8)


class Told(NamedTuple):
    """What relations say of a cell.

    Args:
        state: of the cell: the one that follows, or that of its verdict, where another cell contradicts it.
        column: class of the other cell.
        other: state of the other cell.
        known: whether the other one is known, and not a verdict.
        against: whether the two contradict each other.
    """

    state: State
    column: int
    other: State
    known: bool
    against: bool


class Implied:
    """What relations say of the cells of a subject, kept in step with the verdicts.

    Args:
        subject: what is reviewed; nothing is told where it has no relations.
        asked: the cells that are asked.

    Attributes:
        told: by image, then by class. There is no image without any.
    """

    def __init__(self, subject: Subject, asked: Asked) -> None:
        self.subject, self.asked = subject, asked
        self.told: dict[int, dict[int, Told]] = {}
        self._given: dict[int, dict[int, State]] = {}
        self._followers: dict[tuple[int, State], tuple[IntArray, Int8Array]] = {}

    def note(self, cell: int, state: State) -> None:
        """Keep the state that a verdict gives to a cell; unknown where it gives none."""
        if self.subject.relations is None:
            return
        row, column = divmod(cell, len(self.subject.classes))
        if state == State.UNKNOWN:
            self._given.get(row, {}).pop(column, None)
        else:
            self._given.setdefault(row, {})[column] = state

    def renew(self, rows: Iterable[int] | None = None) -> None:
        """Derive anew what is told of some images; of all with verdicts where none are named."""
        for row in list(self._given) if rows is None else rows:
            found = self._of_image(row, self._given.get(row, {}))
            self.told.pop(row, None)
            if found:
                self.told[row] = found

    def at(self, cell: int) -> Told | None:
        """What is told of a cell."""
        row, column = divmod(cell, len(self.subject.classes))
        return self.told.get(row, {}).get(column)

    def cells(self, rows: Iterable[int] | None = None) -> Iterator[tuple[int, Told]]:
        """The cells that something is told of, with it; of all images where none are named."""
        width = len(self.subject.classes)
        for row in list(self.told) if rows is None else rows:
            for column, one in self.told.get(row, {}).items():
                yield row * width + column, one

    def settled(self) -> dict[int, State]:
        """The states of all cells that follow from verdicts."""
        return {cell: one.state for cell, one in self.cells() if not one.against}

    def _of_image(self, row: int, given: Mapping[int, State]) -> dict[int, Told]:
        """Verdicts that are contradicted, and the cells that follow from the others."""
        found: dict[int, Told] = {}
        for column, state in given.items():
            if (told := self._against(row, column, state, given)) is not None:
                found[column] = told
        for column in sorted(given.keys() - found.keys()):
            for target, implied in self._settled_by(row, column, given):
                found.setdefault(target, Told(implied, column, given[column], known=False, against=False))
        return found

    def _against(self, row: int, column: int, state: State, given: Mapping[int, State]) -> Told | None:
        """The first cell that contradicts a verdict: another verdict, else a known cell without one."""
        columns, states = self._follows(column, state)
        pairs = list(zip(columns.tolist(), states.tolist(), strict=True))
        for other, follows in pairs:
            if given.get(other) == -follows:
                return Told(state, other, given[other], known=False, against=True)
        known = self._known(row, columns)
        for other in columns[known == -states].tolist():
            if other not in given:
                return Told(state, other, State(int(known[columns == other][0])), known=True, against=True)
        return None

    def _settled_by(self, row: int, column: int, given: Mapping[int, State]) -> Iterator[tuple[int, State]]:
        """Cells that follow from a verdict: unknown ones, and known ones that are asked; none that an audit drew."""
        columns, states = self._follows(column, given[column])
        cells = row * len(self.subject.classes) + columns
        fits = (self._known(row, columns) == State.UNKNOWN) | self.asked.holds(cells)
        if (listed := self.subject.listed) is not None and listed.cells.size:
            position, there = listed.find(cells)
            fits &= ~(there & (listed.kind[position] == KINDS.index("audit")))
        for target, state in zip(columns[fits].tolist(), states[fits].tolist(), strict=True):
            if target not in given:
                yield target, State(state)

    def _known(self, row: int, columns: IntArray) -> Int8Array:
        """States of cells of an image; recovered ones, which give way to what follows, count as unknown."""
        known, rows = self.subject.known, np.full(columns.size, row)
        position, listed = known.find(rows, columns)
        recovered = listed & (known.sources[position] == Source.RECOVERED) if known.sources.size else listed
        return np.where(recovered, np.int8(State.UNKNOWN), known.states_at(rows, columns))

    def _follows(self, column: int, state: State) -> tuple[IntArray, Int8Array]:
        """Classes of the subject, and their states, that follow from one."""
        if (kept := self._followers.get((column, state))) is not None:
            return kept
        found = _NONE
        if self.subject.relations is not None:
            places = self.subject.known.class_positions
            then = self.subject.relations.follows(self.subject.classes[column], state)
            pairs = sorted((places[name], int(of_name)) for name, of_name in then.items() if name in places)
            if pairs:
                columns, states = zip(*pairs, strict=True)
                found = np.array(columns, np.int64), np.array(states, np.int8)
        self._followers[column, state] = found
        return found
