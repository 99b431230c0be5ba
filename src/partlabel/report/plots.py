"""The plots of a report, as images with a text that says the same."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from partlabel.drawing.figure import svg
from partlabel.evaluation import Reliability
from partlabel.evaluation.histogram import BINS, Group, Histogram

# Colours that colour-blind people can tell apart (Okabe and Ito, 2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "#666666"
_GROUP_COLOURS: dict[Group, str] = {
    "present": _COLOURS[0],
    "absent": _COLOURS[1],
    "unknown": _GREY,
    "unknown, truly present": _COLOURS[5],
    "unknown, truly absent": _COLOURS[4],
}
_PHASE_STYLES = {"selection": "-", "refit": "--"}


class Plot(NamedTuple):
    """A drawing as a data URI, and what it shows in words."""

    uri: str
    alt: str


class LogCurve(NamedTuple):
    """One column of the log in one phase, where it has a number."""

    phase: str
    column: str
    epochs: list[int]
    values: list[float]


class Bins(NamedTuple):
    """One line of a calibration plot."""

    name: str
    reliability: Reliability


def loss_plot(log: Sequence[dict[str, str]]) -> Plot | None:
    """The loss and its parts by epoch, both phases; None if the log has none."""
    names = [
        name for name in dict.fromkeys(key for row in log for key in row) if name == "loss" or name.startswith("loss_")
    ]
    if len(names) == 2:  # a loss of one part is that part
        names = ["loss"]
    curves = _curves(log, names)
    return _epoch_plot(curves, "loss", ("lowest", min)) if curves else None


def map_plot(log: Sequence[dict[str, str]]) -> Plot | None:
    """The mAP of the held-out cells by epoch, among unknown ones where no absent cell is known; None if it was looked
    at less than twice.
    """
    for name, title in (
        ("held_out_mAP", "held-out mAP, %"),
        ("held_out_mAP_among_unknown", "held-out mAP among unknown, %"),
    ):
        if curves := [curve for curve in _curves(log, [name], scale=100) if len(curve.epochs) > 1]:
            return _epoch_plot(curves, title, ("highest", max))
    return None


def reliability_plot(lines: Sequence[Bins]) -> Plot:
    """Fraction of present cells by predicted probability, and how many cells there are in each bin."""

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":", label="as it should be")
        for number, (name, bins) in enumerate(lines):
            filled = bins.count > 0
            colour = _COLOURS[number]
            above.plot(
                bins.mean_probability[filled],
                bins.fraction_present[filled],
                color=colour,
                marker="os"[number],
                label=name,
            )
            width = np.diff(bins.edges) * 0.4
            below.bar(bins.edges[:-1] + (0.25 + 0.5 * number) * np.diff(bins.edges), bins.count, width, color=colour)
        above.set(ylabel="fraction present", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        above.legend(loc="upper left")
        below.set(xlabel="predicted probability", ylabel="cells", yscale="log")
        below.set_ylim(bottom=0.5)
        below.yaxis.set_major_formatter("{x:,.0f}")

    words = "; ".join(f"{name}: {_reliability_words(bins)}" for name, bins in lines)
    return Plot(svg((4.8, 4.6), draw), f"Calibration on held-out cells. {words}.")


def histogram_plot(histogram: Histogram, where: str) -> Plot:
    """How many cells of each group have a predicted probability in each interval; unknown ones in a panel of their
    own, because they are many.
    """
    known = {group: counts for group, counts in histogram.items() if not group.startswith("unknown")}
    unknown = {group: counts for group, counts in histogram.items() if group.startswith("unknown") and counts.any()}
    panels = [panel for panel in (known, unknown) if panel]
    edges = np.linspace(0, 1, BINS + 1)

    def draw(figure: Figure) -> None:
        axes: list[Axes] = list(figure.subplots(len(panels), 1, sharex=True, squeeze=False).flat)
        for panel, shown in zip(axes, panels, strict=True):
            width = 0.8 / BINS / len(shown)
            for place, (group, counts) in enumerate(shown.items()):
                left = edges[:-1] + 0.1 / BINS + place * width
                panel.bar(left, counts, width, align="edge", color=_GROUP_COLOURS[group], label=group)
            panel.set(ylabel="cells", yscale="log", xlim=(0, 1))
            panel.set_ylim(bottom=0.5)
            panel.yaxis.set_major_formatter("{x:,.0f}")
            panel.legend()
        axes[-1].set(xlabel="predicted probability")

    words = "; ".join(f"{group}: {', '.join(f'{count:,}' for count in found)}" for group, found in histogram.items())
    return Plot(svg((4.8, 2.3 * len(panels)), draw), f"Cells of {where} by tenths of the probability. {words}.")


def _curves(log: Sequence[dict[str, str]], names: Sequence[str], scale: float = 1) -> list[LogCurve]:
    curves = []
    for phase in dict.fromkeys(row["phase"] for row in log):
        for name in names:
            points = [
                (int(row["epoch"]), scale * float(row[name])) for row in log if row["phase"] == phase and row.get(name)
            ]
            points = [point for point in points if math.isfinite(point[1])]
            if points:
                curves.append(LogCurve(phase, name, [epoch for epoch, _ in points], [value for _, value in points]))
    return curves


def _epoch_plot(curves: Sequence[LogCurve], what: str, best: tuple[str, Callable[[list[float]], float]]) -> Plot:
    names = list(dict.fromkeys(curve.column for curve in curves))
    phases = list(dict.fromkeys(curve.phase for curve in curves))

    def label(curve: LogCurve) -> str:
        part = curve.column.removeprefix("loss_") if curve.column != "loss" else "total"
        if len(phases) == 1:
            return part if len(names) > 1 else ""
        return f"{part} ({curve.phase})" if len(names) > 1 else curve.phase

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for curve in curves:
            axes.plot(
                curve.epochs,
                curve.values,
                label=label(curve),
                marker="." if len(curve.epochs) < 40 else None,
                color=_COLOURS[names.index(curve.column) % len(_COLOURS)],
                linestyle=_PHASE_STYLES.get(curve.phase, ":"),
            )
        axes.set(xlabel="epoch", ylabel=what)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(curves) > 1:
            axes.legend()

    def words(curve: LogCurve) -> str:
        text = (
            f"{curve.values[0]:.4g} in epoch {curve.epochs[0]}, {curve.values[-1]:.4g} in epoch {curve.epochs[-1]}, "
            f"{best[0]} {best[1](curve.values):.4g}"
        )
        return f"{label(curve)}: {text}" if label(curve) else text

    return Plot(svg((4.8, 3.2), draw), f"{what[0].upper()}{what[1:]} by epoch. {'; '.join(map(words, curves))}.")


def _reliability_words(bins: Reliability) -> str:
    filled = np.flatnonzero(bins.count)
    return ", ".join(
        f"{bins.fraction_present[place]:.2f} of {bins.count[place]} cells present at mean probability "
        f"{bins.mean_probability[place]:.2f}"
        for place in filled
    )
