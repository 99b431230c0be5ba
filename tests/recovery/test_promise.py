"""The promise against oracles of its own: thresholds walked through, and samples weighed, in loops."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, comb, floor

import numpy as np
import pytest

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import State
from partlabel.recovery.design import Design
from partlabel.recovery.hypergeometric import least_cells
from partlabel.recovery.promise import GroupPromise, Promise, promise_precision
from partlabel.recovery.sample import Unknown


class Case:
    """Cells of one or more classes, known and unknown, drawn at random."""

    def __init__(self, seed: int, known: int = 150, unknown: int = 300, classes: int = 4, digits: int = 2) -> None:
        random = np.random.default_rng(seed)
        self.names = tuple("abcdefgh"[:classes])
        self.probability = np.round(random.beta(4, 1, known), digits)
        self.right = random.random(known) < self.probability**0.5
        self.column = random.integers(0, classes, known)
        self.image = random.integers(0, 40, known)
        self.unknown = np.round(random.beta(3, 1, unknown), digits)
        self.unknown_column = random.integers(0, classes, unknown)
        self.more = random.integers(0, 300, classes)  # unknown cells that are no candidates
        # a wrong one of each class, so that each is measured
        self.probability = np.append(self.probability, np.full(classes, 0.01))
        self.right = np.append(self.right, np.zeros(classes, bool))
        self.column, self.image = np.append(self.column, range(classes)), np.append(self.image, range(classes))

    @property
    def cells(self) -> ScoredCells:
        states = np.where(self.right, 1, -1).astype(np.int8)
        images = tuple(map(str, range(40)))
        return ScoredCells(self.names, np.zeros(states.size), states, self.column, images, self.image)

    @property
    def candidates(self) -> Unknown:
        of_class = np.bincount(self.unknown_column, minlength=len(self.names)) + self.more
        return Unknown(self.unknown, self.unknown_column, of_class)

    def promise(self, target: float = 0.8, confidence: float = 0.9, **others: object) -> Promise:
        return promise_precision(self.cells, self.probability, self.candidates, target, confidence, **others)

    def only(self, *columns: int) -> "Case":
        """The same without the cells of other classes."""
        part = object.__new__(Case)
        mine, theirs = np.isin(self.column, columns), np.isin(self.unknown_column, columns)
        part.names, part.more = self.names, self.more
        part.probability, part.right = self.probability[mine], self.right[mine]
        part.column, part.image = self.column[mine], self.image[mine]
        part.unknown, part.unknown_column = self.unknown[theirs], self.unknown_column[theirs]
        return part


def numbers(group: GroupPromise) -> tuple[object, ...]:
    """All that was found of a group, but not whose it is."""
    return tuple(value for name, value in vars(group).items() if name not in {"name", "classes"})


def tail(known: int, right: int, unknown: int, target: float) -> float:
    """P(X >= right), X right ones of the known cells, where the unknown ones just miss the target."""
    missing = max(good for good in range(unknown + 1) if good < target * unknown - 1e-9) if unknown else 0
    if not unknown:
        return sum(comb(known, x) * target**x * (1 - target) ** (known - x) for x in range(right, known + 1))
    good, total = right + missing, known + unknown
    ways = sum(comb(good, x) * comb(total - good, known - x) for x in range(right, min(known, good) + 1))
    return ways / comb(total, known)


def walked(case: Case, target: float, delta: float) -> tuple[float | None, int, int, int]:
    """Threshold, accepted, right and suggested cells, by loops over thresholds; cells known by chance."""
    order = sorted(range(case.probability.size), key=lambda place: -case.probability[place])
    order = [place for place in order if case.probability[place] >= min(0.5, target)]
    size = 1
    while target**size > delta:
        size += 1
    tried: list[float] = []
    count = float(size)
    while count <= len(order):
        limit = float(case.probability[order[int(count) - 1]])
        if limit not in tried:
            tried.append(limit)
        count = max(count * 1.15, count + 1)

    def at(limit: float) -> tuple[int, int, int, float]:
        known = [place for place in order if case.probability[place] >= limit]
        unknown = [value for value in case.unknown if value >= limit]
        share = (sum(case.probability[known]) + sum(unknown)) / (len(known) + len(unknown))
        return len(known), int(case.right[known].sum()), len(unknown), share

    def power(limit: float) -> float:
        known, _, unknown, share = at(limit)
        passing = [right for right in range(known + 1) if tail(known, right, unknown, target) <= delta]
        lowest = min(passing, default=known + 1)
        return sum(comb(known, x) * share**x * (1 - share) ** (known - x) for x in range(lowest, known + 1))

    if not tried:
        return None, 0, 0, 0
    first = max(range(len(tried)), key=lambda number: (round(power(tried[number]), 12), -number))
    passed = None
    for limit in tried[first:]:
        known, right, unknown, _ = at(limit)
        if tail(known, right, unknown, target) > delta:
            break
        passed = limit
    known, right, unknown, _ = at(tried[first] if passed is None else passed)
    return passed, known, right, unknown


@pytest.mark.parametrize("seed", range(12))
def test_thresholds_are_tested_from_the_most_promising_one_down_until_one_fails(seed: int) -> None:
    case = Case(seed, known=70 + 10 * seed, unknown=40 + 25 * (seed % 5))
    made = 0
    for target, confidence in ((0.7, 0.9), (0.8, 0.8), (0.85, 0.9), (0.45, 0.9)):
        group = case.promise(target, confidence).groups[0]
        wanted = walked(case, target, 1 - confidence)
        assert (group.threshold, group.accepted, group.correct, group.suggested) == wanted
        if group.accepted:
            assert group.chance == pytest.approx(tail(group.accepted, group.correct, group.suggested, target))
            assert group.effective == group.accepted
        made += group.threshold is not None
    assert made


def test_the_walk_ends_at_the_first_failure_though_a_lower_threshold_would_pass() -> None:
    """Right at the top, mostly wrong in the middle, and so many right ones below that all together would pass."""
    case = Case(0, classes=1)
    case.probability = np.append(np.linspace(0.99, 0.51, 400), 0.01)
    case.right = np.append(np.repeat([True, False, True], [60, 20, 320]), False)
    case.column = case.image = np.zeros(401, int)
    case.unknown, case.unknown_column = np.full(50, 0.995), np.zeros(50, int)
    group = case.promise(0.9).groups[0]
    assert group.threshold is not None
    assert group.accepted < 80
    assert tail(400, 380, 50, 0.9) < 0.1


def test_equal_probabilities_are_accepted_together() -> None:
    for seed in range(30):
        case = Case(seed, known=200, digits=1)
        group = case.promise(0.7).groups[0]
        if group.threshold is not None:
            assert group.accepted == (case.probability >= group.threshold).sum()
            assert group.correct == case.right[case.probability >= group.threshold].sum()
            assert group.suggested == (case.unknown >= group.threshold).sum()
            assert group.expected == pytest.approx(case.unknown[case.unknown >= group.threshold].mean())


@pytest.mark.parametrize("design", [Design(), Design(by_class=True), Design(by_image=True), Design(True, True)])
def test_where_the_walk_begins_does_not_depend_on_states(design: Design) -> None:
    """Without a promise the numbers are those of the first threshold, whatever the states were."""
    case, random = Case(5), np.random.default_rng(0)
    first = set()
    for wrong in (0.4, 0.5, 0.6, 0.8, 1):
        for _ in range(4):
            case.right = random.random(case.right.size) >= wrong
            case.right[-4:] = False
            group = case.promise(0.8, design=design).groups[0]
            assert group.threshold is None
            first.add(group.accepted)
    assert len(first) == 1
    case.right[:-4] = True
    assert case.promise(0.8, design=design).groups[0].accepted >= first.pop()


def test_states_of_the_threshold_decide_only_by_their_number() -> None:
    case = Case(2, digits=8)
    before = case.promise(0.8).groups[0]
    best = np.flatnonzero(case.probability >= np.sort(case.probability)[-10])
    case.right[best] = case.right[best][::-1]
    assert case.promise(0.8).groups[0].threshold == before.threshold


def test_a_group_is_promised_as_if_there_were_no_other() -> None:
    case = Case(1, known=1500)
    groups = {"first two": ("a", "b"), "c": ("c",)}
    for design in (Design(), Design(by_class=True), Design(True, True)):
        found = case.promise(0.8, groups=groups, design=design)
        alone = [case.only(0, 1).promise(0.8, design=design), case.only(2).promise(0.8, design=design)]
        assert [numbers(group) for group in found.groups] == [numbers(one.groups[0]) for one in alone]
        assert [group.name for group in found.groups] == list(groups)
        limit = found.groups[0].threshold
        assert limit is not None or design != Design()
        assert found.values[:2].tolist() == [np.inf if limit is None else limit] * 2
        assert found.values[3] == np.inf
        assert found.group(3) is None
        assert found.why_not(3) == "the class is in no group"


def test_a_class_without_a_known_error_gets_nothing_and_lends_nothing() -> None:
    case = Case(1, known=400)
    case.right[case.column == 2] = True
    found = case.promise(0.8)
    assert found.unmeasured.tolist() == [False, False, True, False]
    assert found.values[2] == np.inf
    assert np.isfinite(found.values[[0, 1, 3]]).all()
    assert found.rules == ("promised", "promised", "unmeasured", "promised")
    assert found.why_not(2) == "no known cell of the class is absent, so that no error can be seen"
    assert numbers(found.groups[0]) == numbers(case.only(0, 1, 3).promise(0.8).groups[0])
    assert found.groups[0].suggested == (case.unknown[case.unknown_column != 2] >= found.values[0]).sum()


def test_absent_suggestions_mirror_present_ones() -> None:
    case = Case(3, known=400)
    case.right[case.column == 1] = True
    present = case.promise(0.8)
    turned = replace(case.cells, states=-case.cells.states)
    absent = promise_precision(turned, case.probability, case.candidates, 0.8, 0.9, state=State.ABSENT)
    assert absent.groups == present.groups
    assert absent.values.tolist() == present.values.tolist()
    assert absent.counts.tolist() == present.counts.tolist()
    assert absent.why_not(1) == "no known cell of the class is present, so that no error can be seen"
    known = present.of_class(0)["known"]
    assert known == {"present": case.right[case.column == 0].sum(), "absent": (~case.right)[case.column == 0].sum()}
    assert absent.of_class(0) == {
        "known": {"present": known["absent"], "absent": known["present"]},
        "group": "all classes",
    }


def looped(case: Case, group: GroupPromise, target: float, design: Design) -> tuple[float, float]:
    """Size of the effective sample of a group, and its right ones, cell by cell."""
    limit = group.threshold
    assert limit is not None
    known_of, accepted = [0] * 4, []
    for place, column in enumerate(case.column):
        known_of[column] += 1
        if case.probability[place] >= limit:
            accepted.append(place)
    stands_for = [case.candidates.of_class[column] / known_of[column] for column in range(4)]
    suggested = [column for value, column in zip(case.unknown, case.unknown_column, strict=True) if value >= limit]
    size = float(len(accepted))
    weights = dict.fromkeys(accepted, 1.0)
    if design.by_class:
        weights = {place: stands_for[case.column[place]] for place in accepted}
        size = min(size, len(suggested) ** 2 / sum(stands_for[column] for column in suggested))
    miss = {place: case.right[place] - target for place in accepted}
    squares = sum((weights[place] * miss[place]) ** 2 for place in accepted)
    shown = sum(weights.values()) * sum(weights[place] * miss[place] ** 2 for place in accepted) / squares
    size = min(size, shown)
    if design.by_image:
        images = {case.image[place] for place in accepted}
        sums = [sum(weights[p] * miss[p] for p in accepted if case.image[p] == image) for image in images]
        size *= min(1.0, squares / sum(one**2 for one in sums))
    share = sum(weights[place] * case.right[place] for place in accepted) / sum(weights.values())
    return size, size * share


@pytest.mark.parametrize("design", [Design(), Design(by_image=True), Design(by_class=True), Design(True, True)])
def test_the_effective_sample_is_smaller_by_what_images_and_classes_have_in_common(design: Design) -> None:
    smaller = tested = 0
    for seed in range(15):
        case = Case(seed, known=700)
        rate = np.array([1.0, 0.7, 0.5, 0.3])[case.column] if design.by_class else 1.0
        kept = np.random.default_rng(seed).random(case.column.size) < rate
        kept[-4:] = True
        if design.by_image:
            # Images err together.
            case.right &= ~((case.image % 9 == 0) & (np.arange(case.right.size) % 2 == 0))
        case.probability, case.right = case.probability[kept], case.right[kept]
        case.column, case.image = case.column[kept], case.image[kept]
        group = case.promise(0.6, 0.8, design=design).groups[0]
        assert group.effective <= group.accepted
        if group.threshold is None:
            continue
        tested += 1
        size, right = looped(case, group, 0.6, design)
        assert group.effective == pytest.approx(size)
        whole = floor(size + 1e-9)
        hits = whole - ceil((size - right) * whole / size - 1e-9)
        assert group.chance == pytest.approx(tail(whole, hits, group.suggested, 0.6))
        smaller += group.effective < group.accepted - 1
    assert tested >= 8
    assert smaller >= 5 if design != Design() else smaller == 0


def test_errors_in_a_class_hardly_known_make_the_sample_small() -> None:
    """Three wrong ones that stand for twenty unknown cells each, among 300 right ones that stand for less than one."""
    case = Case(0)
    case.probability, case.right = np.append(np.full(303, 0.9), np.full(4, 0.01)), np.arange(307) < 300
    case.column = np.concatenate([np.zeros(300, int), np.ones(3, int), range(4)])
    case.image = np.arange(307) % 40
    case.unknown, case.unknown_column = np.full(260, 0.9), np.repeat([0, 1], [200, 60])
    case.more = np.array([0, 20, 0, 0])
    group = case.promise(0.6, design=Design(by_class=True)).groups[0]
    size, _ = looped(case, group, 0.6, Design(by_class=True))
    assert group.effective == pytest.approx(size)
    assert size < 35
    case.right[300:303] = True
    assert case.promise(0.6, design=Design(by_class=True)).groups[0].effective > 45


def test_errors_that_even_out_within_images_add_nothing_to_the_sample() -> None:
    """Of 20 images a right and a wrong cell each: their misses of one half cancel."""
    case = Case(0, classes=1)
    case.probability, case.right = np.append(np.full(100, 0.9), 0.01), np.append(np.arange(100) < 80, False)
    case.column, case.image = np.zeros(101, int), np.append(np.arange(100) % 80, 0)
    case.unknown, case.unknown_column = np.full(50, 0.9), np.zeros(50, int)
    assert case.promise(0.5, design=Design(by_image=True)).groups[0].effective == 100


def test_equal_rates_make_the_sample_by_class_about_as_large_as_the_plain_one() -> None:
    case = Case(4, known=4000, unknown=4000)
    case.more = np.bincount(case.column) - np.bincount(case.unknown_column)  # one unknown cell to each known one
    group = case.promise(0.7, design=Design(by_class=True)).groups[0]
    assert group.effective == pytest.approx(min(group.accepted, group.suggested))


def test_unknown_cells_of_a_class_hardly_known_make_the_sample_small() -> None:
    case = Case(4, known=400, unknown=1000)
    plain = case.promise(0.7, design=Design(by_class=True)).groups[0]
    case.more = case.more + np.array([0, 0, 0, 100_000])
    hard = case.promise(0.7, design=Design(by_class=True)).groups[0]
    assert plain.threshold is not None
    assert hard.threshold is None
    assert hard.effective < 10


def test_no_number_of_verdicts_helps_probabilities_below_the_target() -> None:
    case = Case(0, known=20)
    case.unknown = np.minimum(case.unknown, 0.85)
    group = case.promise(0.9).groups[0]
    assert group.threshold is None
    assert group.verdicts is None
    case.unknown, case.unknown_column = np.empty(0), np.empty(0, int)
    assert case.promise(0.9).groups[0].verdicts is None


def test_more_verdicts_than_cells_are_not_asked_for() -> None:
    case = Case(0, known=5)
    case.unknown, case.unknown_column = np.full(25, 0.96), np.zeros(25, int)
    verdicts = case.promise(0.9).groups[0].verdicts
    assert verdicts is None or verdicts <= 25


def test_too_few_known_cells_promise_nothing_and_say_how_many_are_needed() -> None:
    case = Case(0, known=21)
    case.probability[:21], case.right[:21] = 0.99, True
    found = case.promise(0.9)
    group = found.groups[0]
    assert (group.threshold, group.accepted, group.correct, group.effective, group.chance) == (None, 0, 0, 0.0, 1.0)
    assert "fewer than 22 known cells have a probability of 0.5 or more" in str(found.why_not(0))
    assert "90 % at 90 % confidence" in str(found.why_not(0))
    assert 0.9**22 <= 0.1 < 0.9**21
    assert least_cells(0.9, 0.1) == 22


def test_a_failure_names_its_counts() -> None:
    case = Case(0)
    case.right[:] = False
    found = case.promise(0.9)
    assert f"0 of {found.groups[0].accepted} known cells at the most promising threshold are right" in str(
        found.why_not(0)
    )


def test_no_cell_below_one_half_is_suggested_unless_the_target_is_lower() -> None:
    case = Case(7, known=3000)
    case.right[:-4] = True
    assert case.promise(0.9).values.min() >= 0.5
    assert case.promise(0.3).values.min() < 0.5


def test_nothing_unknown_is_promised_as_of_cells_without_number() -> None:
    case = Case(0, known=400)
    case.unknown, case.unknown_column = np.empty(0), np.empty(0, int)
    group = case.promise(0.6).groups[0]
    assert group.suggested == 0
    assert group.chance == pytest.approx(tail(group.accepted, group.correct, 0, 0.6))


def test_the_summary_is_json_and_says_how_cells_were_sampled() -> None:
    case = Case(1, known=400)
    summary = json.loads(json.dumps(case.promise(0.8, design=Design(True, True)).summary()))
    assert (summary["kind"], summary["target_precision"], summary["confidence"]) == ("promise", 0.8, 0.9)
    assert (summary["sampled"], summary["weighted_by_class"]) == ("images", True)
    assert summary["groups"][0]["name"] == "all classes"
    assert case.promise(0.8).summary()["sampled"] == "cells"


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, float("nan")])
def test_targets_and_confidences_lie_between_0_and_1(value: float) -> None:
    with pytest.raises(UsageError, match=r"precision .* must lie between 0 and 1"):
        Case(0).promise(value)
    with pytest.raises(UsageError, match=r"confidence .* must lie between 0 and 1"):
        Case(0).promise(0.9, value)


@pytest.mark.parametrize("groups", [{"one": ("a", "b"), "two": ("b",)}, {"one": ("a", "a")}])
def test_a_class_has_one_promise(groups: dict[str, Sequence[str]]) -> None:
    with pytest.raises(UsageError, match="in two groups, or twice in one"):
        Case(0).promise(groups=groups)
