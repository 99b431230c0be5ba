"""Settings that hold for some cells of a grid only: those of some data sets, maskings or rows."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from partlabel.errors import UsageError
from partlabel.grids.schema import OverrideEntry

FIXED = ("method", "start", "seed", "init", "holdout", "holdout_by", "refit")
"""What is a matter of the whole row."""


class Override(NamedTuple):
    """Settings of some cells; an empty choice means all.

    Args:
        data: the data sets.
        masking: the maskings.
        method: the rows.
        settings: what they train with instead.
        written: the same with variables not filled in.
    """

    data: tuple[str, ...]
    masking: tuple[str, ...]
    method: tuple[str, ...]
    settings: dict[str, Any]
    written: dict[str, Any]

    def holds_for(self, data: str, masking: str, method: str) -> bool:
        """Whether a cell is one of them."""
        chosen = ((self.data, data), (self.masking, masking), (self.method, method))
        return all(not names or name in names for names, name in chosen)


def make_overrides(
    entries: Iterable[OverrideEntry], written: Iterable[Mapping[str, Any]], known: Mapping[str, Iterable[str]]
) -> tuple[Override, ...]:
    """The overrides of a grid file.

    Args:
        entries: as in the file.
        written: the same with variables not filled in.
        known: the names of "data", "masking" and "method" that the grid has.

    Raises:
        UsageError: one names what the grid does not have, or sets what no override may.
    """
    found = []
    for number, (entry, raw) in enumerate(zip(entries, written, strict=True), start=1):
        for kind, names in known.items():
            for name in getattr(entry, kind):
                if name not in names:
                    raise UsageError(f"override {number}: there is no {kind} {name!r}; there are {', '.join(names)}")
        for name in FIXED:
            if name in entry.settings:
                raise UsageError(f"override {number}: {name} holds for a whole row; say it in the row")
        if isinstance(entry.settings.get("lr"), list):
            raise UsageError(f"override {number}: lr is a list; candidates are searched for a whole row")
        found.append(Override(entry.data, entry.masking, entry.method, entry.settings, dict(raw["settings"])))
    return tuple(found)


def changes(
    overrides: Iterable[Override],
    data: str,
    masking: str,
    method: str,
    idle: Callable[[Iterable[str]], Iterable[str]] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that overrides give a cell, later ones last, and the same as written.

    `idle` tells which of some settings a row cannot have; overrides that do not name the row leave these out.
    """
    settings: dict[str, Any] = {}
    written: dict[str, Any] = {}
    for one in overrides:
        if one.holds_for(data, masking, method):
            left_out = {*idle(one.settings)} if idle is not None and not one.method else set()
            settings |= {name: value for name, value in one.settings.items() if name not in left_out}
            written |= {name: value for name, value in one.written.items() if name not in left_out}
    return settings, written
