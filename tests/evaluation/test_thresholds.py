import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from partlabel.errors import LabelError, UsageError
from partlabel.evaluation import best_f1_thresholds, f_measures


def best_f1(scores, truth):
    return max(f1_score(truth, scores >= threshold) for threshold in np.unique(scores))


def test_no_other_threshold_has_a_better_f1(tagging):
    scores, states = tagging
    found = best_f1_thresholds(scores, states, min_present=5)
    assert found.own.tolist() == [True] * 9 + [False] * 3
    for column in range(9):
        known = states[:, column] != 0
        one, truth = scores[known, column], states[known, column] == 1
        assert f1_score(truth, one >= found.values[column]) == pytest.approx(best_f1(one, truth))
    assert (found.values[9:] == found.pooled).all()
    known = states != 0
    assert f_measures(scores, states, found.pooled).overall_f1 == pytest.approx(
        best_f1(scores[known], states[known] == 1)
    )


def test_the_threshold_lies_halfway_to_the_next_rejected_score():
    scores = np.array([[3.0, 0], [2.0, 0], [1.0, 0], [0.0, 0]])
    states = np.array([[1, 0], [1, 0], [-1, 0], [-1, 0]], np.int8)
    found = best_f1_thresholds(scores, states, min_present=1)
    assert found.values.tolist() == [1.5, 1.5]
    assert found.own.tolist() == [True, False]


def test_of_equal_f1_the_highest_threshold_is_taken():
    # Accepting 1 of 1 present (F1 2/3 of two present) or all four (F1 2/3) is the same.
    scores, states = np.array([[3.0], [2.0], [1.0], [0.0]]), np.array([[1], [-1], [-1], [1]], np.int8)
    assert best_f1_thresholds(scores, states, min_present=1).values.tolist() == [2.5]


def test_a_class_with_too_few_known_present_cells_gets_the_pooled_threshold(tagging):
    scores, states = tagging
    few = np.where((states == 1) & (np.cumsum(states == 1, axis=0) > 4), 0, states)
    few[:, 0] = np.where((states[:, 0] == 1) & (np.cumsum(states[:, 0] == 1) > 5), 0, states[:, 0])
    found = best_f1_thresholds(scores, few, min_present=5)
    assert found.own.tolist() == [True] + [False] * 11
    assert (found.values[1:] == found.pooled).all()
    assert found.values[0] != found.pooled


@given(st.floats(-1e300, 1e300), st.sampled_from([np.float16, np.float32, np.float64]))
def test_neighbouring_floats_are_told_apart(value, dtype):
    low = np.clip(value, -6e4, 6e4).astype(dtype) if dtype is np.float16 else np.clip(value, -1e38, 1e38).astype(dtype)
    scores = np.array([[np.nextafter(low, dtype(np.inf))], [low]], dtype)
    states = np.array([[1], [-1]], np.int8)
    found = best_f1_thresholds(scores, states, min_present=1)
    assert f_measures(scores, states, found.values).overall_f1 == 1


def test_where_everything_is_accepted_the_threshold_is_the_lowest_present_score():
    scores, states = np.array([[1.0], [2.0], [3.0]]), np.array([[1], [1], [-1]], np.int8)
    assert best_f1_thresholds(scores, states, min_present=1).pooled == 1.0


def test_unknown_cells_change_nothing(tagging):
    scores, states = tagging
    before = best_f1_thresholds(scores, states)
    after = best_f1_thresholds(
        np.vstack([np.where(states == 0, np.nan, scores), scores]), np.vstack([states, 0 * states])
    )
    np.testing.assert_array_equal(before.values, after.values)


@pytest.mark.parametrize(
    ("states", "counts"), [([[1, 0]], "1 present and 0 absent"), ([[0, -1]], "0 present and 1 absent")]
)
def test_one_sided_labels_are_refused(states, counts):
    with pytest.raises(LabelError, match=f"thresholds need known present and known absent cells.*{counts}"):
        best_f1_thresholds([[0.0, 1.0]], states)


def test_min_present_must_be_positive():
    with pytest.raises(UsageError, match="min_present is 0"):
        best_f1_thresholds([[0.0, 1.0]], [[1, -1]], min_present=0)
