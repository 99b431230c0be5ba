import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from partlabel.datasets.simulated_scores import SimulatedScores
from partlabel.errors import LabelError, NotFiniteError, RunError
from partlabel.evaluation.scored_cells import FloatArray, check_held_out
from partlabel.recovery.calibrate import Calibration, calibrate, cross_fit, fit_calibration

CELL = st.tuples(st.floats(-60, 60, allow_subnormal=False), st.sampled_from([-1, 1]), st.integers(0, 2))


def all_equal(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    states = np.tile(np.repeat([1, -1], [1, 3]), classes)
    return np.full(states.size, 0.1), states, np.repeat(np.arange(classes), 4)


@given(st.lists(CELL, min_size=0, max_size=40), st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=10))
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


def test_probability_is_the_frequency(world: SimulatedScores) -> None:
    held_out = world.draw(40_000)
    calibration = fit_calibration(*held_out, world.classes)
    fresh = world.draw(400_000)
    margin = calibration.intercept[fresh.class_index] + calibration.slope[fresh.class_index] * fresh.logits
    probability = 1 / (1 + np.exp(-margin))
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


def test_permuting_classes_and_cells_permutes_the_lines(world: SimulatedScores) -> None:
    logits, states, columns = world.draw(2000)
    random = np.random.default_rng(5)
    place, order = random.permutation(74), random.permutation(2000)
    plain = fit_calibration(logits, states, columns, world.classes)
    mixed = fit_calibration(logits[order], states[order], place[columns[order]], world.classes)
    np.testing.assert_allclose(mixed.intercept[place], plain.intercept, atol=1e-5)
    np.testing.assert_allclose(mixed.slope[place], plain.slope, atol=1e-5)


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


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"classes": ["a"], "intercept": [0.0], "slope": []},
        {"classes": ["a"], "intercept": ["x"], "slope": [1.0]},
        {"classes": ["a"], "intercept": [0.0], "slope": [0.0]},
        {"classes": ["a"], "intercept": [float("nan")], "slope": [1.0]},
        {"classes": ["a", "b"], "intercept": [0.0], "slope": [1.0]},
    ],
)
def test_a_broken_bundle_is_refused(value: dict[str, list[float]]) -> None:
    with pytest.raises(RunError, match="calibration of this model bundle"):
        Calibration.from_json(value)


def test_wrong_shapes_and_nan_are_refused() -> None:
    calibration = Calibration(("a", "b"), np.zeros(2), np.ones(2))
    with pytest.raises(LabelError, match=r"shape \(5, 3\), but the calibration has 2 classes"):
        calibration.probability(np.zeros((5, 3)))
    with pytest.raises(NotFiniteError, match="first in class 'b'"):
        calibration.probability([[0.0, np.nan]])
    np.testing.assert_array_equal(calibration.probability([-np.inf, np.inf]), [0.0, 1.0])


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


def test_a_calibration_that_makes_probabilities_worse_is_not_applied() -> None:
    """Logits that are right already, of few cells: what a line follows then is luck."""
    applied = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        logits, columns = random.normal(0, 2, 80), random.integers(0, 2, 80)
        present = random.random(80) < expit(logits)
        cells = check_held_out(logits, np.where(present, 1, -1), columns, ("a", "b"))
        found = calibrate(cells)
        plain, crossed = expit(logits), cross_fit(cells)
        assert found.before == pytest.approx(error_of(plain, present.tolist()))
        assert found.after == pytest.approx(error_of(crossed, present.tolist()))
        helps = error_of(crossed, present.tolist()) <= error_of(plain, present.tolist())
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
    assert found.after < found.before / 2
    assert found.calibration.slope[0] == pytest.approx(0.3, abs=0.05)
