"""Maskings: turn a complete table into an incomplete one, seeded, with the same bits on any machine.

A masking only ever makes known cells unknown. The `legacy_*` ones repeat the draws of published code.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable, State
from partlabel.masking.drop_positives import drop_positives
from partlabel.masking.known_ratio import known_ratio
from partlabel.masking.legacy import legacy_numpy_ratio, legacy_removal, legacy_single_positive, legacy_torch_ratio
from partlabel.masking.per_class import per_class
from partlabel.masking.positives_only import positives_only
from partlabel.masking.single_positive import single_positive
from partlabel.version import __version__

MASKINGS: dict[str, Callable[..., LabelTable]] = {
    "known_ratio": known_ratio,
    "drop_positives": drop_positives,
    "single_positive": single_positive,
    "positives_only": positives_only,
    "per_class": per_class,
    "legacy_numpy_ratio": legacy_numpy_ratio,
    "legacy_torch_ratio": legacy_torch_ratio,
    "legacy_removal": legacy_removal,
    "legacy_single_positive": legacy_single_positive,
}


class Hidden(NamedTuple):
    """An incomplete table, and the JSON-able record of how it was made."""

    table: LabelTable
    record: dict[str, Any]


def hide(table: LabelTable, masking: str, *, seed: int | None = None, **settings: Any) -> Hidden:
    """Make known cells of a table unknown.

    Args:
        table: usually complete; a class with an absent background counts as complete.
        masking: a name in `MASKINGS`.
        seed: None takes the masking's own (0, and 1200 for `legacy_single_positive`); `positives_only` has none.
        **settings: keyword arguments of the masking.

    Returns:
        The table with an unknown background, surviving cells with their sources; and the record: `masking`,
        `settings`, `seed`, `input_hash`, `output_hash`, `before` and `after` (cells `present`, `absent`, `unknown`) and
        `partlabel`, the version.

    Raises:
        UsageError: unknown masking or setting, a missing setting, or a value out of range.
        LabelError: the table does not fit the masking.

    Example:
        >>> table = LabelTable.from_dense(["a.jpg", "b.jpg"], ["cat", "dog"], [[1, -1], [-1, 1]])
        >>> hidden = hide(table, "positives_only")
        >>> hidden.table.dense().tolist(), hidden.record["after"]
        ([[1, 0], [0, 1]], {'present': 2, 'absent': 0, 'unknown': 2})
    """
    arguments = _arguments(masking, seed, settings)
    thinned = MASKINGS[masking](table, **arguments)
    used_seed = arguments.pop("seed", None)
    record = {
        "masking": masking,
        "settings": arguments,
        "seed": used_seed,
        "input_hash": table.hash,
        "output_hash": thinned.hash,
        "before": _totals(table),
        "after": _totals(thinned),
        "partlabel": __version__,
    }
    return Hidden(thinned, record)


def check_settings(masking: str, settings: Mapping[str, Any]) -> None:
    """Refuse what `hide` would refuse for any table, by hiding cells of a tiny one.

    Raises:
        UsageError: unknown masking or setting, a missing setting, or a value out of range.
    """
    tiny = LabelTable.from_dense(["a", "b"], ["c", "d"], [[State.PRESENT, State.ABSENT], [State.ABSENT, State.PRESENT]])
    with suppress(LabelError):  # such a masking may still fit the table that is meant
        hide(tiny, masking, **settings)


def _settings(masking: str) -> dict[str, inspect.Parameter]:
    """Settings of a masking, by name, without the seed.

    Raises:
        UsageError: there is no such masking.
    """
    if masking not in MASKINGS:
        raise UsageError(f"unknown masking {masking!r}; {_choices(masking, MASKINGS)}")
    parameters = inspect.signature(MASKINGS[masking]).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in {"table", "seed"}}


def _arguments(masking: str, seed: int | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Checked keyword arguments of the masking, defaults filled in, as plain Python values."""
    accepted = _settings(masking)
    for name in settings:
        if name not in accepted:
            offered = _choices(name, accepted) if accepted else "it takes none"
            raise UsageError(f"masking {masking} has no setting {name!r}; {offered}")
    missing = [
        name for name, parameter in accepted.items() if parameter.default is parameter.empty and name not in settings
    ]
    if missing:
        raise UsageError(f"masking {masking} needs a value for {', '.join(missing)}")
    arguments = {name: settings.get(name, parameter.default) for name, parameter in accepted.items()}
    own_seed = inspect.signature(MASKINGS[masking]).parameters.get("seed")
    if own_seed is not None:
        arguments["seed"] = own_seed.default if seed is None else seed
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in arguments.items()}


def _choices(wrong: str, valid: dict[str, Any]) -> str:
    close = get_close_matches(wrong, valid, n=3)
    return (f"did you mean {' or '.join(close)}? " if close else "") + f"Valid: {', '.join(valid)}"


def _totals(table: LabelTable) -> dict[str, int]:
    return {state: int(count.sum()) for state, count in table.counts_by_class()._asdict().items()}
