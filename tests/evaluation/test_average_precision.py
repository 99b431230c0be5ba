import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.functional.classification import multilabel_auroc, multilabel_average_precision

from partlabel.errors import UsageError
from partlabel.evaluation import average_precision, ranking_measures, roc_auc
from partlabel.evaluation.average_precision import chance_average_precision

CONVENTIONS = ("raw", "voc12", "voc07")


@st.composite
def some_tagging(draw):
    """Few distinct scores, so that ties abound, and all three states."""
    shape = (draw(st.integers(1, 14)), draw(st.integers(1, 3)))
    scores = draw(hnp.arrays(np.int64, shape, elements=st.integers(-4, 4))) / 2
    return scores, draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))


def points(scores, states):
    """(recall, precision) at each distinct score of one class's known cells, from the highest score down, exact."""
    known = [(score, state) for score, state in zip(scores, states, strict=True) if state != 0]
    total = sum(state == 1 for _, state in known)
    found = []
    for threshold in sorted({score for score, _ in known}, reverse=True):
        accepted = [state for score, state in known if score >= threshold]
        hits = sum(state == 1 for state in accepted)
        found.append((Fraction(hits, total), Fraction(hits, len(accepted))))
    return found


def naive_average_precision(scores, states, convention):
    curve = points(scores, states)
    if convention == "voc07":
        return sum(max(p for r, p in curve if r >= Fraction(tenths, 10)) for tenths in range(11)) / 11
    area, reached = Fraction(0), Fraction(0)
    for recall, precision in curve:
        height = precision if convention == "raw" else max(p for r, p in curve if r >= recall)
        area += (recall - reached) * height
        reached = recall
    return area


def naive_auc(scores, states):
    present = [score for score, state in zip(scores, states, strict=True) if state == 1]
    absent = [score for score, state in zip(scores, states, strict=True) if state == -1]
    wins = sum(Fraction(1) if p > a else Fraction(1, 2) if p == a else Fraction(0) for p in present for a in absent)
    return wins / (len(present) * len(absent))


@pytest.mark.parametrize(("convention", "value"), [("raw", 0.74702381), ("voc12", 0.76785714), ("voc07", 0.76948052)])
def test_reference_ranking(convention, value):
    states = np.array([[1], [-1], [1], [1], [-1], [-1], [1], [-1]], np.int8)
    assert average_precision(-np.arange(8.0)[:, None], states, convention) == pytest.approx([value], abs=5e-9)


@given(some_tagging())
def test_every_measure_equals_the_explicit_loops(tagging):
    scores, states = tagging
    measures = ranking_measures(scores, states)
    for column in range(scores.shape[1]):
        one = scores[:, column], states[:, column]
        if not {-1, 1} <= set(one[1].tolist()):
            assert all(np.isnan(values[column]) for values in measures)
            continue
        for convention in CONVENTIONS:
            expected = naive_average_precision(*one, convention)
            assert getattr(measures, convention)[column] == pytest.approx(float(expected), abs=1e-12)
        assert measures.auc[column] == pytest.approx(float(naive_auc(*one)), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equals_scikit_learn_with_ties(tagging, dtype):
    scores, states = tagging[0].astype(dtype), tagging[1]
    raw, auc = average_precision(scores, states), roc_auc(scores, states)
    for column in range(9):
        known = states[:, column] != 0
        truth, one = states[known, column] == 1, scores[known, column]
        assert len(np.unique(one)) < len(one)
        assert raw[column] == pytest.approx(average_precision_score(truth, one), abs=1e-12)
        assert auc[column] == pytest.approx(roc_auc_score(truth, one), abs=1e-12)
    assert np.isnan(raw[9:]).all()
    assert np.isnan(auc[9:]).all()


def test_equals_torchmetrics_where_a_class_has_both_states(tagging):
    scores, states = tagging
    # Probabilities on a grid: torchmetrics would apply a sigmoid to anything outside 0..1. Its unknown is an index to
    # ignore.
    probabilities = np.round((scores[:, :9] - scores.min()) / np.ptp(scores), 2)
    predictions, truth = (
        torch.from_numpy(probabilities),
        torch.from_numpy((states[:, :9] + 1) // 2 - (states[:, :9] == 0) * 1),
    )
    truth[torch.from_numpy(states[:, :9] == 0)] = -1
    options = {"num_labels": 9, "average": "none", "ignore_index": -1}
    ours = ranking_measures(probabilities, states[:, :9])
    assert ours.raw == pytest.approx(
        multilabel_average_precision(predictions, truth.long(), **options).numpy(), abs=1e-6
    )
    assert ours.auc == pytest.approx(multilabel_auroc(predictions, truth.long(), **options).numpy(), abs=1e-6)


@given(some_tagging())
def test_the_envelope_only_raises(tagging):
    measures = ranking_measures(*tagging)
    assert np.all((measures.voc12 >= measures.raw) | np.isnan(measures.raw))
    for values in measures:
        assert np.all(((values >= 0) & (values <= 1)) | np.isnan(values))


@given(some_tagging())
def test_a_monotone_transform_of_the_scores_changes_nothing(tagging):
    scores, states = tagging
    for transformed in (3 * scores - 100, np.exp(scores), (scores**3).astype(np.float32)):
        for before, after in zip(ranking_measures(scores, states), ranking_measures(transformed, states), strict=True):
            np.testing.assert_array_equal(before, after)


@given(some_tagging(), st.randoms(use_true_random=False))
def test_the_order_of_images_and_classes_changes_nothing(tagging, random):
    scores, states = tagging
    rows, columns = (random.sample(range(size), size) for size in scores.shape)
    shuffled = ranking_measures(scores[rows][:, columns], states[rows][:, columns])
    for before, after in zip(ranking_measures(scores, states), shuffled, strict=True):
        np.testing.assert_array_equal(before[columns], after)


@given(some_tagging(), st.sampled_from([0.0, 9.0, np.nan, -np.inf]))
def test_unknown_cells_change_nothing(tagging, filler):
    scores, states = tagging
    unread = np.where(states == 0, filler, scores)
    wider = (
        np.vstack([unread, np.full((2, scores.shape[1]), filler)]),
        np.vstack([states, np.zeros((2, scores.shape[1]), int)]),
    )
    for before, after in zip(ranking_measures(scores, states), ranking_measures(*wider), strict=True):
        np.testing.assert_array_equal(before, after)


def test_extremes():
    states = np.array([[1], [1], [-1], [-1]], np.int8)
    perfect, inverted = np.array([[4.0], [3.0], [2.0], [1.0]]), np.array([[1.0], [2.0], [3.0], [4.0]])
    assert [values.item() for values in ranking_measures(perfect, states)] == [1, 1, 1, 1]
    assert [values.item() for values in ranking_measures(np.zeros((4, 1)), states)] == [0.5, 0.5, 0.5, 0.5]
    assert ranking_measures(inverted, states).raw == pytest.approx([(1 / 3 + 2 / 4) / 2])
    assert ranking_measures(inverted, states).voc12 == pytest.approx([0.5])
    assert roc_auc(inverted, states) == [0]


def test_a_recall_of_three_tenths_reaches_the_point_at_three_tenths():
    # 10 positives; precision 1 up to recall 0.3 exactly, then below. In floats 0.30000000000000004 would exclude that
    # point.
    states = np.array([1] * 3 + [-1] * 10 + [1] * 7, np.int8)[:, None]
    value = average_precision(-np.arange(20.0)[:, None], states, "voc07").item()
    assert value == pytest.approx((4 * 1 + 7 * 0.5) / 11)


def test_unknown_convention_is_refused():
    with pytest.raises(
        UsageError, match="unknown convention 'voc10' of average precision; use one of raw, voc12, voc07"
    ):
        average_precision([[1.0]], [[1]], "voc10")  # type: ignore[arg-type]


def test_chance_is_the_mean_over_all_orders() -> None:
    """Of up to six cells, of which some are unknown."""
    for states in ([1, -1, -1], [1, 1, -1, 0, -1, -1], [1, -1, 1, 1], [-1, 0, 1]):
        known = [state for state in states if state]
        of_orders = []
        for order in itertools.permutations(known):
            hits = [place for place, state in enumerate(order, start=1) if state > 0]
            of_orders.append(sum(number / place for number, place in enumerate(hits, start=1)) / len(hits))
        found = chance_average_precision(np.array(states, np.int8)[:, None])
        assert found == pytest.approx([sum(of_orders) / len(of_orders)])
    assert np.isnan(chance_average_precision(np.array([[1, -1, 0], [1, -1, 0]], np.int8))).all()
