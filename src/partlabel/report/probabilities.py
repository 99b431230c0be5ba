"""Probabilities of a run: how to write one, and how well they are calibrated on the held-out cells."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from partlabel.evaluation import brier_score, log_loss, reliability
from partlabel.evaluation.scored_cells import FloatArray, ScoredCells
from partlabel.labels import Int8Array
from partlabel.recovery import Calibration
from partlabel.recovery.calibrate import ERROR_BINS, cross_fit
from partlabel.report.plots import Bins, Plot, reliability_plot
from partlabel.wording import percent


class CalibrationLine(NamedTuple):
    """Expected calibration error, Brier score and log loss of one way to make probabilities."""

    name: str
    error: float
    brier: float
    log_loss: float


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
        if calibration is None:
            return percent(float(expit(logit)))
        return percent(float(calibration.of(np.array([logit]), np.array([column]))[0]))

    return text


def calibration_section(calibration: Calibration | None, cells: ScoredCells) -> CalibrationSection:
    """Before and after calibration; before only, with the reason, where the run has no calibration.

    The shipped calibration was fitted on these same cells, which flatters it; so there is a third line without that
    favour, where each cell has its probability from a calibration that was fitted on the other cells.
    """
    states = cells.states[:, None]
    named = [("before calibration (sigmoid of the logit)", expit(cells.logits))]
    if calibration is not None:
        after = calibration.of(cells.logits, cells.class_index)
        named.append(("after calibration, on the cells that it was fitted on", after))
    named.append(("calibrated, each cell by a calibration fitted on the others (5 parts)", cross_fit(cells)))
    bins = {name: reliability(values[:, None], states, ERROR_BINS) for name, values in named}
    lines = [
        CalibrationLine(name, bins[name].expected_calibration_error, *_scores(values[:, None], states))
        for name, values in named
    ]
    titles = ["before"] if calibration is None else ["before", "after"]
    plot = reliability_plot([Bins(title, bins[name]) for title, (name, _) in zip(titles, named, strict=False)])
    why = None
    if calibration is None:
        why = (
            f"No calibration is applied: on cells that it was not fitted on, the log loss would be "
            f"{lines[-1].log_loss:.4f} with it, and it is {lines[0].log_loss:.4f} without"
        )
    return CalibrationSection(plot, lines, cells.states.size, why)


def _scores(probability: FloatArray, states: Int8Array) -> tuple[float, float]:
    return brier_score(probability, states), log_loss(probability, states)
