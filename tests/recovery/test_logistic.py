import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from partlabel.recovery.logistic import fit_lines


def test_weak_priors_give_plain_logistic_regression() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=500)
    present = random.random(500) < 1 / (1 + np.exp(1 - 2 * values))
    ((intercept, log_slope),) = fit_lines(values, present, np.zeros(500, np.int64), np.zeros((1, 2)), (1e3, 1e3))
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(values[:, None], present)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=1e-4)
    assert np.exp(log_slope) == pytest.approx(oracle.coef_[0, 0], abs=1e-4)


def test_each_group_minimises_its_penalised_loss() -> None:
    random = np.random.default_rng(1)
    group = random.integers(0, 4, 120)
    group[group == 2] = 3
    values = random.normal(size=120) * 2
    present = random.random(120) < 0.3
    mean = np.array([[0.0, 0.5], [1.0, -1.0], [0.25, 0.75], [-1.0, 0.0]])
    lines = fit_lines(values, present, group, mean, (0.5, 0.25))
    for number in range(4):

        def loss(line: np.ndarray, number: int = number) -> float:
            total = ((line[0] - mean[number, 0]) / 0.5) ** 2 / 2 + ((line[1] - mean[number, 1]) / 0.25) ** 2 / 2
            for cell in range(120):
                if group[cell] == number:
                    margin = line[0] + np.exp(line[1]) * values[cell]
                    total += np.log1p(np.exp(-margin if present[cell] else margin))
            return float(total)

        oracle = minimize(loss, mean[number], tol=1e-12).x
        np.testing.assert_allclose(lines[number], oracle, atol=1e-4)
    np.testing.assert_array_equal(lines[2], mean[2])


def test_separated_and_reversed_cells_have_a_finite_positive_slope() -> None:
    values = np.linspace(-3, 3, 40)
    for present in (values > 0, values < 0, np.ones(40, bool), np.zeros(40, bool)):
        line = fit_lines(values, present, np.zeros(40, np.int64), np.zeros((1, 2)), (10.0, 2.0))
        assert np.isfinite(line).all()
        assert 0 < np.exp(line[0, 1]) < 1e3


def test_huge_values_converge() -> None:
    values = np.array([-1e6, -1.0, 0.0, 1.0, 2e6])
    line = fit_lines(values, values > 0, np.zeros(5, np.int64), np.zeros((1, 2)), (10.0, 2.0))
    assert np.isfinite(line).all()
