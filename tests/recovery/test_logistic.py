import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from partlabel.recovery.logistic import Prior, fit_curves, fit_lines, log_losses


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


@pytest.mark.parametrize("deviation", [(1.0, 0.5, 1.5, 1.5), (1.0, 0.5, 0.0, 1.5), (0.5, 0.0, 0.0, 0.0)])
def test_each_group_has_the_most_probable_curve(deviation: tuple[float, float, float, float]) -> None:
    """Against an optimiser without derivatives; groups with many cells, few, one state only, and none."""
    random = np.random.default_rng(2)
    group = np.repeat([0, 1, 2], [300, 12, 20])
    values = random.normal(size=332) * 3
    present = (random.random(332) < 0.8 / (1 + np.exp(-2 * values))) & (group < 2)
    mean = np.array([[0.0, 0.0, -2.0, -4.0], [0.5, 0.3, -1.0, -3.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, -1.0]])
    free = np.flatnonzero(deviation)
    curves = fit_curves(values, present, group, Prior(mean, deviation))
    for number in range(3):

        def loss(some: np.ndarray, number: int = number) -> float:
            theta = mean[number].copy()
            theta[free] = some
            margin = theta[0] + np.exp(theta[1]) * values[group == number]
            bent = margin - np.log1p(np.exp(margin)) / (1 + np.exp(-theta[2]))
            probability = 1 / (1 + np.exp(theta[3])) / (1 + np.exp(-bent))
            surprise = -np.log(np.where(present[group == number], probability, 1 - probability)).sum()
            return float(surprise + (((theta - mean[number])[free] / np.array(deviation)[free]) ** 2).sum() / 2)

        options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 20_000, "maxfev": 20_000}
        oracle = minimize(loss, mean[number][free], method="Nelder-Mead", options=options)
        assert loss(curves[number, free]) <= oracle.fun + 1e-7
        np.testing.assert_allclose(curves[number, free], oracle.x, atol=2e-3)
    np.testing.assert_array_equal(curves[3], mean[3])
    fixed = [number for number in range(4) if not deviation[number]]
    np.testing.assert_array_equal(curves[:, fixed], mean[:, fixed])


def test_where_the_search_starts_does_not_matter() -> None:
    random = np.random.default_rng(4)
    values = random.normal(size=500) * 2
    present = random.random(500) < 0.7 / (1 + np.exp(-2 * values))
    prior = Prior(np.array([[0.0, 0.0, -2.0, -4.0]]), (10.0, 2.0, 1.5, 1.5))
    group = np.zeros(500, np.int64)
    found = fit_curves(values, present, group, prior)
    for start in ([-3.0, 1.0, 1.0, -1.0], [2.0, -1.0, -4.0, -6.0]):
        other = fit_curves(values, present, group, prior, np.array([start]))
        np.testing.assert_allclose(other, found, atol=2e-3)


def test_log_losses_neither_overflow_nor_cancel() -> None:
    curves = np.array([[0.0, 0.0, -np.inf, -np.inf], [0.0, 0.0, 0.0, -2.0]])
    values, group = np.array([-800.0, 800.0, -800.0, 800.0, 40.0]), np.array([0, 0, 1, 1, 0])
    ceiling = 1 / (1 + np.exp(-2.0))
    # The bend of the second curve is one half.
    np.testing.assert_allclose(
        log_losses(values, np.ones(5, bool), group, curves),
        [800, 0, 800 - np.log(ceiling), -np.log(ceiling), 0],
        atol=1e-12,
    )
    absent = log_losses(values, np.zeros(5, bool), group, curves)
    np.testing.assert_allclose(absent, [0, 800, 0, -np.log(1 - ceiling), 40], atol=1e-12)
