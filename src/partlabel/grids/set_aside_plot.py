"""The figure of what methods set aside while they train: of these cells, how many were truly missed.

Drawn from what `train` counts in log.csv against a truth; the training never sees it.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from partlabel.drawing.figure import COLOURS, png
from partlabel.grids.cell import Cell
from partlabel.grids.summary import Results, Setting
from partlabel.runs.folder import RunFolder

_NETWORKS = ("first_", "second_")
_SIDES = {"precision": "truly missed of the cells set aside, %", "recall": "set aside of the cells truly missed, %"}
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
_BASE = "missed_share"

Log = Sequence[dict[str, str]]
Line = dict[int, float]
"""Value by epoch."""


def set_aside_lines(logs: Sequence[Log]) -> dict[str, Line]:
    """Means over seeds and networks at each epoch that has the number, by column without the name of the network.

    Args:
        logs: rows of log.csv, one log per seed. Those of a refit are left out.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for row in (row for log in logs for row in log if row["phase"] == "selection"):
        for column, text in row.items():
            if not text or not (column == _BASE or column.endswith(tuple(f"_{side}" for side in _SIDES))):
                continue
            name = next((column.removeprefix(which) for which in _NETWORKS if column.startswith(which)), column)
            if math.isfinite(value := float(text)):
                found.setdefault(name, {}).setdefault(int(row["epoch"]), []).append(value)
    return {name: {epoch: statistics.fmean(line[epoch]) for epoch in sorted(line)} for name, line in found.items()}


def set_aside_plot(results: Results, runs: Path) -> bytes | None:
    """A PNG with two panels for each data set and masking, and a colour for each method; None if nothing was counted.

    Args:
        results: the results; of the grid's `curves`, or of all its rows, the first that set something aside.
        runs: the folder of the run folders.
    """
    panels = {setting: _methods(results, runs, setting) for setting in results.settings}
    panels = {setting: methods for setting, methods in panels.items() if methods}
    if not panels:
        return None
    methods = list(dict.fromkeys(method for lines in panels.values() for method in lines))[: len(COLOURS)]
    kinds = list(dict.fromkeys(kind for lines in panels.values() for one in lines.values() for kind in _kinds(one)))

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 2, squeeze=False)
        for pair, (setting, lines) in zip(grid, panels.items(), strict=True):
            for axes, side in zip(pair, _SIDES, strict=True):
                _draw(axes, side, lines, methods, kinds)
                axes.set_title("\n".join(setting))
        keys = [Line2D([], [], color=COLOURS[number], label=method) for number, method in enumerate(methods)]
        keys += [
            Line2D([], [], color="#555555", linestyle=style, label=kind.replace("_", " "))
            for kind, style in zip(kinds, _STYLES, strict=False)
        ]
        keys.append(Line2D([], [], color="#bbbbbb", linewidth=3, label="missed among all unknown cells"))
        figure.legend(handles=keys, loc="outside lower center", ncols=3)

    return png((6.5, 0.9 + 2.6 * len(panels)), draw)


def _methods(results: Results, runs: Path, setting: Setting) -> dict[str, dict[str, Line]]:
    lines = {}
    for method in results.grid.curves or results.grid.rows:
        seeds = results.of_seeds(*setting, method)
        found = set_aside_lines([RunFolder(runs / Cell(*setting, method, seed).slug).log() for seed in seeds])
        if _kinds(found):
            lines[method] = found
    return lines


def _kinds(lines: dict[str, Line]) -> list[str]:
    """What was set aside, such as "high_loss"."""
    return list(dict.fromkeys(name.rpartition("_")[0] for name in lines if name != _BASE))


def _draw(
    axes: Axes, side: str, lines: dict[str, dict[str, Line]], methods: Sequence[str], kinds: Sequence[str]
) -> None:
    if side == "precision":
        base = next(iter(lines.values())).get(_BASE, {})
        axes.plot(list(base), [100 * value for value in base.values()], color="#bbbbbb", linewidth=3)
    for number, method in enumerate(methods):
        for kind, style in zip(kinds, _STYLES, strict=False):
            line = lines.get(method, {}).get(f"{kind}_{side}", {})
            values = [100 * value for value in line.values()]
            axes.plot(list(line), values, color=COLOURS[number], linestyle=style, linewidth=1.2)
    axes.set(xlabel="epoch", ylabel=_SIDES[side])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
