"""Lines of classes against a minimizer of the whole objective, which shares no code with them."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from partlabel.methods.tools.class_lines import DEVIATION, class_lines

Floats = NDArray[np.float64]
Joint = Callable[..., Floats]


def _cells(classes: int = 4, images: int = 60) -> tuple[Floats, NDArray[np.int8]]:
    random = np.random.default_rng(2)
    prevalence = np.linspace(0.2, 0.5, classes)
    truth = random.random((images, classes)) < prevalence
    scores = random.normal(0, 1, truth.shape) + truth * np.linspace(0.5, 2.5, classes)
    known = random.random(truth.shape) < np.linspace(0.4, 0.9, classes)
    return scores.astype(np.float32).astype(np.float64), np.where(known, np.where(truth, 1, -1), 0).astype(np.int8)


SCORES, STATES = _cells()


def test_they_are_the_most_probable_ones(joint_lines: Joint) -> None:
    found = class_lines(SCORES.astype(np.float32), STATES, 1.5)
    np.testing.assert_allclose(np.stack(found), joint_lines(SCORES, STATES, 1.5), atol=0.01)


def test_a_class_without_both_signs_has_none_and_no_part_in_the_others() -> None:
    states = STATES.copy()
    states[:, 1] = np.abs(states[:, 1])
    states[:, 2] = -np.abs(states[:, 2])
    slope, offset = class_lines(SCORES.astype(np.float32), states, 1.5)
    assert np.isnan(slope).tolist() == np.isnan(offset).tolist() == [False, True, True, False]
    alone = class_lines(SCORES[:, [0, 3]].astype(np.float32), states[:, [0, 3]], 1.5)
    assert alone.slope.tolist() == slope[[0, 3]].tolist()
    nothing = class_lines(SCORES.astype(np.float32), np.zeros_like(states), 1.5)
    assert np.isnan(nothing.slope).all()


def test_few_cells_leave_a_class_near_the_others() -> None:
    """A class whose three known cells are ranked the wrong way keeps a slope above 0."""
    states = STATES.copy()
    order = np.argsort(SCORES[:, 0])
    states[:, 0] = 0
    states[order[[0, 5, 50]], 0] = [1, 1, -1]
    slope = class_lines(SCORES.astype(np.float32), states, 1.5).slope
    assert slope[0] > 0.3 * slope[1:].mean()
    states[order, 0] = np.where(np.arange(len(order)) < 20, 1, -1)
    assert class_lines(SCORES.astype(np.float32), states, 1.5).slope[0] < 0.2 * slope[1:].mean()


@pytest.mark.parametrize("deviation", [(1.0, 0.5), (2.0, 1.0)])
def test_how_far_classes_may_differ_is_as_it_was_measured(joint_lines: Joint, deviation: tuple[float, float]) -> None:
    assert DEVIATION == (2.0, 0.5)
    found = np.stack(class_lines(SCORES.astype(np.float32), STATES, 1.5))
    assert np.abs(found - joint_lines(SCORES, STATES, 1.5, deviation)).max() > 0.03


def test_the_expected_slope_holds_where_all_cells_are_told_apart() -> None:
    states = np.where(SCORES > 0, 1, -1).astype(np.int8)
    low, high = (class_lines(SCORES.astype(np.float32), states, slope).slope.mean() for slope in (1.0, 4.0))
    assert 1 < low < high < 60
