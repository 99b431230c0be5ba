"""The figures beside the table of a grid: plots for each measure, and curves over training.

The plot of a measure has a panel for each data set and masking and a row for each method, the best mean rank on top.
Curves show the mAP of held-out known cells by epoch, from the logs that the runs leave; that of test cells only where
the grid asks for it (`log_test`), in a figure of its own.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from partlabel.drawing.figure import COLOURS, MARKERS, axes_of, columns_of, png, rows_of
from partlabel.files import write_bytes
from partlabel.grids.cell import Cell
from partlabel.grids.measures import MEASURES
from partlabel.grids.recognised_plot import recognised_plot
from partlabel.grids.set_aside_plot import set_aside_plot
from partlabel.grids.share_plot import share_plot
from partlabel.grids.summary import Results, Setting, standings
from partlabel.grids.sweep_plot import sweep_plot
from partlabel.runs.folder import LOG, TEST_LOG, RunFolder

_TEST_COLUMNS = {"test_mAP": "test mAP, %"}
_COLUMNS = {"held_out_mAP": "held-out mAP, %", "held_out_mAP_among_unknown": "held-out mAP among unknown cells, %"}


class Shown(NamedTuple):
    """A figure beside the table.

    Args:
        name: of the file.
        shows: a measure, "share" or "sweep" and a measure, "" for the curves over training, "test" for those of test
            mAP, "set aside" for what methods set aside, or "recognised" for labels of single images.
    """

    name: str
    shows: str


def write_figures(out: Path, results: Results, images: Mapping[str, Path]) -> list[Shown]:
    """Draw each measure of the grid, and its curves; a figure of an earlier call with nothing to show now is deleted.

    Args:
        out: the folder of the table, with the run folders in `runs`.
        results: what to draw.
        images: the image folder of each data set.

    Returns:
        What was drawn.
    """
    drawn = []
    for measure in MEASURES:
        for kind, plot in _OF_MEASURE.items():
            content = plot(results, measure) if measure in results.grid.measures else None
            shown = Shown(f"{kind}-{measure.replace(' ', '-')}.png", f"{kind} {measure}".removeprefix("plot "))
            drawn += _put(out, shown, content)
    drawn += _put(out, Shown("curves.png", ""), curve_plot(results, out / "runs"))
    tested = curve_plot(results, out / "runs", TEST_LOG) if results.grid.log_test else None
    drawn += _put(out, Shown("curves-test.png", "test"), tested)
    counted = set_aside_plot(results, out / "runs") if results.grid.log_truth else None
    drawn += _put(out, Shown("set-aside.png", "set aside"), counted)
    return drawn + _put(out, Shown("recognised.png", "recognised"), recognised_plot(results, images))


def _put(out: Path, figure: Shown, content: bytes | None) -> list[Shown]:
    if content is None:
        (out / figure.name).unlink(missing_ok=True)
        return []
    write_bytes(out / figure.name, content)
    return [figure]


def measure_plot(results: Results, measure: str) -> bytes | None:
    """A PNG of means with their deviation over seeds; None if there is no result.

    A filled dot is a mean over several seeds, its bar one sample standard deviation to each side; an open dot is one
    seed; a dashed line is the mean of the baseline. Settings without any result have no panel.
    """
    standing = standings(results, measure)
    methods = [method for method, stands in standing.items() if stands.ranks]
    settings = [setting for setting in results.settings if any(setting in standing[method].ranks for method in methods)]
    if not settings:
        return None
    dashed = "" if results.grid.baseline is None else f"\ndashed: mean of {results.grid.baseline}"

    def draw(figure: Figure) -> None:
        for axes, setting in zip(axes_of(figure, len(settings), share_y=True), settings, strict=True):
            _draw_measure(axes, results, measure, setting, methods)
        figure.supxlabel(f"{measure}, % (filled: mean ± sd over seeds; open: one seed){dashed}", fontsize=8)

    height = 0.8 + 0.19 * len(methods)
    label_width = 0.065 * max(map(len, methods))
    return png((0.6 + label_width + 2.2 * columns_of(len(settings)), 0.3 + height * rows_of(len(settings))), draw)


def _draw_measure(axes: Axes, results: Results, measure: str, setting: Setting, methods: list[str]) -> None:
    baseline = results.grid.baseline
    if baseline is not None and (level := results.entry(*setting, baseline, measure).mean) is not None:
        axes.axvline(100 * level, color="#888888", linestyle="--", linewidth=0.8)
    for place, method in enumerate(methods):
        entry = results.entry(*setting, method, measure)
        if entry.mean is None:
            continue
        axes.errorbar(
            100 * entry.mean,
            place,
            xerr=None if entry.sd is None else 100 * entry.sd,
            fmt="o",
            markersize=4,
            color=COLOURS[0],
            markerfacecolor="white" if entry.sd is None else COLOURS[0],
            capsize=2,
            linewidth=1,
        )
    axes.set_title("\n".join(setting))
    axes.set_yticks(range(len(methods)), labels=methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


_OF_MEASURE = {"plot": measure_plot, "share": share_plot, "sweep": sweep_plot}
"""By the first word of the file's name, what is drawn of each measure."""


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


def curve_of(logs: Sequence[Sequence[dict[str, str]]], columns: Iterable[str] = _COLUMNS) -> Curve | None:
    """Mean and spread of the logs of one method, one log per seed; None if nothing was measured.

    Args:
        logs: rows of log.csv. Those of a refit, which holds no cells out, are left out; so is a log of mAP among
            unknown cells beside one of mAP proper.
        columns: what to look for, the first that there is.
    """
    for column in columns:
        runs = [points for log in logs if (points := _points(log, column))]
        if runs:
            epochs = sorted(set.intersection(*(set(points) for points in runs)))
            values = [[points[epoch] for points in runs] for epoch in epochs]
            means = tuple(map(statistics.fmean, values))
            deviations = tuple(statistics.stdev(one) if len(one) > 1 else 0.0 for one in values)
            return Curve(column, tuple(epochs), means, deviations) if epochs else None
    return None


def curve_plot(results: Results, runs: Path, log: str = LOG) -> bytes | None:
    """A PNG with a panel for each data set and masking and a line for each of the grid's `curves`; None if there is
    none.

    Args:
        results: the results.
        runs: the folder of the run folders.
        log: the file in each that is drawn.
    """
    curves = {setting: _curves(results, runs, setting, log) for setting in results.settings}
    curves = {setting: lines for setting, lines in curves.items() if lines}
    if not curves:
        return None
    panels = len(curves)

    def draw(figure: Figure) -> None:
        for axes, (setting, lines) in zip(axes_of(figure, panels, share_y=False), curves.items(), strict=True):
            _draw_curves(axes, setting, lines, results.grid.curves)
        shown = {
            label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        order = [label for label in results.grid.curves if label in shown]
        figure.legend(
            [shown[label] for label in order], order, loc="outside lower center", ncols=1 + columns_of(panels)
        )

    return png((max(4.5, 0.4 + 2.6 * columns_of(panels)), 0.9 + 2.3 * rows_of(panels)), draw)


def _curves(results: Results, runs: Path, setting: Setting, log: str) -> dict[str, Curve]:
    lines = {}
    for method in results.grid.curves:
        seeds = results.of_seeds(*setting, method)
        logs = [RunFolder(runs / Cell(*setting, method, seed).slug).log(log) for seed in seeds]
        curve = curve_of(logs, _TEST_COLUMNS if log == TEST_LOG else _COLUMNS)
        if curve:
            lines[method] = curve
    return lines


def _points(log: Sequence[dict[str, str]], column: str) -> dict[int, float]:
    values = {int(row["epoch"]): float(row[column]) for row in log if row["phase"] == "selection" and row.get(column)}
    return {epoch: value for epoch, value in values.items() if math.isfinite(value)}


def _draw_curves(axes: Axes, setting: Setting, lines: dict[str, Curve], methods: Sequence[str]) -> None:
    for method, curve in lines.items():
        number = methods.index(method)
        mean, spread = [100 * value for value in curve.means], [100 * value for value in curve.deviations]
        axes.plot(
            curve.epochs,
            mean,
            color=COLOURS[number],
            marker=MARKERS[number] if len(mean) < 40 else None,
            markersize=4,
            linewidth=1.2,
            label=method,
        )
        low = [value - one for value, one in zip(mean, spread, strict=True)]
        high = [value + one for value, one in zip(mean, spread, strict=True)]
        axes.fill_between(curve.epochs, low, high, color=COLOURS[number], alpha=0.15, linewidth=0)
    axes.set_title("\n".join(setting))
    axes.set(
        xlabel="epoch",
        ylabel=" / ".join(dict.fromkeys({**_COLUMNS, **_TEST_COLUMNS}[curve.column] for curve in lines.values())),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
