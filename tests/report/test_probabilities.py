"""Probabilities as the calibration means them, and its numbers."""

import numpy as np
import pytest
from scipy.special import expit

from partlabel.evaluation import expected_calibration_error
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.recovery import Calibration, fit_calibration
from partlabel.report.probabilities import calibration_section, probability_text

CLASSES = ("a", "b", "c")


def test_text_is_the_probability_of_the_calibration() -> None:
    calibration = Calibration(CLASSES, np.array([0.5, -1.0, 0.0]), np.array([1.0, 2.0, 0.3]))
    limited = Calibration(CLASSES, np.array([0.5, -1.0, 0.0]), np.array([1.0, 2.0, 0.3]), 0.8, 0.5)
    for logit in (-3.0, 0.0, 1.7):
        for column in range(3):
            for one in (calibration, limited):
                expected = one.probability([[logit] * 3])[0]
                assert probability_text(one)(logit, column) == f"{100 * expected[column]:.1f}\xa0%"
            assert probability_text(None)(logit, column) == f"{100 / (1 + np.exp(-logit)):.1f}\xa0%"


def test_three_lines_before_after_and_without_favour() -> None:
    random = np.random.default_rng(4)
    columns = random.integers(0, 3, 600)
    logits = random.normal(0, 3, 600)
    states = np.where(random.random(600) < expit(0.4 * logits - 1.5), 1, -1).astype(np.int8)
    calibration = fit_calibration(logits, states, columns, CLASSES)
    section = calibration_section(calibration, ScoredCells(CLASSES, logits, states, columns))
    before, after, crossed = section.lines
    matrix = calibration.probability(np.repeat(logits[:, None], 3, axis=1))
    fitted = matrix[np.arange(600), columns]
    assert section.cells == 600
    assert before.error == pytest.approx(expected_calibration_error(expit(logits)[:, None], states[:, None], 10))
    assert after.error == pytest.approx(expected_calibration_error(fitted[:, None], states[:, None], 10))
    assert after.brier == pytest.approx(np.mean((fitted - (states > 0)) ** 2))
    assert after.log_loss == pytest.approx(-np.log(np.where(states > 0, fitted, 1 - fitted)).mean())
    assert after.log_loss < crossed.log_loss < before.log_loss
    assert after.brier < crossed.brier < before.brier
    assert after.error < before.error / 2


def test_a_run_without_calibration_says_why() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, 300)
    states = np.where(random.random(300) < expit(logits), 1, -1).astype(np.int8)
    section = calibration_section(None, ScoredCells(CLASSES, logits, states, random.integers(0, 3, 300)))
    before, crossed = section.lines
    assert section.why_none == (
        "No calibration is applied: on cells that it was not fitted on, the log loss would be "
        f"{crossed.log_loss:.4f} with it, and it is {before.log_loss:.4f} without"
    )
