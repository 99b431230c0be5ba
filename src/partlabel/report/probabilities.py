"""Probabilities of a run: how to write one, and how well they are calibrated on the held-out cells."""

from collections.abc import Callable
from typing import NamedTuple

from scipy.special import expit

from partlabel.evaluation import brier_score, reliability
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.recovery import Calibration
from partlabel.recovery.calibrate import ERROR_BINS, cross_fit
from partlabel.report.plots import Bins, Plot, reliability_plot
from partlabel.wording import percent


class CalibrationLine(NamedTuple):
    """Expected calibration error and Brier score of one way to make probabilities."""

    name: str
    error: float
    brier: float


class CalibrationSection(NamedTuple):
    """The calibration plot and its numbers, over `cells` held-out cells; `why_none` where no calibration is applied."""

    plot: Plot
    lines: list[CalibrationLine]
    cells: int
    why_none: str | None = None


def probability_text(calibration: Calibration | None) -> Callable[[float, int], str]:
    """From a logit and a class to its probability in percent: calibrated, or the plain sigmoid without a
    calibration.
    """

    def text(logit: float, column: int) -> str:
        if calibration is not None:
            logit = float(calibration.intercept[column] + calibration.slope[column] * logit)
        return percent(float(expit(logit)))

    return text


def calibration_section(calibration: Calibration | None, cells: ScoredCells) -> CalibrationSection:
    """Before and after calibration; before only, with the reason, where the run has no calibration.

    The shipped calibration was fitted on these same cells, which flatters it; so there is a third line without that
    favour, where each cell has its probability from a calibration that was fitted on the other cells.
    """
    columns, states = cells.class_index, cells.states[:, None]
    named = [("before calibration (sigmoid of the logit)", expit(cells.logits))]
    if calibration is not None:
        after = expit(calibration.intercept[columns] + calibration.slope[columns] * cells.logits)
        named.append(("after calibration, on the cells that it was fitted on", after))
    named.append(("calibrated, each cell by a calibration fitted on the others (5 parts)", cross_fit(cells)))
    bins = {name: reliability(values[:, None], states, ERROR_BINS) for name, values in named}
    lines = [
        CalibrationLine(name, bins[name].expected_calibration_error, brier_score(values[:, None], states))
        for name, values in named
    ]
    titles = ["before"] if calibration is None else ["before", "after"]
    plot = reliability_plot([Bins(title, bins[name]) for title, (name, _) in zip(titles, named, strict=False)])
    why = None
    if calibration is None:
        why = (
            f"No calibration is applied: on cells that it was not fitted on, the expected calibration error would be "
            f"{lines[-1].error:.4f} with it, and it is {lines[0].error:.4f} without"
        )
    return CalibrationSection(plot, lines, cells.states.size, why)
