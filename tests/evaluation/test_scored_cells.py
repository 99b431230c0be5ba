import numpy as np
import pytest

from partlabel.errors import LabelError, NotFiniteError
from partlabel.evaluation.scored_cells import check_held_out

CLASSES = ("sky", "sea")


@pytest.mark.parametrize(
    ("states", "column", "sentence"),
    [
        ([], [], "no known cell was held out"),
        (
            [1, 1],
            [0, 1],
            "hold no known absent cell \\(2 held-out cells, all present\\).*mark some cells absent; `predict` gives "
            "scores",
        ),
        ([-1, -1], [0, 1], "hold no known present cell .*mark some cells present; `predict` gives scores"),
        ([1, -1], [0, 1], "each of the 1 known present held-out cells is of a class without a known absent one"),
        ([1, 0], [0, 0], "neither present \\(\\+1\\) nor absent"),
        ([1, -1], [0, 2], "from 0 to 2, outside 0..1"),
        ([1, -1], [-1, 0], "from -1 to 0, outside 0..1"),
        ([1, -1, 1], [0, 0], "differ in length: 3 logits, 3 states, 2 class indices"),
    ],
)
def test_what_cannot_be_measured_is_refused(states: list[int], column: list[int], sentence: str) -> None:
    with pytest.raises(LabelError, match=sentence):
        check_held_out(np.zeros(len(states)), states, column, CLASSES)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_is_refused_by_class(wrong: float) -> None:
    with pytest.raises(NotFiniteError, match=r"1 held-out logit\(s\) .* first in class 'sea'"):
        check_held_out([0.0, wrong], [1, -1], [0, 1], CLASSES)


def test_a_class_is_measurable_where_a_cell_is_absent() -> None:
    cells = check_held_out([1, 2, 3], [1, -1, 1], [0, 0, 1], (*CLASSES, "boat"))
    assert cells.measurable.tolist() == [True, False, False]
    assert cells.present.tolist() == [True, False, True]
    assert cells.logits.dtype == np.float64
