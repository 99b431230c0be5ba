"""Curves over training: the mAP of held-out known cells by epoch, from the logs that the runs leave. Never of test
cells.
"""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from partlabel.drawing.figure import COLOURS, axes_of, columns_of, png, rows_of
from partlabel.grids.cell import Cell
from partlabel.grids.ranks import Setting
from partlabel.grids.summary import Results
from partlabel.runs.folder import RunFolder

_COLUMNS = {"held_out_mAP": "held-out mAP, %", "held_out_mAP_among_unknown": "held-out mAP among unknown cells, %"}
_MARKERS = "os^vDPX*"


class Curve(NamedTuple):
    """A method in a setting, over the seeds that have a log.

    Args:
        column: what was measured: a column of log.csv.
        epochs: those that every seed judged, ascending.
        means: mean over the seeds at each, in 0..1.
        deviations: sample standard deviation at each; 0 with one seed.
    """

    column: str
    epochs: tuple[int, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]


def curve_of(logs: Sequence[Sequence[dict[str, str]]]) -> Curve | None:
    """Mean and spread of the logs of one method, one log a seed; None if nothing was measured.

    Args:
        logs: rows of log.csv. Those of a refit, which holds no cells out, are left out; so is a log of mAP among
            unknown cells beside one of mAP proper.
    """
    for column in _COLUMNS:
        runs = [points for log in logs if (points := _points(log, column))]
        if runs:
            epochs = sorted(set.intersection(*(set(points) for points in runs)))
            values = [[points[epoch] for points in runs] for epoch in epochs]
            means = tuple(map(statistics.fmean, values))
            deviations = tuple(statistics.stdev(one) if len(one) > 1 else 0.0 for one in values)
            return Curve(column, tuple(epochs), means, deviations) if epochs else None
    return None


def curve_plot(results: Results, runs: Path) -> bytes | None:
    """A PNG with a panel for each data set and masking and a line for each of the grid's `curves`; None if there is
    none.

    Args:
        results: the results.
        runs: the folder of the run folders.
    """
    curves = {setting: _curves(results, runs, setting) for setting in results.settings}
    curves = {setting: lines for setting, lines in curves.items() if lines}
    if not curves:
        return None
    panels = len(curves)

    def draw(figure: Figure) -> None:
        for axes, (setting, lines) in zip(axes_of(figure, panels, share_y=False), curves.items(), strict=True):
            _draw_panel(axes, setting, lines, results.grid.curves)
        shown = {
            label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        order = [label for label in results.grid.curves if label in shown]
        figure.legend(
            [shown[label] for label in order], order, loc="outside lower center", ncols=1 + columns_of(panels)
        )

    return png((max(4.5, 0.4 + 2.6 * columns_of(panels)), 0.9 + 2.3 * rows_of(panels)), draw)


def _curves(results: Results, runs: Path, setting: Setting) -> dict[str, Curve]:
    lines = {}
    for method in results.grid.curves:
        seeds = results.of_seeds(*setting, method)
        curve = curve_of([RunFolder(runs / Cell(*setting, method, seed).slug).log() for seed in seeds])
        if curve:
            lines[method] = curve
    return lines


def _points(log: Sequence[dict[str, str]], column: str) -> dict[int, float]:
    values = {int(row["epoch"]): float(row[column]) for row in log if row["phase"] == "selection" and row.get(column)}
    return {epoch: value for epoch, value in values.items() if math.isfinite(value)}


def _draw_panel(axes: Axes, setting: Setting, lines: dict[str, Curve], methods: Sequence[str]) -> None:
    for method, curve in lines.items():
        number = methods.index(method)
        mean, spread = [100 * value for value in curve.means], [100 * value for value in curve.deviations]
        axes.plot(
            curve.epochs,
            mean,
            color=COLOURS[number],
            marker=_MARKERS[number] if len(mean) < 40 else None,
            markersize=4,
            linewidth=1.2,
            label=method,
        )
        low = [value - one for value, one in zip(mean, spread, strict=True)]
        high = [value + one for value, one in zip(mean, spread, strict=True)]
        axes.fill_between(curve.epochs, low, high, color=COLOURS[number], alpha=0.15, linewidth=0)
    axes.set_title("\n".join(setting))
    axes.set(xlabel="epoch", ylabel=" / ".join(dict.fromkeys(_COLUMNS[curve.column] for curve in lines.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
