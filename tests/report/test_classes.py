"""Average precision by class against scikit-learn, and the order of the table."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import LabelTable
from partlabel.report.classes import (
    MOST_ROWS,
    Judged,
    class_rows,
    judge_held_out,
    judge_test,
    read_held_out,
)


def test_held_out_average_precision_of_each_class() -> None:
    random = np.random.default_rng(0)
    classes, count = 7, 300
    cells = ScoredCells(
        tuple("abcdefg"),
        random.normal(size=count).round(1),
        random.choice(np.array([-1, 1], np.int8), count, p=[0.7, 0.3]),
        random.integers(0, 5, count),
    )
    cells.states[cells.class_index == 3] = 1
    judged = judge_held_out(cells)
    for column in range(classes):
        mine = cells.class_index == column
        assert judged.present[column] == (cells.states[mine] > 0).sum()
        assert judged.absent[column] == (cells.states[mine] < 0).sum()
        if column in {3, 5, 6}:
            assert np.isnan(judged.values[column])
        else:
            assert judged.values[column] == pytest.approx(
                average_precision_score(cells.states[mine] > 0, cells.logits[mine])
            )
    assert judged.mean == pytest.approx(np.mean(judged.values[[0, 1, 2, 4]]))


def test_the_mean_is_that_of_the_run(trained: Any) -> None:
    cells = read_held_out(trained.run, trained.truth.classes)
    assert cells is not None
    judged = judge_held_out(cells)
    assert judged.mean == pytest.approx(trained.run.info["held_out"]["mAP"], abs=1e-6)
    assert int(judged.scored.sum()) == trained.run.info["held_out"]["classes"]
    labels = trained.run.labels()
    rows = [labels.image_positions[name] for name in (cells.image(place) for place in range(cells.states.size))]
    assert (labels.states_at(rows, cells.class_index) == cells.states).all()


def test_a_test_is_matched_by_class_name() -> None:
    evaluation = {
        "per_class": [
            {"class": "b", "AP": {"raw": 0.25}, "present": 3, "absent": 4},
            {"class": "a", "AP": {"raw": None}, "present": 0, "absent": 7},
        ]
    }
    judged = judge_test(evaluation, ("a", "b", "c"))
    np.testing.assert_array_equal(judged.values, [np.nan, 0.25, np.nan])
    assert judged.present.tolist() == [0, 3, 0]
    assert judged.absent.tolist() == [7, 4, 0]
    assert judged.worst() == [1]


@pytest.mark.parametrize(("scored", "worst"), [(0, 0), (1, 1), (4, 1), (5, 2), (20, 5), (100, 6)])
def test_how_many_classes_are_worst(scored: int, worst: int) -> None:
    values = np.concatenate([np.linspace(1, 0, scored), [np.nan, np.nan]])
    nothing = np.zeros(scored + 2, np.int64)
    judged = Judged("test", values, nothing, nothing)
    assert judged.worst() == list(range(scored - 1, scored - 1 - worst, -1))
    assert (judged.mean is None) == (scored == 0)


def test_rows_begin_with_the_lowest_and_are_not_too_many() -> None:
    classes = [f"c{number}" for number in range(MOST_ROWS + 10)]
    labels = LabelTable.from_dense(["x", "y"], classes, [[1] * len(classes), [-1] * 9 + [0] * (len(classes) - 9)])
    values = np.random.default_rng(1).permutation(len(classes)) / len(classes)
    values[5] = np.nan
    counts = np.arange(len(classes))
    rows = class_rows(labels, Judged("test", values, counts, counts), tuple(-values))
    assert len(rows) == MOST_ROWS
    shown = [row.average_precision for row in rows]
    assert shown == sorted(shown)  # type: ignore[type-var]
    assert [row.worst for row in rows[:8]] == [True] * 6 + [False] * 2
    for row in rows:
        column = int(row.name[1:])
        assert (row.present, row.absent, row.judged_present) == (1, int(column < 9), column)
        assert row.threshold == -values[column]
    unjudged = class_rows(labels, None, None)
    assert [row.name for row in unjudged] == classes[:MOST_ROWS]
    assert not any(row.worst for row in unjudged)
