"""Probabilities of a run: how to write one, and how well they are calibrated on the held-out cells."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from partlabel.evaluation import brier_score, reliability
from partlabel.evaluation.scored_cells import check_held_out
from partlabel.recovery import Calibration
from partlabel.recovery.calibrate import cross_fit
from partlabel.report.classes import HeldOutCells
from partlabel.report.plots import Bins, Plot, reliability_plot
from partlabel.wording import percent

_BINS = 10


class CalibrationLine(NamedTuple):
    """Expected calibration error and Brier score of one way to make probabilities."""

    name: str
    error: float
    brier: float


class CalibrationSection(NamedTuple):
    """The calibration plot and its numbers, over `cells` held-out cells."""

    plot: Plot
    lines: list[CalibrationLine]
    cells: int


def probability_text(calibration: Calibration | None) -> Callable[[float, int], str]:
    """From a logit and a class to its probability in percent: calibrated, or the plain sigmoid without a
    calibration.
    """

    def text(logit: float, column: int) -> str:
        if calibration is not None:
            logit = float(calibration.intercept[column] + calibration.slope[column] * logit)
        return percent(float(expit(logit)))

    return text


def calibration_section(calibration: Calibration, cells: HeldOutCells) -> CalibrationSection:
    """Before and after calibration.

    The shipped calibration was fitted on these same cells, which flatters it; so there is a third line without that
    favour, where each cell has its probability from a calibration that was fitted on the other cells.
    """
    columns = cells.class_index
    before = expit(cells.logits)
    after = expit(calibration.intercept[columns] + calibration.slope[columns] * cells.logits)
    crossed = cross_fit(check_held_out(cells.logits, cells.states, columns, calibration.classes))
    states = cells.states[:, None]
    named = [
        ("before calibration (sigmoid of the logit)", before),
        ("after calibration, on the cells that it was fitted on", after),
        ("the same, each cell by a calibration fitted on the others (5 parts)", crossed),
    ]
    bins = {name: reliability(values[:, None], states, _BINS) for name, values in named}
    lines = [
        CalibrationLine(name, bins[name].expected_calibration_error, brier_score(values[:, None], states))
        for name, values in named
    ]
    plot = reliability_plot([Bins("before", bins[named[0][0]]), Bins("after", bins[named[1][0]])])
    return CalibrationSection(plot, lines, int(np.size(columns)))
