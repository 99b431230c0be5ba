import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from partlabel.datasets.simulated_scores import SimulatedScores
from partlabel.errors import LabelError, NotFiniteError, RunError
from partlabel.evaluation.scored_cells import FloatArray, check_held_out
from partlabel.recovery.calibrate import Calibrated, Calibration, Quality, calibrate, cross_fit, fit_calibration

CELL = st.tuples(st.floats(-60, 60, allow_subnormal=False), st.sampled_from([-1, 1]), st.integers(0, 2))


def all_equal(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    states = np.tile(np.repeat([1, -1], [1, 3]), classes)
    return np.full(states.size, 0.1), states, np.repeat(np.arange(classes), 4)


@given(st.lists(CELL, min_size=0, max_size=40), st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=10))
@pytest.mark.slow
def test_probability_never_falls_where_the_logit_rises(
    cells: list[tuple[float, int, int]], probes: list[float]
) -> None:
    logits, states, columns = np.array([*cells, (1.0, 1, 0), (-1.0, -1, 0)]).T
    calibration = fit_calibration(logits, states, columns.astype(int), ("a", "b", "c"))
    assert (calibration.slope > 0).all()
    rising = np.repeat(np.sort(probes)[:, None], 3, axis=1)
    probability = calibration.probability(rising)
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.diff(probability, axis=0) >= 0).all()


@pytest.mark.slow
def test_probability_is_the_frequency(world: SimulatedScores) -> None:
    held_out = world.draw(40_000)
    calibration = fit_calibration(*held_out, world.classes)
    fresh = world.draw(400_000)
    probability = calibration.of(fresh.logits, fresh.class_index)
    for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        inside = (probability >= low) & (probability < high)
        assert probability[inside].mean() == pytest.approx((fresh.states[inside] == 1).mean(), abs=0.03)


def test_a_biased_class_gets_its_own_line_and_one_without_cells_the_shared_one() -> None:
    random = np.random.default_rng(0)
    columns = random.integers(0, 2, 4000)
    present = random.random(4000) < 0.3
    logits = np.where(present, 2.0, -2.0) + random.normal(size=4000) * 2 + 3 * (columns == 1)
    calibration = fit_calibration(
        logits, np.where(present, 1, -1), columns, ("plain", "too high", "empty", "no absent")
    )
    at_zero = calibration.probability(np.zeros(4))
    assert at_zero[1] < 0.6 * at_zero[0]
    assert at_zero[1] < at_zero[2] < at_zero[0]
    assert calibration.intercept[2] == calibration.intercept[3]
    assert calibration.slope[2] == calibration.slope[3]


def test_few_cells_leave_a_class_near_the_shared_line(world: SimulatedScores) -> None:
    logits, states, columns = world.draw(3000)
    few = columns == 0
    keep = ~few | (np.cumsum(few) <= 3)
    calibration = fit_calibration(logits[keep], states[keep], columns[keep], (*world.classes, "empty"))
    difference = calibration.probability(np.ones(75))[0] - calibration.probability(np.ones(75))[-1]
    assert 0 < abs(difference) < 0.05


def test_cells_of_a_class_without_known_absent_count_nowhere(world: SimulatedScores) -> None:
    logits, states, columns = world.draw(2000)
    extra = (np.append(logits, [9.0] * 50), np.append(states, [1] * 50), np.append(columns, [74] * 50))
    with_it, without = (
        fit_calibration(*extra, (*world.classes, "x")),
        fit_calibration(logits, states, columns, (*world.classes, "x")),
    )
    np.testing.assert_array_equal(with_it.intercept, without.intercept)
    np.testing.assert_array_equal(with_it.slope, without.slope)


def test_the_unit_of_the_logits_does_not_matter(world: SimulatedScores) -> None:
    logits, states, columns = world.draw(3000)
    probes = np.linspace(-6, 6, 7)[:, None].repeat(74, axis=1)
    plain = fit_calibration(logits, states, columns, world.classes).probability(probes)
    other = fit_calibration(logits * 0.01 + 5, states, columns, world.classes).probability(probes * 0.01 + 5)
    np.testing.assert_allclose(plain, other, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_equal_logits_give_the_share_of_present_cells(classes: int) -> None:
    names = tuple(f"class {number}" for number in range(classes))
    calibration = fit_calibration(*all_equal(classes), names)
    np.testing.assert_allclose(calibration.probability(np.full(classes, 0.1)), 0.25, atol=0.01)
    assert (calibration.slope < 10).all()


def test_permuting_classes_permutes_the_curves(world: SimulatedScores) -> None:
    logits, states, columns = world.draw(2000)
    place = np.random.default_rng(5).permutation(74)
    plain = fit_calibration(logits, states, columns, world.classes)
    mixed = fit_calibration(logits, states, place[columns], world.classes)
    np.testing.assert_allclose(mixed.intercept[place], plain.intercept, atol=1e-5)
    np.testing.assert_allclose(mixed.slope[place], plain.slope, atol=1e-5)
    assert mixed.ceiling == pytest.approx(plain.ceiling, abs=1e-5)
    assert mixed.bend == pytest.approx(plain.bend, abs=1e-5)


def test_cross_fitted_probability_does_not_know_its_own_cell(world: SimulatedScores) -> None:
    logits, states, columns = world.draw(3000)
    before = cross_fit(check_held_out(logits, states, columns, world.classes))
    for cell in (0, 17, int(np.flatnonzero(states == 1)[0])):
        flipped = states.copy()
        flipped[cell] *= -1
        after = cross_fit(check_held_out(logits, flipped, columns, world.classes))
        assert after[cell] == before[cell]
        assert (after != before).any()


def test_cross_fit_manages_with_a_single_present_cell() -> None:
    cells = check_held_out([3.0, -1.0, -2.0, -3.0], [1, -1, -1, -1], [0, 0, 0, 0], ("sky",))
    probability = cross_fit(cells)
    assert ((probability > 0) & (probability < 1)).all()


def test_json_gives_back_the_same_bits(world: SimulatedScores) -> None:
    calibration = fit_calibration(*world.draw(1000), world.classes)
    again = Calibration.from_json(json.loads(json.dumps(calibration.to_json(), allow_nan=False)))
    assert again.classes == calibration.classes
    np.testing.assert_array_equal(again.intercept, calibration.intercept)
    np.testing.assert_array_equal(again.slope, calibration.slope)
    assert 0 < again.ceiling < 1
    assert 0 < again.bend < 1
    assert (again.ceiling, again.bend) == (calibration.ceiling, calibration.bend)
    probes = np.linspace(-5, 5, 74)
    np.testing.assert_array_equal(again.probability(probes), calibration.probability(probes))


def test_a_bundle_of_an_earlier_version_is_a_sigmoid_of_a_line() -> None:
    earlier = Calibration.from_json({"classes": ["a", "b"], "intercept": [0.5, -1.0], "slope": [2.0, 1.0]})
    assert (earlier.ceiling, earlier.bend) == (1.0, 0.0)
    np.testing.assert_allclose(earlier.probability([3.0, 3.0]), expit([6.5, 2.0]), rtol=1e-15)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"classes": ["a"], "intercept": [0.0], "slope": []},
        {"classes": ["a"], "intercept": ["x"], "slope": [1.0]},
        {"classes": ["a"], "intercept": [0.0], "slope": [0.0]},
        {"classes": ["a"], "intercept": [float("nan")], "slope": [1.0]},
        {"classes": ["a", "b"], "intercept": [0.0], "slope": [1.0]},
        *({"classes": ["a"], "intercept": [0.0], "slope": [1.0], "ceiling": wrong} for wrong in (0.0, 1.01, "x", None)),
        *({"classes": ["a"], "intercept": [0.0], "slope": [1.0], "bend": wrong} for wrong in (-0.1, 1.0, [0.1])),
        {"classes": ["a"], "intercept": [0.0], "slope": [1.0], "ceiling": float("nan")},
    ],
)
def test_a_broken_bundle_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="calibration of this model bundle"):
        Calibration.from_json(value)


def test_wrong_shapes_and_nan_are_refused() -> None:
    calibration = Calibration(("a", "b"), np.zeros(2), np.ones(2))
    with pytest.raises(LabelError, match=r"shape \(5, 3\), but the calibration has 2 classes"):
        calibration.probability(np.zeros((5, 3)))
    with pytest.raises(NotFiniteError, match="first in class 'b'"):
        calibration.probability([[0.0, np.nan]])
    np.testing.assert_array_equal(calibration.probability([-np.inf, np.inf]), [0.0, 1.0])
    limited = Calibration(("a", "b"), np.zeros(2), np.ones(2), 0.75, 0.5)
    np.testing.assert_array_equal(limited.probability([-np.inf, np.inf]), [0.0, 0.75])


def error_of(probability: FloatArray, present: list[bool], bins: int = 10) -> float:
    """Expected calibration error, by the book."""
    total = 0.0
    for number in range(bins):
        inside = [
            place
            for place, value in enumerate(probability)
            if number / bins <= value < (number + 1) / bins or (number == bins - 1 and value == 1)
        ]
        if inside:
            share = sum(present[place] for place in inside) / len(inside)
            total += len(inside) * abs(share - sum(probability[place] for place in inside) / len(inside))
    return total / len(present)


def surprise_of(probability: FloatArray, present: FloatArray) -> FloatArray:
    return -np.log(np.where(present, probability, 1 - probability))


@pytest.mark.slow
def test_a_calibration_that_makes_probabilities_worse_is_not_applied() -> None:
    """Logits that are right already, of few cells: what a curve follows then is luck."""
    applied = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        logits, columns = random.normal(0, 2, 80), random.integers(0, 2, 80)
        present = random.random(80) < expit(logits)
        cells = check_held_out(logits, np.where(present, 1, -1), columns, ("a", "b"))
        found = calibrate(cells)
        plain, crossed = expit(logits), cross_fit(cells)
        for quality, probability in ((found.before, plain), (found.after, crossed)):
            assert quality.error == pytest.approx(error_of(probability, present.tolist()))
            assert quality.brier == pytest.approx(np.mean((probability - present) ** 2))
            assert quality.log_loss == pytest.approx(surprise_of(probability, present).mean())
        worse = surprise_of(crossed, present) - surprise_of(plain, present)
        helps = worse.mean() <= worse.std() / np.sqrt(80)
        assert found.doubt == pytest.approx(worse.std() / np.sqrt(80))
        assert found.applied == helps
        np.testing.assert_array_equal(found.probability, crossed if helps else plain)
        used = found.calibration.probability(np.array([[-1.0, 2.0]]))
        if helps:
            np.testing.assert_array_equal(
                used, fit_calibration(logits, np.where(present, 1, -1), columns, ("a", "b")).probability([[-1.0, 2.0]])
            )
        else:
            np.testing.assert_allclose(used, expit([[-1.0, 2.0]]))
            assert str(found).startswith("no calibration is applied: on held-out cells")
        applied.append(helps)
    assert True in applied
    assert False in applied


def test_a_calibration_that_helps_is_applied() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, 900)
    present = random.random(900) < expit(0.3 * logits - 1)
    found = calibrate(check_held_out(logits, np.where(present, 1, -1), np.zeros(900, int), ("a",)))
    assert found.applied
    assert found.after.error < found.before.error / 2
    assert found.after.log_loss < found.before.log_loss - 0.1
    assert str(found) == (
        f"on held-out cells that it was not fitted on, the log loss is {found.after.log_loss:.4f} with calibration and "
        f"{found.before.log_loss:.4f} without (standard error of the difference: {found.doubt:.4f}), the Brier score "
        f"{found.after.brier:.4f} and {found.before.brier:.4f}, the expected calibration error "
        f"{found.after.error:.4f} and {found.before.error:.4f}"
    )
    probes = np.linspace(-4, 4, 9)[:, None]
    np.testing.assert_allclose(found.calibration.probability(probes), expit(0.3 * probes - 1), atol=0.06)


def test_log_loss_decides_even_where_the_calibration_error_is_larger() -> None:
    """Logits that hold no news at all, but on average the right share: every calibration error is small."""
    quality = [Quality(0.5, 0.2, 0.01), Quality(0.3, 0.1, 0.02)]
    calibrations = (Calibration.none(("a",)),)
    assert Calibrated(calibrations, np.zeros(1), quality[0], quality[1], 0.0).applied
    assert not Calibrated(calibrations, np.zeros(1), quality[1], quality[0], 0.1).applied
    assert Calibrated(calibrations, np.zeros(1), quality[1], quality[0], 0.25).applied


def missed_labels(size: int, seed: int, ceiling: float, bend: float = 0.0) -> Any:
    """Cells of 4 classes, of which a share is marked present even where all are; and their true probabilities."""
    random = np.random.default_rng(seed)
    logits, columns = random.normal(-1, 4, size), random.integers(0, 4, size)
    truth = ceiling * expit(1.5 * logits - bend * np.log1p(np.exp(1.5 * logits)))
    return logits, np.where(random.random(size) < truth, 1, -1), columns, truth


@pytest.mark.parametrize(("ceiling", "bend"), [(0.8, 0.0), (0.95, 0.0), (1.0, 0.0), (1.0, 0.6), (0.9, 0.5)])
@pytest.mark.slow
def test_known_ceilings_and_bends_are_found(ceiling: float, bend: float) -> None:
    logits, states, columns, truth = missed_labels(40_000, 0, ceiling, bend)
    found = fit_calibration(logits, states, columns, ("a", "b", "c", "d"))
    np.testing.assert_allclose(found.of(logits, columns), truth, atol=0.025)
    if not bend:
        assert found.ceiling == pytest.approx(ceiling, abs=0.02)
    line = LogisticRegression(C=np.inf).fit(logits[:, None], states)
    wrong = np.abs(line.predict_proba(logits[:, None])[:, 1] - truth).max()
    assert (wrong > 0.04) == (ceiling < 1 or bend > 0)


def test_without_class_deviations_it_is_the_shared_curve_of_the_stated_objective() -> None:
    """Against an optimiser that knows nothing of the curves, on classes that are all alike."""
    logits, states, columns, _ = missed_labels(3000, 2, 0.85)
    found = fit_calibration(logits, states, columns, ("a", "b", "c", "d"))
    centre, scale = logits.mean(), logits.std()

    def probability(theta: FloatArray, at: FloatArray) -> FloatArray:
        margin = theta[0] + np.exp(theta[1]) * (at - centre) / scale
        return expit(-theta[3]) * expit(margin - expit(theta[2]) * np.log1p(np.exp(margin)))

    def loss(theta: FloatArray) -> float:
        prior = (theta[0] / 10) ** 2 + (theta[1] / 2) ** 2 + ((theta[2] + 2) / 1.5) ** 2 + ((theta[3] + 4) / 1.5) ** 2
        return float(surprise_of(probability(theta, logits), states > 0).sum() + prior / 2)

    best = minimize(loss, [0, 0, -2, -4], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9, "maxiter": 9999})
    probes = np.linspace(-12, 12, 25)
    for column in range(4):
        mine = found.of(probes, np.full(25, column))
        np.testing.assert_allclose(mine, probability(best.x, probes), atol=1e-4)


def test_classes_leave_the_shared_curve_where_that_pays_and_only_there() -> None:
    random = np.random.default_rng(3)
    columns = random.integers(0, 8, 6000)
    logits = random.normal(0, 3, 6000)
    names = tuple("abcdefgh")
    for shift, leaves in ((np.zeros(8), False), (np.linspace(-2, 2, 8), True)):
        states = np.where(random.random(6000) < expit(logits + shift[columns]), 1, -1)
        found = fit_calibration(logits, states, columns, names)
        spread = np.ptp(found.probability(np.zeros(8)))
        assert spread > 0.5 if leaves else spread == 0


def test_each_fold_has_the_calibration_of_the_other_folds() -> None:
    logits, states, columns, _ = missed_labels(2000, 4, 0.8)
    names, fold = ("a", "b", "c", "d"), np.random.default_rng(0).integers(0, 3, 2000)
    logits = np.where(fold == 1, logits + 5, logits)
    found = calibrate(check_held_out(logits, states, columns, names), fold)
    assert found.applied
    assert len(found.calibrations) == 3
    for number, calibration in enumerate(found.calibrations):
        others = fold != number
        alone = fit_calibration(logits[others], states[others], columns[others], names)
        probes = np.linspace(-9, 9, 7)[:, None].repeat(4, axis=1)
        np.testing.assert_allclose(calibration.probability(probes), alone.probability(probes), atol=1e-9)
        mine = fold == number
        np.testing.assert_array_equal(found.probability[mine], calibration.of(logits[mine], columns[mine]))
