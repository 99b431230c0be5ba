import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.evaluation import brier_score, cells, expected_calibration_error, log_loss, reliability


@st.composite
def some_probabilities(draw):
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 3)))
    states = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)).filter(np.any))
    return draw(hnp.arrays(np.float64, shape, elements=st.floats(0, 1))), states


@given(some_probabilities(), st.sampled_from([1, 4, 15]))
def test_equals_the_explicit_loops(case, bins):
    probabilities, states = case
    found, gap, squares, known = reliability(*case, bins), 0.0, 0.0, int((states != 0).sum())
    for m in range(bins):
        low, high = found.edges[m], found.edges[m + 1]
        inside = [
            (p, s == 1)
            for p, s in zip(probabilities.ravel(), states.ravel(), strict=True)
            if s != 0 and (low <= p < high or (m == bins - 1 and p == 1))
        ]
        assert found.count[m] == len(inside)
        if inside:
            mean, fraction = (sum(values) / len(inside) for values in zip(*inside, strict=True))
            assert found.mean_probability[m] == pytest.approx(mean)
            assert found.fraction_present[m] == pytest.approx(fraction)
            gap += len(inside) / known * abs(mean - fraction)
            squares += sum((p - truth) ** 2 for p, truth in inside)
        else:
            assert np.isnan(found.mean_probability[m])
            assert np.isnan(found.fraction_present[m])
    assert expected_calibration_error(*case, bins) == pytest.approx(gap, abs=1e-12)
    assert brier_score(*case) == pytest.approx(squares / known, abs=1e-12)


@pytest.mark.parametrize("block_cells", [5, 1 << 20])
def test_equals_scikit_learn_and_torchmetrics(monkeypatch, tagging, block_cells):
    monkeypatch.setattr(cells, "BLOCK_CELLS", block_cells)
    states = tagging[1]
    probabilities = np.random.default_rng(0).random(states.shape)
    known = states != 0
    truth = states[known] == 1
    assert brier_score(probabilities, states) == pytest.approx(brier_score_loss(truth, probabilities[known]))
    theirs = binary_calibration_error(torch.from_numpy(probabilities[known]), torch.from_numpy(truth).long(), n_bins=10)
    assert expected_calibration_error(probabilities, states, 10) == pytest.approx(theirs.item(), abs=1e-6)


@given(some_probabilities())
def test_unknown_cells_change_nothing(case):
    probabilities, states = case
    wider = np.vstack([np.where(states == 0, np.nan, probabilities), probabilities]), np.vstack([states, 0 * states])
    assert brier_score(*wider) == pytest.approx(brier_score(*case), abs=1e-15)
    assert expected_calibration_error(*wider) == pytest.approx(expected_calibration_error(*case), abs=1e-15)


def test_a_calibrated_predictor_has_no_error():
    probabilities = np.full((10, 1), 0.3)
    states = np.array([[1]] * 3 + [[-1]] * 7, np.int8)
    assert expected_calibration_error(probabilities, states) == pytest.approx(0, abs=1e-15)
    assert brier_score(probabilities, states) == pytest.approx(0.3 * 0.7)


def test_a_probability_on_an_edge_belongs_to_the_bin_above_and_one_to_the_last():
    assert reliability([[0.0, 0.25, 0.5, 1.0]], [[1, 1, 1, 1]], bins=4).count.tolist() == [1, 1, 1, 1]


def test_unusable_input_is_refused():
    with pytest.raises(LabelError, match="no cell is known"):
        brier_score([[0.5]], [[0]])
    with pytest.raises(
        UsageError, match=r"image row 0, class column 1 is 1.5; probabilities lie in 0..1 \(logits need a sigmoid"
    ):
        reliability([[0.5, 1.5]], [[1, -1]])
    with pytest.raises(UsageError, match="bins is 0"):
        reliability([[0.5]], [[1]], bins=0)
    with pytest.raises(NotFiniteError):
        brier_score([[np.nan]], [[1]])


def test_log_loss_is_the_mean_surprise_over_known_cells() -> None:
    probabilities = np.array([[0.9, 0.2, np.nan], [0.5, 0.99, 0.4]])
    states = np.array([[1, -1, 0], [1, -1, -1]])
    expected = -(np.log(0.9) + np.log(0.8) + np.log(0.5) + np.log(0.01) + np.log(0.6)) / 5
    assert log_loss(probabilities, states) == pytest.approx(expected, rel=1e-12)
    assert log_loss([[0.0, 1.0]], [[-1, 1]]) == pytest.approx(0.0, abs=1e-15)
    assert log_loss([[1.0]], [[-1]]) == pytest.approx(-np.log(1e-15))
