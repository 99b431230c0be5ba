"""From logits to decisions, against loops that share nothing with it."""

import math

import numpy as np
import pytest

from partlabel.errors import NotFiniteError
from partlabel.inference.decisions import decide, refuse_not_finite


def test_without_calibration_a_probability_is_the_sigmoid_and_zero_the_threshold() -> None:
    logits = np.asarray([[-800.0, -1.5, 0.0], [3.0, 800.0, 1e-3]], np.float32)
    probability, predicted = decide(logits, None, None)
    for row in range(2):
        for column in range(3):
            x = float(logits[row, column])
            expected = 1 / (1 + math.exp(-x)) if x > -700 else 0.0
            assert probability[row, column] == pytest.approx(expected, abs=1e-15)
            assert predicted[row, column] == (x >= 0)


def test_each_class_has_its_threshold() -> None:
    logits = np.asarray([[1.0, 1.0], [-1.0, -1.0]], np.float32)
    _, predicted = decide(logits, (1.0, -1.0), None)
    assert predicted.tolist() == [[True, True], [False, True]]


def test_logits_that_are_no_numbers_are_refused_with_their_images() -> None:
    logits = np.zeros((3, 2), np.float32)
    logits[1, 1] = np.nan
    with pytest.raises(NotFiniteError, match=r"1 of 3 images, first: b\.png"):
        refuse_not_finite(logits, ["a.png", "b.png", "c.png"])
    refuse_not_finite(logits[:1], ["a.png"])
