import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.functional.classification import multilabel_f1_score, multilabel_precision, multilabel_recall

from partlabel.errors import UsageError
from partlabel.evaluation import cells, f_measures

NUMBERS = (
    "overall_precision",
    "overall_recall",
    "overall_f1",
    "class_precision",
    "class_recall",
    "class_f1_harmonic",
    "class_f1_mean",
)
ARRAYS = ("precision_by_class", "recall_by_class", "f1_by_class")


@st.composite
def some_tagging(draw):
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 5)))
    scores = draw(hnp.arrays(np.int64, shape, elements=st.integers(-4, 4))) / 2
    states = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))
    thresholds = draw(hnp.arrays(np.int64, shape[1], elements=st.integers(-2, 2))) / 2
    return scores, states, thresholds, draw(st.sampled_from([None, 1, 2, 3, 9]))


def ratio(numerator, denominator):
    return numerator / denominator if denominator else 0.0


def naive(scores, states, thresholds, top_k):
    """All measures by loops over cells, from the definitions."""
    images, classes = scores.shape
    hits, predicted, present, absent = ([0] * classes for _ in range(4))
    for i in range(images):
        known = [c for c in range(classes) if states[i, c] != 0]
        best = sorted(known, key=lambda c: (-scores[i, c], c))[:top_k]
        for c in known:
            yes = scores[i, c] >= thresholds[c] and c in best
            predicted[c] += yes
            hits[c] += yes and states[i, c] == 1
            present[c] += states[i, c] == 1
            absent[c] += states[i, c] == -1
    nan = float("nan")
    scored = [c for c in range(classes) if present[c] and absent[c]]
    precision = [ratio(hits[c], predicted[c]) if c in scored else nan for c in range(classes)]
    recall = [hits[c] / present[c] if c in scored else nan for c in range(classes)]
    f1 = [
        (2 * precision[c] * recall[c] / (precision[c] + recall[c]) if hits[c] else 0.0) if c in scored else nan
        for c in range(classes)
    ]
    op, recall_of_all = ratio(sum(hits), sum(predicted)), sum(hits) / sum(present) if sum(present) else nan
    cp, cr, mean_f1 = (sum(v[c] for c in scored) / len(scored) if scored else nan for v in (precision, recall, f1))
    harmonic = [ratio(2 * a * b, a + b) for a, b in ((op, recall_of_all), (cp, cr))]
    return [op, recall_of_all, harmonic[0], cp, cr, harmonic[1], mean_f1], [precision, recall, f1]


@given(some_tagging())
def test_every_measure_equals_the_explicit_loops(case):
    measures = f_measures(*case)
    numbers, arrays = naive(*case)
    assert [getattr(measures, name) for name in NUMBERS] == pytest.approx(numbers, nan_ok=True, abs=1e-12)
    for name, expected in zip(ARRAYS, arrays, strict=True):
        assert getattr(measures, name) == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("top_k", [None, 3])
@pytest.mark.parametrize("block_cells", [1, 100])
def test_the_blocks_do_not_show(monkeypatch, tagging, top_k, block_cells):
    whole = f_measures(*tagging, top_k=top_k)
    monkeypatch.setattr(cells, "BLOCK_CELLS", block_cells)
    parts = f_measures(*tagging, top_k=top_k)
    for name in NUMBERS + ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_equals_scikit_learn_on_complete_labels(tagging):
    scores = tagging[0]
    states = np.where(tagging[1] == 1, 1, -1).astype(np.int8)[:, :9]
    truth, predicted = states == 1, scores[:, :9] >= 0.3
    ours = f_measures(scores[:, :9], states, 0.3)
    macro = precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
    micro = precision_recall_fscore_support(truth, predicted, average="micro", zero_division=0)
    assert (ours.class_precision, ours.class_recall, ours.class_f1_mean) == pytest.approx(macro[:3])
    assert (ours.overall_precision, ours.overall_recall, ours.overall_f1) == pytest.approx(micro[:3])


def test_equals_torchmetrics_with_unknown_cells(tagging):
    states = tagging[1][:, :9]
    probabilities = np.random.default_rng(0).random(states.shape)
    truth = torch.from_numpy(np.select([states == 1, states == -1], [1, 0], -1))
    ours = f_measures(probabilities, states, 0.5)
    for function, micro, macro in (
        (multilabel_precision, ours.overall_precision, ours.class_precision),
        (multilabel_recall, ours.overall_recall, ours.class_recall),
        (multilabel_f1_score, ours.overall_f1, ours.class_f1_mean),
    ):
        arguments = torch.from_numpy(probabilities), truth
        assert micro == pytest.approx(
            function(*arguments, num_labels=9, average="micro", ignore_index=-1).item(), abs=1e-6
        )
        assert macro == pytest.approx(
            function(*arguments, num_labels=9, average="macro", ignore_index=-1).item(), abs=1e-6
        )


@given(some_tagging(), st.sampled_from([0.0, 9.0, np.nan, np.inf]))
def test_unknown_cells_change_nothing(case, filler):
    scores, states, thresholds, top_k = case
    rows, columns = scores.shape
    wide_scores, wide_states = np.full((rows + 2, columns), filler), np.zeros((rows + 2, columns), np.int8)
    wide_scores[:rows], wide_states[:rows] = np.where(states == 0, filler, scores), states
    before, after = f_measures(*case), f_measures(wide_scores, wide_states, thresholds, top_k)
    for name in NUMBERS + ARRAYS:
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


@given(some_tagging())
def test_an_unknown_class_changes_no_mean(case):
    scores, states, thresholds, top_k = case
    column = np.full((len(scores), 1), 9.0)
    wider = (
        np.hstack([column, scores]),
        np.hstack([0 * column.astype(np.int8), states]),
        np.append(0.0, thresholds),
        top_k,
    )
    before, after = f_measures(*case), f_measures(*wider)
    np.testing.assert_array_equal(
        [getattr(before, name) for name in NUMBERS], [getattr(after, name) for name in NUMBERS]
    )


@given(some_tagging(), st.randoms(use_true_random=False))
def test_the_order_of_images_and_classes_changes_nothing(case, random):
    scores, states, thresholds, top_k = case
    scores = scores + np.arange(scores.shape[1]) / 100  # no ties within an image: those go to the first class
    rows, columns = (random.sample(range(size), size) for size in scores.shape)
    before = f_measures(scores, states, thresholds, top_k)
    after = f_measures(scores[rows][:, columns], states[rows][:, columns], thresholds[columns], top_k)
    for name in NUMBERS:
        assert getattr(after, name) == pytest.approx(getattr(before, name), nan_ok=True, abs=1e-12)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name)[columns])


def test_the_two_definitions_of_class_f1_differ():
    # Class 0: precision 1, recall 1/2. Class 1: precision 1/2, recall 1. CP = CR = 3/4, but each F1 is 2/3.
    scores = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    states = np.array([[1, 1], [1, -1], [-1, -1]], np.int8)
    measures = f_measures(scores, states)
    assert measures.class_f1_harmonic == pytest.approx(3 / 4)
    assert measures.class_f1_mean == pytest.approx(2 / 3)


def test_a_class_never_predicted_has_precision_zero():
    measures = f_measures(np.array([[-1.0, 1.0], [-1.0, -1.0]]), np.array([[1, 1], [-1, -1]], np.int8))
    assert measures.precision_by_class.tolist() == [0, 1]
    assert measures.class_precision == 0.5


def test_left_out_classes_count_in_the_overall_measures_only():
    # Class 1 has no known present cell: its false positive lowers OP, not CP.
    measures = f_measures(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([[1, -1], [-1, -1]], np.int8))
    assert measures.class_precision == 1
    assert measures.overall_precision == 0.5
    assert np.isnan(measures.precision_by_class[1])


def test_top_k_ranks_known_cells_still_above_the_threshold_and_takes_equals_in_class_order():
    scores = np.array([[9.0, 3.0, 2.0, 2.0, 1.0, -1.0], [-1.0, -2.0, 5.0, -3.0, -4.0, -5.0]])
    states = np.array([[0, 1, 1, 1, 1, 1], [-1, -1, -1, -1, -1, -1]], np.int8)
    measures = f_measures(scores, states, 0.0, top_k=2)
    # Image 0: classes 1 and 2 (0 is unknown, 3 equals 2 but comes later). Image 1: class 2 only, the rest is below 0.
    assert measures.recall_by_class.tolist()[1:] == [1, 1, 0, 0, 0]
    assert measures.precision_by_class.tolist()[1:] == [1, 0.5, 0, 0, 0]


def test_a_threshold_of_exactly_the_score_predicts():
    scores, states = np.array([[0.1], [0.0]], np.float32), np.array([[1], [-1]], np.int8)
    assert f_measures(scores, states, float(scores[0, 0])).overall_recall == 1
    assert f_measures(scores, states, np.nextafter(float(scores[0, 0]), 1)).overall_recall == 0


@pytest.mark.parametrize(
    ("thresholds", "top_k", "sentence"),
    [
        ([0.0, 0.0, 0.0], None, r"thresholds have shape \(3,\); give one number or one for each of the 2 classes"),
        ([0.0, np.nan], None, "a threshold is NaN"),
        (0.0, 0, "top_k is 0; it must be 1 or more"),
    ],
)
def test_unusable_settings_are_refused(thresholds, top_k, sentence):
    with pytest.raises(UsageError, match=sentence):
        f_measures([[0.0, 1.0]], [[1, -1]], thresholds, top_k)
