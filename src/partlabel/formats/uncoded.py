"""Values without a code: all of a file are counted before the file is refused, so that one answer can be given."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from partlabel.errors import LabelError
from partlabel.formats.codes import EXAMPLE, CodeMap

_KEPT_VALUES = 200  # of one column; the counts stay exact
_SHOWN_VALUES = 5
_SHOWN_LENGTH = 40
_PRESENT = frozenset(
    [
        "yes",
        "y",
        "true",
        "t",
        "pos",
        "positive",
        "x",
        "ja",
        "j",
        "wahr",
        "oui",
        "o",
        "vrai",
        "si",
        "sí",
        "sì",
        "sim",
        "verdadero",
        "vero",
        "tak",
    ]
)
_ABSENT = frozenset(
    ["no", "n", "false", "f", "neg", "negative", "nein", "falsch", "non", "faux", "não", "falso", "nie"]
)
_NEITHER = frozenset(
    ["unk", "nan", "none", "null", "missing", "uncertain", "blank", "n/a", "na", "#n/a", "<na>", "not", "sure"]
)
_INDEX_COLUMN = re.compile(r"(unnamed: \d+|index|)", re.IGNORECASE)


class Guess(NamedTuple):
    """A value without a code, how often it occurs, and what it probably means; None where it looks like no state."""

    value: str
    times: int
    state: str | None


class UncodedError(LabelError):
    """Values without a code, with a guess at each. A guess is for the owner of the file to read, and never applied."""

    def __init__(self, message: str, guesses: tuple[Guess, ...] = (), said: str = "") -> None:
        super().__init__(message)
        self.guesses, self.said = guesses, said

    def lines(self) -> Iterator[str]:
        """The guesses, and the option that would say so."""
        for value, times, state in self.guesses:
            yield f"{_shown(value)} ({_times(times)}): {state or 'looks like no state; no guess'}"
        codes = [self.said] if self.said else []
        codes += [f"{value}={state}" for value, _, state in self.guesses if state is not None and "," not in value]
        if codes:
            yield f"nothing was applied; if all of this is right, say --codes {shlex.quote(','.join(codes))}"


@dataclass
class _Column:
    count: int = 0
    values: dict[str, int] = field(default_factory=dict)
    no_state: int = 0


class Uncoded:
    """Values without a code so far.

    Args:
        path: the file.
        codes: what values mean.
        unit: what records are counted in, for messages.
    """

    def __init__(self, path: Path, codes: CodeMap, unit: str = "line") -> None:
        self.path, self.codes, self.unit = path, codes, unit
        self.columns: dict[str, _Column] = {}
        self.first: tuple[int, str, str] | None = None

    def add(self, column: str, value: str, count: int, record: int) -> None:
        """Note that a value without a code stands in so many cells of a column, the first in this record."""
        value = value.strip()
        found = self.columns.setdefault(column, _Column())
        found.count += count
        if kind(value) != "state":
            found.no_state += count
        if value in found.values or len(found.values) < _KEPT_VALUES:
            found.values[value] = found.values.get(value, 0) + count
        if self.first is None or record < self.first[0]:
            self.first = record, column, value

    def check(self, rows: int, classes: int, line_of: Callable[[int], int] = int) -> None:
        """Refuse the file if there was such a value.

        Args:
            rows: rows read.
            classes: number of columns that were read as classes; 0 where a column `state` holds all values.
            line_of: where a record stands in the file.

        Raises:
            LabelError: there was one.
        """
        if self.first is None:
            return
        record, column, value = self.first
        guesses = tuple(
            Guess(text, count, None if kind(text) == "fraction" else _probably(text))
            for text, count in self._totals().items()
        )
        place = f"{self.path}, {self.unit} {line_of(record)}, column {column!r}"
        wrong = [name for name, found in self.columns.items() if classes and self._no_class(name, found, rows)]
        if wrong:
            told = f"{place}: {_what(value)} has no code{self._others(value)}; {_leave_out(wrong, classes)}"
            raise UncodedError(told, guesses, self.codes.said)
        told = f"{place}: {_what(value)} has no code{self._others(value)}; {self._advice()}"
        raise UncodedError(told, guesses, self.codes.said)

    def _totals(self) -> Mapping[str, int]:
        totals: dict[str, int] = {}
        for column in self.columns.values():
            for value, count in column.values.items():
                totals[value] = totals.get(value, 0) + count
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def _others(self, first: str) -> str:
        """How often the first value occurs, and which others have no code either."""
        totals = self._totals()
        others = [f"{_shown(value)} ({_times(count)})" for value, count in totals.items() if value != first]
        more = f" and {len(others) - _SHOWN_VALUES:,} more" if len(others) > _SHOWN_VALUES else ""
        also = f", nor have {', '.join(others[:_SHOWN_VALUES])}{more}" if others else ""
        where = f" in {len(self.columns)} columns" if len(self.columns) > 1 else ""
        return f" ({_times(totals[first])}{where if not others else ''}){also}"

    def _no_class(self, name: str, column: _Column, rows: int) -> bool:
        """Whether a column holds something else than states: row numbers, names, or measured values."""
        if _INDEX_COLUMN.fullmatch(name):
            return True
        strange = sum(count for value, count in column.values.items() if CodeMap.parse(EXAMPLE).state(value) is None)
        return 2 * strange > rows and (2 * column.no_state > column.count or len(column.values) > 10)

    def _advice(self) -> str:
        kinds = {value: kind(value) for value in self._totals()}
        states = [value for value, found in kinds.items() if found == "state"]
        if not states and "fraction" in kinds.values():
            return (
                "numbers between 0 and 1 are scores, not states; decide from which one on a class is present, and "
                "write present, absent or unknown"
            )
        if not states:
            return "this looks like a name, not like a state; states are present, absent and unknown, or have --codes"
        example = self.codes.said or EXAMPLE
        for value in states[:_SHOWN_VALUES]:
            if CodeMap.parse(example).state(value) is None and "," not in value and (meaning := _probably(value)):
                example += f",{value}={meaning}"
        return (
            f"say what each means, for example --codes {shlex.quote(example) if chr(39) in example else repr(example)} "
            f"(values match as exact text: '1.0' is not '1')"
        )


def kind(value: str) -> Literal["state", "name", "fraction"]:
    """What a value without a code looks like: a state, a name, or a number strictly between 0 and 1."""
    number = _number(value)
    if number is not None:
        return "fraction" if 0 < number < 1 else "state"
    word = value.casefold()
    if len(value) <= 2 or word in _PRESENT | _ABSENT | _NEITHER:
        return "state"
    return "name" if len(value) > _SHOWN_LENGTH or sum(map(str.isalpha, value)) >= 2 else "state"


def _number(value: str) -> float | None:
    try:
        return float(value) if len(value) <= _SHOWN_LENGTH else None
    except ValueError:
        return None


def _probably(value: str) -> str | None:
    """What a value means in the files of most people; None where that cannot be told."""
    number, word = _number(value), value.casefold()
    if word in _PRESENT or number == 1:
        return "present"
    if word in _ABSENT or number == 0:
        return "absent"
    return "unknown" if word in _NEITHER or not any(map(str.isalpha, word)) or number is not None else None


def _leave_out(names: list[str], classes: int) -> str:
    if len(names) == classes:
        shown = f"column {names[0]!r} does" if classes == 1 else f"the columns {', '.join(map(repr, names[:3]))} do"
        role = f"--columns present={shlex.quote(names[0])}"
        lists = f"if {names[0]!r} lists the tags of an image, say {role}, and the file is read as tag lists"
        return f"{shown} not hold states of a class: a one-hot file has one column per class; {lists}"
    options = " ".join(f"--ignore {shlex.quote(name)}" for name in names[:8])
    if len(names) == 1:
        is_named = f"is column {names[0]!r}" if names[0] else "is the column without a name"
        return f"{is_named} a class? If not, leave it out with {options}"
    more = f" (and {len(names) - 8} more)" if len(names) > 8 else ""
    return f"are the columns {', '.join(map(repr, names[:8]))}{more} classes? If not, leave them out with {options}"


def _what(value: str) -> str:
    if not value:
        return "the cell is empty, and an empty cell"
    return f"the {'web address' if value.startswith(('http://', 'https://')) else 'value'} {_shown(value)}"


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN_LENGTH else value[:_SHOWN_LENGTH] + "...") if value else "empty cells"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
