"""Panels of lines: a measure along numbers that a grid varies."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partlabel.drawing.figure import COLOURS, MARKERS, axes_of, columns_of, png
from partlabel.grids.summary import Entry, Results

_WIDE = 50
"""From this ratio of the largest to the smallest number on, their axis is logarithmic."""


class Point(NamedTuple):
    """A value for each seed, in percent or percentage points, at a number."""

    place: float
    values: tuple[float, ...]


class Panel(NamedTuple):
    """Lines by their labels, in the order of the legend.

    Args:
        title: above them.
        x: what the numbers are.
        y: what the values are.
        lines: points of each label.
        zero: the label whose line is 0, where values are differences to it.
    """

    title: str
    x: str
    y: str
    lines: dict[str, list[Point]]
    zero: str | None = None


def title_of(results: Results, data: str, more: str) -> str:
    """The data set with the classes that a mean is over, and another line."""
    scored = results.scored_classes(data)
    return "\n".join((data if scored is None else f"{data}, {scored} classes", more))


def percent(place: float, entry: Entry) -> list[Point]:
    """The point of an entry at a number; none without values."""
    return [Point(place, tuple(100 * value for value in entry.values))] if entry.values else []


def lines_plot(results: Results, panels: Sequence[Panel], labels: Sequence[str]) -> bytes | None:
    """A PNG of panels with one legend; None if there is no point to draw.

    A filled point is a mean over several seeds, its bar one sample standard deviation to each side; an open point is
    one seed.

    Args:
        results: what is drawn.
        panels: the panels, row by row; in pairs where there are differences.
        labels: all lines there may be; each has the same colour and marker in all panels.
    """
    if not any(any(panel.lines.values()) for panel in panels):
        return None
    wide = 2 if any(panel.zero is not None for panel in panels) else columns_of(len(panels))
    drawn = [label for label in labels if any(panel.lines.get(label) for panel in panels)]
    styles = dict(zip(labels, _styles(), strict=False))
    width = max(4.5, 0.5 + 2.8 * wide)
    in_a_row = max(1, min(len(drawn), int(width / (0.55 + 0.062 * max(map(len, drawn))))))
    seeds = ", ".join(map(str, results.grid.seeds))
    several = len(results.grid.seeds) > 1
    how_to_read = f"filled: mean ± sd over seeds; open: one seed (seeds {seeds})" if several else f"seed {seeds}"

    def draw(figure: Figure) -> None:
        for axes, panel in zip(axes_of(figure, len(panels), share_y=False, columns=wide), panels, strict=True):
            _draw(axes, panel, styles)
        found = {
            label: line for axes in figure.axes for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            [found[label] for label in drawn], drawn, loc="outside lower center", ncols=in_a_row, title=how_to_read
        )

    height = 2.6 * math.ceil(len(panels) / wide) + 0.17 * math.ceil(len(drawn) / in_a_row) + 0.4
    return png((width, height), draw)


def _styles() -> Iterator[tuple[str, str, str]]:
    """Colour, marker and line style of one label after the other; after eight the line style changes."""
    styles = (style for style in cycle(("-", "--", ":", "-.")) for _ in COLOURS)
    return zip(cycle(COLOURS), cycle(MARKERS), styles, strict=False)


def _draw(axes: Axes, panel: Panel, styles: Mapping[str, tuple[str, str, str]]) -> None:
    if panel.zero is not None:
        colour, _, style = styles[panel.zero]
        axes.axhline(0, color=colour, linestyle=style, linewidth=1.2)
    for label, points in ((label, sorted(points)) for label, points in panel.lines.items() if points):
        colour, marker, style = styles[label]
        means = [statistics.fmean(point.values) for point in points]
        axes.plot([point.place for point in points], means, color=colour, linestyle=style, linewidth=1.2)
        for several, face in ((True, colour), (False, "white")):
            shown = [point for point in points if (len(point.values) > 1) == several]
            axes.errorbar(
                [point.place for point in shown],
                [statistics.fmean(point.values) for point in shown],
                yerr=[statistics.stdev(point.values) for point in shown] if several else None,
                fmt=marker,
                markersize=4,
                color=colour,
                markerfacecolor=face,
                capsize=2,
                linewidth=1,
            )
        axes.plot([], [], color=colour, linestyle=style, marker=marker, markersize=4, linewidth=1.2, label=label)
    numbers = [point.place for points in panel.lines.values() for point in points]
    if numbers and min(numbers) > 0 and max(numbers) >= _WIDE * min(numbers):
        axes.set_xscale("log")
    axes.set_title(panel.title)
    axes.set(xlabel=panel.x, ylabel=panel.y)
