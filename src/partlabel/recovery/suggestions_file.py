"""Suggestions read back from the file that `recover` wrote, with their probabilities and what a person made of them."""

from pathlib import Path
from typing import NamedTuple

from partlabel.errors import LabelError
from partlabel.formats.header import columns_of
from partlabel.formats.text import as_table, cell_name, even_records, examine, records
from partlabel.labels import State
from partlabel.recovery.suggest import COLUMNS

_STATES = {state.name.lower(): state for state in State}


class ReadSuggestion(NamedTuple):
    """One line of a file of suggestions; `state` is present unless somebody changed it."""

    image: str
    class_name: str
    state: State
    probability: float
    logit: float
    rule: str


def holds_suggestions(path: Path | str) -> bool:
    """Whether the columns of a file are those of suggestions, whether or not any are left; some may be gone."""
    return {"image", "class", "probability"} <= set(_header(path))


def _header(path: Path | str) -> list[str]:
    try:
        return next(records(as_table(examine(Path(path)))), (0, []))[1]
    except LabelError:
        return []


def read_suggestions(path: Path | str) -> list[ReadSuggestion]:
    """The suggestions in a file that `Suggestions.write` wrote, in its order.

    Raises:
        LabelError: the file cannot be read, has other columns, or a line does not hold a suggestion.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} does not exist")
    if _header(path) != list(COLUMNS):
        raise LabelError(f"{path} holds no suggestions: its columns are not {', '.join(COLUMNS)}")
    rows = records(as_table(examine(path)))
    next(rows)
    return [_suggestion(cells, f"{path}, line {line}") for line, cells in rows]


def read_probabilities(path: Path | str) -> list[tuple[str, str, float]]:
    """Image, class and probability of what a file says may be present.

    Args:
        path: a CSV with the columns image, class and probability, as `recover`, `predict --out` and `convert
            --suggestions-out` write it. Lines whose `state` is not present, or that are not `predicted`, are left out.

    Raises:
        LabelError: the file cannot be read, lacks a column, or a probability is none.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} does not exist")
    rows = even_records(as_table(examine(path)))
    columns = columns_of(path, [cell_name(name) for name in next(rows)[1]])
    image, name, probability = (columns.required(role) for role in ("image", "class", "probability"))
    marks = [column for role in ("state", "predicted") if (column := columns.named(role)) is not None]
    found = []
    for line, cells in rows:
        if any(cells[column].strip().casefold() not in {"present", "true", "1"} for column in marks):
            continue
        try:
            value = float(cells[probability])
        except ValueError:
            value = -1
        if not 0 <= value <= 1:
            raise LabelError(f"{path}, line {line}: {cells[probability]!r} is no probability from 0 to 1")
        found.append((cell_name(cells[image]), cell_name(cells[name]), value))
    return found


def _suggestion(cells: list[str], where: str) -> ReadSuggestion:
    if len(cells) != len(COLUMNS):
        raise LabelError(f"{where}: {len(cells)} cells, but there are {len(COLUMNS)} columns")
    image, name, state, _, probability, logit, rule = cells
    if state not in _STATES:
        raise LabelError(f"{where}: state {state!r} is not present, absent or unknown")
    try:
        numbers = float(probability), float(logit)
    except ValueError:
        raise LabelError(f"{where}: probability {probability!r} or logit {logit!r} is no number") from None
    if not 0 <= numbers[0] <= 1:
        raise LabelError(f"{where}: probability {probability} is not between 0 and 1")
    return ReadSuggestion(cell_name(image), cell_name(name), _STATES[state], *numbers, rule)
