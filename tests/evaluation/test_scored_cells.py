import numpy as np
import pytest

from partlabel.errors import LabelError, NotFiniteError
from partlabel.evaluation.scored_cells import ScoredCells, check_held_out

CLASSES = ("sky", "sea")


@pytest.mark.parametrize(
    ("states", "column", "sentence"),
    [
        ([], [], "no known cell that the model did not see"),
        (
            [1, 1],
            [0, 1],
            "all 2 known cells that .* are present, .*mark more cells absent, or judge some .*; `predict` gives scores",
        ),
        ([-1, -1], [0, 1], "all 2 known cells .* are absent, .*mark more cells present, or judge some"),
        ([-1], [0], "^the known cell that the model did not see is absent, so precision"),
        ([1, -1], [0, 1], "each of the 1 known present cells .* is of a class without such an absent one"),
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
    with pytest.raises(NotFiniteError, match=r"1 logit\(s\) of known cells .* first in class 'sea'"):
        check_held_out([0.0, wrong], [1, -1], [0, 1], CLASSES)


def test_a_class_is_measurable_where_a_cell_is_absent() -> None:
    cells = check_held_out([1, 2, 3], [1, -1, 1], [0, 0, 1], (*CLASSES, "boat"))
    assert cells.measurable.tolist() == [True, False, False]
    assert cells.present.tolist() == [True, False, True]
    assert cells.logits.dtype == np.float64


def drawn(seed: int, classes: int = 5, count: int = 200) -> ScoredCells:
    """Cells in no order, with ties, a class without cells, one without present and one without absent cells."""
    random = np.random.default_rng(seed)
    columns = random.integers(0, classes - 1, count)
    states = random.choice(np.array([-1, 1, 0], np.int8), count, p=[0.6, 0.3, 0.1])
    states[columns == 0] = -1
    states[columns == 1] = 1
    names = tuple("abcdefgh"[:classes])
    return ScoredCells(names, random.normal(states, 1.0).round(1), states, columns)


def of_class(cells: ScoredCells, column: int) -> list[tuple[float, int]]:
    """Logit and state of each known cell of one class."""
    every = zip(cells.logits.tolist(), cells.states.tolist(), cells.class_index.tolist(), strict=True)
    return [(logit, state) for logit, state, own in every if own == column and state != 0]


def test_average_precision_of_each_class_by_hand() -> None:
    cells = drawn(0)
    expected = []
    for column in range(5):
        mine = of_class(cells, column)
        presents = [logit for logit, state in mine if state == 1]
        if not presents or len(presents) == len(mine):
            expected.append(np.nan)
            continue
        precisions = []
        for at in presents:
            above = [state for logit, state in mine if logit >= at]
            precisions.append(above.count(1) / len(above))
        expected.append(sum(precisions) / len(precisions))
    np.testing.assert_allclose(cells.ranking.raw, expected)
    assert np.isnan(expected).tolist() == [True, True, False, False, True]
    assert cells.mean_average_precision == (pytest.approx(np.nanmean(expected)), 2)
    nothing = ScoredCells(CLASSES, np.zeros(0), np.zeros(0, np.int8), np.zeros(0, np.int64))
    assert np.isnan(nothing.mean_average_precision[0])
    assert nothing.mean_average_precision[1] == 0


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_have_the_best_f1_of_all(seed: int) -> None:
    cells = drawn(seed)

    def f1(mine: list[tuple[float, int]], threshold: float) -> float:
        found = [state for logit, state in mine if logit >= threshold]
        presents = sum(state == 1 for _, state in mine)
        return 2 * found.count(1) / (len(found) + presents)

    everything = [one for column in range(5) for one in of_class(cells, column)]
    best = cells.best_thresholds(min_present=5)
    assert f1(everything, best.pooled) == max(f1(everything, logit) for logit, _ in everything)
    for column in range(5):
        mine = of_class(cells, column)
        states = [state for _, state in mine]
        own = states.count(1) >= 5 and states.count(-1) > 0
        assert best.own[column] == own
        if own:
            assert f1(mine, best.values[column]) == max(f1(mine, logit) for logit, _ in mine)
        else:
            assert best.values[column] == best.pooled
    assert best.own.sum() == 2


def test_unknown_cells_are_ranked_against_only_where_that_is_asked_for() -> None:
    cells = ScoredCells(("a",), np.array([3.0, 2.0, 1.0]), np.array([0, 1, 0], np.int8), np.zeros(3, np.int64))
    assert np.isnan(cells.mean_average_precision[0])
    assert not cells.measurable.any()
    assert cells.among_unknown().mean_average_precision == (0.5, 1)
    assert cells.states.tolist() == [0, 1, 0]
