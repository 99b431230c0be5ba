"""What classes say about each other: a dog is an animal, day is not night.

A known cell may settle others: where a class is present, what it implies is present and what it excludes is absent;
where a class is absent, whatever implies it is absent too. Nothing follows from an unknown cell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from partlabel.errors import LabelError
from partlabel.labels import Cells, Int8Array, IntArray, LabelTable, Source, State

Pair = tuple[str, str]
_CELLS_AT_MOST = 100_000_000


class Contradiction(NamedTuple):
    """Two known cells of an image that cannot both be right."""

    image: str
    class_name: str
    state: State
    other: str
    other_state: State

    def __str__(self) -> str:
        states = self.state.name.lower(), self.other_state.name.lower()
        return f"image {self.image!r}: {self.class_name!r} is {states[0]} and {self.other!r} is {states[1]}"


class Completed(NamedTuple):
    """A table completed by relations.

    Args:
        table: with the cells that follow, of source `IMPLIED`.
        implied: how many cells follow.
        contradictions: pairs of known cells that cannot both be right; these cells are unknown in the table.
    """

    table: LabelTable
    implied: int
    contradictions: tuple[Contradiction, ...]


@dataclass(frozen=True)
class Relations:
    """Implications and exclusions between classes, and all that follows from them.

    Args:
        implies: pairs (class, what it implies).
        excludes: pairs of classes of which an image has one at most.

    Raises:
        LabelError: classes imply each other in a ring, or one implies what it excludes.
    """

    implies: tuple[Pair, ...]
    excludes: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        for name in self.names:
            if name in self.above[name]:
                raise LabelError(f"class {name!r} implies itself by way of others; give such classes one name")
            if name in self.excluded[name]:
                raise LabelError(f"class {name!r} excludes itself or what it implies, and so can never be present")

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in order of first mention."""
        return tuple(dict.fromkeys(name for pair in (*self.implies, *self.excludes) for name in pair))

    @cached_property
    def above(self) -> Mapping[str, frozenset[str]]:
        """All that each class implies, directly or by way of others."""
        return _reachable(self.names, self.implies)

    @cached_property
    def below(self) -> Mapping[str, frozenset[str]]:
        """All that imply each class."""
        return _reachable(self.names, [(other, name) for name, other in self.implies])

    @cached_property
    def excluded(self) -> Mapping[str, frozenset[str]]:
        """All that cannot be where each class is: it or what it implies excludes them or what they imply."""
        direct: dict[str, set[str]] = {name: set() for name in self.names}
        for name, other in self.excludes:
            direct[name].add(other)
            direct[other].add(name)
        return {
            name: frozenset(
                below
                for mine in (name, *self.above[name])
                for other in direct[mine]
                for below in (other, *self.below[other])
            )
            for name in self.names
        }

    def follows(self, name: str, state: State) -> dict[str, State]:
        """The states of other classes that follow from one."""
        if name not in self.above or state == State.UNKNOWN:
            return {}
        if state == State.ABSENT:
            return dict.fromkeys(sorted(self.below[name]), State.ABSENT)
        return dict.fromkeys(sorted(self.above[name]), State.PRESENT) | dict.fromkeys(
            sorted(self.excluded[name]), State.ABSENT
        )

    def completed(self, table: LabelTable) -> Completed:
        """The table with what follows from its known cells.

        A cell that somebody stated is never turned into its opposite; where two such contradict each other, neither is
        known any more. Recovered cells settle nothing, and give way. So does the declaration that unlisted cells of a
        class are absent, from which something follows only where nothing stated contradicts it.

        Raises:
            LabelError: too many cells follow from what is declared absent.
        """
        size = len(table.classes)
        cells = table.cells()
        stated = (cells.states != State.UNKNOWN) & (cells.sources != Source.RECOVERED)
        known = Cells(*(part[stated] for part in cells))
        own = known.image_index * size + known.class_index
        origin, column, state = self._following(table, known)
        row = known.image_index[origin]
        target = row * size + column
        before = _states_at(own, known.states, target)
        clash = np.flatnonzero(before == -state)
        wrong = np.unique(np.concatenate([own[origin[clash]], target[clash]]))
        new = np.flatnonzero((before == State.UNKNOWN) & ~np.isin(own[origin], wrong))
        keys, first = np.unique(target[new], return_index=True)
        implied = state[new][first]
        declared = self._declared(table, np.concatenate([own, keys, wrong]))
        keys, implied = np.concatenate([keys, declared]), np.concatenate([implied, np.full(declared.size, -1)])
        differs = table.states_at(*np.divmod(keys, max(size, 1))) != implied
        kept = ~np.isin(cells.image_index * size + cells.class_index, np.concatenate([wrong, keys[differs]]))
        rows, columns = np.divmod(np.concatenate([keys[differs], wrong]), max(size, 1))
        unknown = np.zeros(wrong.size, np.int8)
        result = LabelTable.from_cells(
            table.images,
            table.classes,
            np.concatenate([cells.image_index[kept], rows]),
            np.concatenate([cells.class_index[kept], columns]),
            np.concatenate([cells.states[kept], implied[differs], unknown]),
            np.concatenate([cells.sources[kept], np.full(int(differs.sum()), Source.IMPLIED, np.int8), unknown]),
            table.background,
        )
        told = _told(table, known, origin[clash], column[clash], before[clash])
        return Completed(result, int(differs.sum()), told)

    def _declared(self, table: LabelTable, settled: IntArray) -> IntArray:
        """Keys of the cells that are absent because a class above them is declared absent, those in `settled` aside."""
        size, rows = len(table.classes), np.arange(len(table))
        listed = table.cells()
        held = np.concatenate([settled, listed.image_index * size + listed.class_index])
        found: list[IntArray] = []
        for column in np.flatnonzero(table.background == State.ABSENT).tolist():
            below = [
                table.class_positions[one] for one in self._below(table.classes[column]) if one in table.class_positions
            ]
            if not below:
                continue
            if sum(some.size for some in found) + len(below) * rows.size > _CELLS_AT_MOST:
                raise LabelError(
                    "too much follows from what is declared absent; list the absent cells of these classes"
                )
            absent = rows[~np.isin(rows * size + column, held)]
            found += [absent * size + one for one in below]
        return np.setdiff1d(np.concatenate([np.empty(0, np.int64), *found]), settled)

    def _below(self, name: str) -> frozenset[str]:
        return self.below.get(name, frozenset())

    def _following(self, table: LabelTable, known: Cells) -> tuple[IntArray, IntArray, IntArray]:
        """Of known cells: the position of the cell, and column and state of each cell that follows from it."""
        found: list[IntArray] = []
        for column, name in enumerate(table.classes):
            for state in (State.PRESENT, State.ABSENT):
                then = [
                    (table.class_positions[other], int(of_other))
                    for other, of_other in self.follows(name, state).items()
                    if other in table.class_positions
                ]
                at = (
                    np.flatnonzero((known.class_index == column) & (known.states == state))
                    if then
                    else np.empty(0, int)
                )
                for target, of_target in then:
                    found.append(np.stack([at, np.full(at.size, target), np.full(at.size, of_target)]))
        origin, target, states = np.concatenate([np.empty((3, 0), np.int64), *found], axis=1)
        return origin, target, states


def _states_at(keys: IntArray, states: Int8Array, wanted: IntArray) -> Int8Array:
    """States of wanted cells among some in ascending order; unknown where they are not among them."""
    if not keys.size:
        return np.zeros(wanted.size, np.int8)
    place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where(keys[place] == wanted, states[place], np.int8(State.UNKNOWN))


def _told(
    table: LabelTable, known: Cells, origin: IntArray, column: IntArray, states: Int8Array
) -> tuple[Contradiction, ...]:
    """Contradictions by name, each once, though either cell may say that the other is wrong."""
    found: dict[tuple[int, int, int], Contradiction] = {}
    for cell, other, state in zip(origin.tolist(), column.tolist(), states.tolist(), strict=True):
        row, own = int(known.image_index[cell]), int(known.class_index[cell])
        one = table.images[row], table.classes[own], State(int(known.states[cell]))
        found.setdefault(
            (row, min(own, other), max(own, other)), Contradiction(*one, table.classes[other], State(state))
        )
    return tuple(found.values())


def _reachable(names: tuple[str, ...], pairs: "tuple[Pair, ...] | list[Pair]") -> dict[str, frozenset[str]]:
    """What each name leads to along the pairs; the name itself only where it lies on a ring."""
    steps: dict[str, list[str]] = {name: [] for name in names}
    for name, other in pairs:
        steps[name].append(other)
    found: dict[str, frozenset[str]] = {}
    for name in names:
        seen: set[str] = set()
        waiting = list(steps[name])
        while waiting:
            if (one := waiting.pop()) not in seen:
                seen.add(one)
                waiting += steps[one]
        found[name] = frozenset(seen)
    return found
