"""A measure by a setting, where rows of a grid differ in one number alone."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from partlabel.grids.grid import Grid, Row
from partlabel.grids.lines import Panel, lines_plot, percent, title_of
from partlabel.grids.summary import Results
from partlabel.methods.auto import AUTO
from partlabel.methods.build import method_config, setting_names
from partlabel.runs.settings import make_settings

_FEWEST = 3
_TITLE_WIDTH = 40


class Sweep(NamedTuple):
    """Rows that differ in one number.

    Args:
        setting: its name.
        places: the number of each row.
    """

    setting: str
    places: dict[str, float]


def sweeps(grid: Grid, data: str, masking: str) -> list[Sweep]:
    """All sets of at least three rows that are equal but for one number on these labels; a row may be in several."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for label in grid.rows:
        settings = _all_settings(grid.row_of(data, masking, label))
        for name, value in settings.items():
            if type(value) in {int, float}:
                found.setdefault((name, _without(settings, name)), {})[label] = float(value)
    return [Sweep(name, places) for (name, _), places in found.items() if len(set(places.values())) >= _FEWEST]


def sweep_plot(results: Results, measure: str) -> bytes | None:
    """A PNG with a panel for each data set and set of rows, and a line for each masking; None if there is nothing to
    show.
    """
    panels: dict[tuple[str, ...], Panel] = {}
    for data, masking in results.settings:
        for setting, places in sweeps(results.grid, data, masking):
            ordered = sorted(places, key=places.__getitem__)
            title = title_of(results, data, _ends(ordered[0], ordered[-1]))
            panel = panels.setdefault((data, setting, *ordered), Panel(title, setting, f"{measure}, %", {}))
            panel.lines[masking] = [
                point
                for method in ordered
                for point in percent(places[method], results.entry(data, masking, method, measure))
            ]
    drawn = [panel for panel in panels.values() if any(panel.lines.values())]
    return lines_plot(results, drawn, [*results.grid.maskings])


def _all_settings(row: Row) -> dict[str, Any]:
    """What a row trains with, defaults filled in."""
    found: dict[str, Any] = {**row.settings, "rates": row.rates, "start": row.start}
    method = row.settings["method"]
    if method == AUTO:
        return found
    checked = make_settings(row.settings, setting_names(method))
    config = method_config(method, checked.method_settings)
    return {**found, **checked.model_dump(exclude={"method_settings"}), **config.model_dump()}


def _ends(first: str, last: str) -> str:
    gap = " " if len(first) + len(last) < _TITLE_WIDTH else "\n"
    return f"{first} to{gap}{last}"


def _without(settings: Mapping[str, Any], name: str) -> str:
    rest = {key: value for key, value in settings.items() if key != name}
    return json.dumps(rest, sort_keys=True, default=str)
