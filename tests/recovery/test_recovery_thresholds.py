import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from partlabel.datasets.simulated_scores import SimulatedScores
from partlabel.errors import LabelError, UsageError
from partlabel.evaluation.scored_cells import check_held_out
from partlabel.recovery.calibrate import cross_fit
from partlabel.recovery.thresholds import Choice, choose_threshold, fit_thresholds, precision_lower_bound


def by_loops(cells: list[tuple[float, bool]], target: float, min_accepted: int) -> tuple[float | None, int, int]:
    for threshold in sorted({probability for probability, _ in cells}):
        accepted = [(probability, present) for probability, present in cells if probability >= threshold]
        correct = sum(present for _, present in accepted)
        expected = sum(probability for probability, _ in accepted)
        enough = target * len(accepted) - 1e-6
        if threshold >= min(0.5, target) and len(accepted) >= min_accepted and correct >= enough and expected >= enough:
            return threshold, len(accepted), correct
    return None, 0, 0


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.8, 0.9, 0.95, 0.99]), st.booleans()), max_size=60),
    st.sampled_from([0.3, 0.5, 0.75, 0.9]),
    st.integers(1, 12),
)
def test_the_choice_is_that_of_explicit_loops(
    cells: list[tuple[float, bool]], target: float, min_accepted: int
) -> None:
    probability = np.array([cell[0] for cell in cells], np.float64)
    present = np.array([cell[1] for cell in cells], bool)
    choice = choose_threshold(probability, present, target, min_accepted)
    threshold, accepted, correct = by_loops(cells, target, min_accepted)
    assert choice.threshold == threshold
    if threshold is not None:
        assert (choice.accepted, choice.correct) == (accepted, correct)
        assert choice.expected == pytest.approx(probability[probability >= threshold].mean())


def test_an_unreached_target_shows_what_came_closest() -> None:
    probability = np.array([0.99, 0.98, 0.97, 0.96, 0.95])
    present = np.array([True, True, False, False, False])
    choice = choose_threshold(probability, present, 0.9, 3)
    assert choice == Choice(None, 3, 2, pytest.approx(0.98))
    assert choose_threshold(probability, present, 0.9, 6) == Choice(None, 0, 0, 0.0)


def test_equal_cells_are_taken_together() -> None:
    probability = np.full(20, 0.96)
    assert choose_threshold(probability, np.arange(20) != 3, 0.95, 10) == Choice(0.96, 20, 19, pytest.approx(0.96))
    assert choose_threshold(probability, np.arange(20) > 3, 0.95, 10).threshold is None


@pytest.mark.parametrize(("correct", "accepted"), [(45, 45), (44, 45), (1, 30), (300, 310)])
def test_the_lower_bound_inverts_the_binomial_tail(correct: int, accepted: int) -> None:
    bound = precision_lower_bound(correct, accepted)
    assert binom.sf(correct - 1, accepted, bound) == pytest.approx(0.1)


def test_the_lower_bound_needs_45_cells_without_an_error_for_95_percent() -> None:
    assert precision_lower_bound(44, 44) < 0.95 <= precision_lower_bound(45, 45)
    assert precision_lower_bound(0, 0) == precision_lower_bound(0, 9) == 0.0


@pytest.mark.slow
def test_thresholds_hold_on_the_cells_that_set_them(world: SimulatedScores) -> None:
    cells = world.draw(30_000)
    thresholds = fit_thresholds(*cells, world.classes, min_present=40)
    probability = cross_fit(check_held_out(*cells, world.classes))
    rules = np.array([entry.rule for entry in thresholds.classes])
    assert {"own", "pooled"} == set(rules)
    accepted = probability >= thresholds.values[cells.class_index]
    present = cells.states == 1
    for column, entry in enumerate(thresholds.classes):
        mine = cells.class_index == column
        assert (entry.present, entry.absent) == ((mine & present).sum(), (mine & ~present).sum())
        assert (entry.rule == "own") == (entry.present >= 40)
        group = mine if entry.rule == "own" else (rules == "pooled")[cells.class_index]
        if entry.reached:
            assert (entry.accepted, entry.correct) == ((accepted & group).sum(), (accepted & group & present).sum())
            assert entry.precision is not None
            assert entry.precision >= 0.95
            assert entry.expected >= 0.95
            assert entry.accepted >= 10
            assert entry.lower_bound < entry.precision
        else:
            assert not (accepted & mine).any()


def test_a_class_is_pooled_left_alone_or_left_out_with_the_reason() -> None:
    random = np.random.default_rng(0)
    columns = np.repeat([0, 1, 2, 3, 4], [400, 400, 20, 20, 5])
    present = np.arange(columns.size) % 2 == 0
    present[columns == 4] = True
    logits = np.where(present, 4.0, -4.0) + random.normal(size=columns.size)
    logits[columns == 1] = random.normal(size=400)
    names = ("easy", "random", "rare", "seldom", "only present", "none held out")
    thresholds = fit_thresholds(logits, np.where(present, 1, -1), columns, names)
    assert [entry.rule for entry in thresholds.classes] == [
        "own",
        "own",
        "pooled",
        "pooled",
        "unmeasured",
        "unmeasured",
    ]
    assert [entry.reached for entry in thresholds.classes] == [True, False, True, True, False, False]
    assert thresholds.classes[2].threshold == thresholds.classes[3].threshold
    assert thresholds.classes[2].accepted == thresholds.classes[3].accepted == 20
    assert thresholds.why_not(0) is None
    assert "target of 0.95 is not reached on the known cells of the class that the model did not see: at best " in str(
        thresholds.why_not(1)
    )
    assert thresholds.why_not(4) == "no known cell that judges the class is absent (5 present), so no error can be seen"
    assert thresholds.why_not(5) == "no known cell that judges the class is absent (0 present), so no error can be seen"
    assert thresholds.values.tolist()[4:] == [np.inf, np.inf]


def test_a_pool_that_is_too_small_or_too_weak_says_so_with_numbers() -> None:
    few = fit_thresholds([3.0, -3.0, 2.0, -2.0], [1, -1, 1, -1], [0, 0, 1, 1], ("a", "b"))
    assert few.why_not(0) == (
        "the model gives fewer than 10 of the known cells of the 2 pooled classes that it did not see a probability of "
        "0.5 or more, too few to measure a precision on"
    )
    states = np.tile([1, -1, 1], 20)
    weak = fit_thresholds(np.zeros(60), states, np.zeros(60, int), ("a",))
    assert (
        "of the 1 pooled class that the model did not see: at best 40 of 60 are present, where the calibration expects "
        "a share of 0.6"
    ) in str(weak.why_not(0))
    assert np.isinf(weak.values).all()


def test_sure_cells_do_not_pay_for_improbable_ones() -> None:
    probability, present = np.repeat([0.999, 0.01], [40, 1]), np.arange(41) < 40
    assert choose_threshold(probability, present, 0.95, 10).threshold == 0.999


def test_a_single_class_with_perfect_logits() -> None:
    states = np.repeat([1, -1], [30, 70])
    thresholds = fit_thresholds(states * 5.0 + np.linspace(0, 1, 100), states, np.zeros(100, int), ("sky",))
    assert thresholds.classes[0].correct == thresholds.classes[0].accepted == 30


@pytest.mark.parametrize(
    "settings", [{"target_precision": 95}, {"target_precision": 0.0}, {"min_accepted": 0}, {"min_present": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must"):
        fit_thresholds([1.0, -1.0], [1, -1], [0, 0], ("a",), **settings)  # type: ignore[arg-type]


def test_no_known_absent_is_refused() -> None:
    with pytest.raises(LabelError, match="known cells that the model did not see are present"):
        fit_thresholds([1.0, 2.0], [1, 1], [0, 0], ("a",))
