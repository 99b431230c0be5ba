"""The audit against an oracle of explicit loops: no formula, table or constant is shared with the code."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import chi2

from partlabel.errors import LabelError, UsageError
from partlabel.recovery.audit import Release, lower_bounds, needed, release
from partlabel.recovery.strata import Prior, Strata, draw, plan_strata

pytestmark = pytest.mark.slow

Verdicts = Sequence[tuple[int, bool]]  # (stratum, present), in order


def small(sizes: Sequence[int], means: Sequence[float], prior: Prior = "calibrated", seed: int = 1) -> Strata:
    return Strata(np.cumsum(sizes), np.asarray(means), seed, prior)


def forecast(sizes: Sequence[int], means: Sequence[float], verdicts: Verdicts, prior: Prior) -> float:
    """Probability that the forecaster gave to the verdicts, one after the other."""
    shifts = [half / 2 for half in range(-8, 5)] if prior == "calibrated" else [0.0]
    weights = [math.exp(-shift * shift / 2) for shift in shifts]
    total = 0.0
    for shift, weight in zip(shifts, weights, strict=True):
        seen, hits, probability = [0] * len(sizes), [0] * len(sizes), weight / sum(weights)
        for stratum, present in verdicts:
            mean = min(max(means[stratum], 0.01), 0.99)
            odds = mean / (1 - mean) * math.exp(shift)
            counts, strength = (odds / (1 + odds) * 20, 20) if prior == "calibrated" else (1, 2)
            says_present = (counts + hits[stratum]) / (strength + seen[stratum])
            probability *= says_present if present else 1 - says_present
            seen[stratum] += 1
            hits[stratum] += present
        total += probability
    return total


def likelihood(sizes: Sequence[int], population: Sequence[int], verdicts: Verdicts) -> Fraction:
    """Probability of the verdicts if the strata hold so many presents: orders that continue them, of all orders."""
    probability = Fraction(1)
    for stratum, (size, presents) in enumerate(zip(sizes, population, strict=False)):
        ours = [present for where, present in verdicts if where == stratum]
        if sum(ours) > presents:
            return Fraction(0)
        probability *= Fraction(math.comb(size - len(ours), presents - sum(ours)), math.comb(size, presents))
    return probability


def bound_by_loops(
    sizes: Sequence[int], means: Sequence[float], verdicts: Verdicts, prior: Prior, alpha: float, last: int
) -> int:
    """Fewest presents in strata 0..last of a population that is not rejected."""
    ours = [verdict for verdict in verdicts if verdict[0] <= last]
    said = forecast(sizes, means, ours, prior)
    kept = [
        sum(population)
        for population in product(*(range(size + 1) for size in sizes[: last + 1]))
        if said * alpha < float(likelihood(sizes, population, ours)) * (1 + 1e-9)
    ]
    return min(kept)


def ask(strata: Strata, bits: Sequence[Sequence[bool]], policy: Callable[[list[tuple[int, bool]]], int]) -> Release:
    """Judge everything, the next stratum by the policy, verdicts of each stratum as given; release at 2/3, 80 %."""
    asked, verdicts = interleave(strata, bits, policy)
    return release(strata, asked, [1 if present else -1 for _, present in verdicts], 2 / 3, 0.8)


def interleave(
    strata: Strata, bits: Sequence[Sequence[bool]], policy: Callable[[list[tuple[int, bool]]], int]
) -> tuple[list[int], list[tuple[int, bool]]]:
    used, asked, verdicts = [0] * len(bits), list[int](), list[tuple[int, bool]]()
    while len(asked) < sum(map(len, bits)):
        stratum = policy(verdicts)
        while used[stratum] == len(bits[stratum]):
            stratum = (stratum + 1) % len(bits)
        asked.append(int(strata.orders[stratum][used[stratum]]))
        verdicts.append((stratum, bits[stratum][used[stratum]]))
        used[stratum] += 1
    return asked, verdicts


def in_turn(verdicts: list[tuple[int, bool]]) -> int:
    return len(verdicts) % 2


def where_it_goes_well(verdicts: list[tuple[int, bool]]) -> int:
    if not verdicts:
        return 0
    stratum, present = verdicts[-1]
    return stratum if present else 1 - stratum


def all_orders(sizes: Sequence[int]) -> Iterator[list[tuple[bool, ...]]]:
    for flat in product((False, True), repeat=sum(sizes)):
        ends = np.cumsum(sizes)
        yield [flat[end - size : end] for end, size in zip(ends, sizes, strict=True)]


@pytest.mark.parametrize("prior", ["calibrated", "uniform"])
def test_bounds_are_those_of_enumerated_populations(prior: Prior) -> None:
    sizes, means = (3, 4, 3), (0.97, 0.8, 0.4)
    strata, different = small(sizes, means, prior), set()
    for judged in ((0, 0, 0), (1, 0, 2), (2, 2, 1), (3, 2, 0), (3, 3, 3), (0, 4, 1), (3, 4, 3)):
        for right in product(*(range(n + 1) for n in judged)):
            verdicts = [(s, i < x) for s, (n, x) in enumerate(zip(judged, right, strict=True)) for i in range(n)]
            for alpha in (0.05, 0.3):
                bounds = lower_bounds(strata, judged, right, 1 - alpha)
                loops = [bound_by_loops(sizes, means, verdicts, prior, alpha, last) for last in range(3)]
                assert bounds.tolist() == loops
                different.add(tuple(loops))
    assert len(different) > 50


@pytest.mark.parametrize("policy", [in_turn, where_it_goes_well])
@pytest.mark.parametrize("means", [(0.9, 0.6), (0.99, 0.99), (0.1, 0.2)])
def test_over_all_orders_the_bound_and_the_release_err_no_more_often_than_promised(
    policy: Callable[[list[tuple[int, bool]]], int], means: tuple[float, float]
) -> None:
    """Exact: each population has all its orders, equally probable; looks after every verdict."""
    sizes, alpha = (4, 5), 0.2
    strata = small(sizes, means)
    memo: dict[tuple[tuple[int, int], tuple[int, int]], list[int]] = {}
    orders, above, wrong = Counter[tuple[int, int]](), Counter[tuple[int, int, int]](), Counter[tuple[int, int]]()
    for bits in all_orders(sizes):
        truth = sum(bits[0]), sum(bits[1])
        orders[truth] += 1
        _, verdicts = interleave(strata, bits, policy)
        highest = [0, 0]
        judged, right = [0, 0], [0, 0]
        for stratum, present in verdicts:
            judged[stratum] += 1
            right[stratum] += present
            key = (judged[0], judged[1]), (right[0], right[1])
            if key not in memo:
                memo[key] = lower_bounds(strata, judged, right, 1 - alpha).tolist()
            highest = [max(pair) for pair in zip(highest, memo[key], strict=True)]
        for last in range(2):
            above[(*truth, last)] += highest[last] > sum(truth[: last + 1])
        result = ask(strata, bits, policy)
        wrong[truth] += any(
            prefix.released_at is not None and sum(truth[: last + 1]) * 3 < 2 * prefix.candidates
            for last, prefix in enumerate(result.prefixes)
        )
        assert [prefix.right for prefix in result.prefixes] == [truth[0], sum(truth)]
    assert len(orders) == 30
    errors = [above[(*truth, last)] / orders[truth] for truth in orders for last in range(2)]
    assert max(errors) <= alpha
    assert max(wrong[truth] / orders[truth] for truth in orders) <= alpha


@pytest.mark.parametrize(("means", "closest"), [((0.9, 0.6), 0.14), ((0.99, 0.99), 0.18), ((0.2, 0.1), 0.0)])
def test_over_all_orders_of_more_cells_the_bounds_err_rarely_enough_but_not_never(
    means: tuple[float, float], closest: float
) -> None:
    """Exact, by passing the probability of each population on from verdict to verdict, strata in turn."""
    size, alpha = 10, 0.2
    strata, memo = small((size, size), means), dict[tuple[int, int, int], list[int]]()
    for time in range(2 * size + 1):
        judged = (time + 1) // 2, time // 2
        for right in product(range(judged[0] + 1), range(judged[1] + 1)):
            memo[(time, *right)] = lower_bounds(strata, judged, right, 1 - alpha).tolist()
    errors = []
    for truth, last in product(product(range(size + 1), repeat=2), range(2)):
        never, above = {(0, 0): 1.0}, 0.0
        for time in range(2 * size):
            stratum, later = time % 2, Counter[tuple[int, int]]()
            for right, probability in never.items():
                present = (truth[stratum] - right[stratum]) / (size - time // 2)
                later[(right[0] + (stratum == 0), right[1] + (stratum == 1))] += probability * present
                later[right] += probability * (1 - present)
            bad = {right for right in later if memo[(time + 1, *right)][last] > sum(truth[: last + 1])}
            above += sum(later[right] for right in bad)
            never = {right: p for right, p in later.items() if p > 0 and right not in bad}
        errors.append(above)
    assert closest <= max(errors) <= alpha


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 2 / 3, 0.8]), st.sampled_from(["calibrated", "uniform"]))
def test_releases_are_those_of_explicit_looks(seed: int, target: float, prior: Prior) -> None:
    random = np.random.default_rng(seed)
    sizes = tuple(random.integers(1, 7, 3).tolist())
    means = np.sort(random.random(3))[::-1].tolist()
    strata = small(sizes, means, prior)
    asked = random.permutation(np.repeat([0, 1, 2], sizes)).tolist()
    used, cells = [0, 0, 0], []
    for stratum in asked:
        cells.append(strata.orders[stratum][used[stratum]])
        used[stratum] += 1
    present = (random.random(len(asked)) < random.choice([0.5, 0.9, 1], 3)[asked]).tolist()
    verdicts = [1 if one else int(random.choice([0, -1])) for one in present]
    result = release(strata, cells, verdicts, target, 0.7)

    released, times = 0, [None, None, None]
    for time in range(len(asked) + 1):
        seen = list(zip(asked[:time], present[:time], strict=True))
        while released < 3:
            bound = bound_by_loops(sizes, means, seen, prior, 0.3, released)
            if bound < target * sum(sizes[: released + 1]) - 1e-9:
                break
            times[released] = time
            released += 1
    assert [prefix.released_at for prefix in result.prefixes] == times
    assert result.released == released
    assert result.next_prefix == min(released + 1, 3)
    inside = set(range(sum(sizes[:released]))) - {c for c, one in zip(cells, present, strict=True) if not one}
    assert result.kept.tolist() == sorted(inside)
    assert all(prefix.bound >= target - 1e-9 for prefix in result.prefixes[:released])


def test_what_is_judged_completely_is_known() -> None:
    strata = small((3, 2, 4), (0.9, 0.5, 0.2))
    assert lower_bounds(strata, [3, 2, 4], [2, 2, 1], 0.999).tolist() == [2, 4, 5]
    assert lower_bounds(strata, [0, 0, 0], [0, 0, 0]).tolist() == [0, 0, 0]
    result = release(strata, draw(strata, 9), [1] * 9, 0.95, 0.999)
    assert result.released == 3
    assert (result.more, result.least_unjudged) == (0, None)


def test_the_promise_for_cells_that_nobody_judged() -> None:
    strata = small((100, 200), (0.99, 0.97))
    asked = draw(strata, 60, prefix=1)
    result = release(strata, asked, [1] * 59 + [0], 0.9)
    assert result.released == 1
    assert result.least_unjudged == pytest.approx((90 - 59) / 40)
    assert result.kept.size == 99
    assert asked[-1] not in result.kept
    assert release(strata, asked, [], 0.9).least_unjudged is None


def test_strata_grow_and_keep_ties_together() -> None:
    probability = np.round(np.linspace(1, 0, 1000), 2)
    strata = plan_strata(probability, 0, strata=6, growth=2)
    start = 0
    for wanted, end, mean in zip((32, 63, 125, 250, 500, 1000), strata.ends.tolist(), strata.means, strict=True):
        tied = [i for i in range(1000) if probability[i] == probability[wanted - 1]]
        assert end == tied[-1] + 1
        assert mean == pytest.approx(probability[start:end].mean())
        start = end
    assert plan_strata(np.full(50, 0.9), 0).ends.tolist() == [50]
    assert plan_strata(np.repeat([0.9, 0.8], [40, 1]), 0).ends.tolist() == [40, 41]
    assert plan_strata([0.5], 0).sizes.tolist() == [1]
    assert plan_strata(np.linspace(1, 0, 100), 0, smallest=80).ends.tolist() == [80, 100]


@pytest.mark.parametrize("allocation", ["proportional", "neyman", "even"])
def test_drawing_more_continues_and_never_asks_twice(allocation: str) -> None:
    strata = plan_strata(np.linspace(0.99, 0.2, 300), 5, strata=4)
    everything = draw(strata, 300, allocation=allocation).tolist()  # type: ignore[arg-type]
    assert sorted(everything) == list(range(300))
    for n in (0, 1, 40, 200):
        first = draw(strata, n, allocation=allocation)  # type: ignore[arg-type]
        assert first.tolist() == everything[:n]
        rest = draw(strata, 300 - n, first, allocation=allocation)  # type: ignore[arg-type]
        assert rest.tolist() == everything[n:]
    start = 0
    for end in strata.ends.tolist():
        assert [c for c in everything if start <= c < end] == strata.orders[strata.ends.tolist().index(end)].tolist()
        start = end


def test_batches_in_any_prefix_can_be_released() -> None:
    strata = plan_strata(np.linspace(0.99, 0.2, 300), 5, strata=4)
    asked = draw(strata, 30, prefix=1)
    assert asked.max() < strata.ends[0]
    asked = np.append(asked, draw(strata, 40, asked, 3))
    later = np.bincount(np.searchsorted(strata.ends, asked, side="right"), minlength=4)
    assert later[3] == 0
    # What the first stratum has too much of, the others catch up with.
    assert later[1] + later[2] == 40
    assert later[1] / strata.sizes[1] == pytest.approx(later[2] / strata.sizes[2], abs=0.03)
    assert release(strata, asked, [1] * 70, 0.8).prefixes[0].judged == 30


def test_allocations() -> None:
    strata = small((100, 100, 800), (0.98, 0.9, 0.5))
    share = {
        name: np.bincount(np.searchsorted(strata.ends, draw(strata, 120, allocation=name), side="right"), minlength=3)  # type: ignore[arg-type]
        for name in ("proportional", "neyman", "even")
    }
    assert share["even"].tolist() == [40, 40, 40]
    # Weights 1/6, 1/6 (the floor) and 0.8 of 1.133; of Neyman's, the last is 0.9 of 1.23.
    assert share["proportional"] == pytest.approx(np.array([1 / 6, 1 / 6, 0.8]) / 1.1333 * 120, abs=1)
    neyman = 80 * 0.5 / (14 * 0.1 + 10 * 0.3 + 80 * 0.5)
    assert share["neyman"] == pytest.approx(np.array([1 / 6, 1 / 6, neyman]) / (1 / 3 + neyman) * 120, abs=1.5)


def test_the_order_is_uniform_and_the_same_on_any_machine() -> None:
    seen = Counter[tuple[int, ...]]()
    for seed in range(2400):
        strata = small((2, 4), (0.9, 0.5), seed=seed)
        seen[tuple(strata.orders[1].tolist())] += 1
    assert set(seen) == set(permutations(range(2, 6)))
    assert chi2.sf(sum((count - 100) ** 2 / 100 for count in seen.values()), 23) > 0.001
    pairs = Counter(
        (small((3, 3), (0.9, 0.5), seed=seed).orders[0][0], small((3, 3), (0.9, 0.5), seed=seed).orders[1][0] - 3)
        for seed in range(900)
    )
    assert chi2.sf(sum((count - 100) ** 2 / 100 for count in pairs.values()), 8) > 0.001
    assert draw(plan_strata(np.linspace(1, 0, 60), 7, strata=2), 8).tolist() == [34, 59, 37, 8, 50, 29, 55, 16]


def test_every_seed_is_another_order() -> None:
    seeds = (0, 1, 2**63 - 1, 2**63, 2**64 - 1)
    assert len({tuple(draw(plan_strata(np.linspace(1, 0, 60), seed), 60).tolist()) for seed in seeds}) == len(seeds)


def test_estimates_of_needed_verdicts_are_those_of_simulated_audits() -> None:
    random = np.random.default_rng(0)
    probability = np.sort(random.beta(6, 0.4, 600))[::-1]
    strata = plan_strata(probability, 0, strata=3, growth=2)
    estimate = needed(strata, target=0.85)
    assert estimate[0] is not None
    taken = []
    for seed in range(40):
        again = plan_strata(probability, seed, strata=3, growth=2)
        asked = draw(again, 300, prefix=1)
        result = release(again, asked, np.where(random.random(600) < probability, 1, -1)[asked], 0.85)
        taken.append(result.prefixes[0].released_at or 300)
    assert np.median(taken) == pytest.approx(estimate[0], rel=0.3)


def test_estimates_answer_to_target_width_and_verdicts() -> None:
    strata = small((200, 400, 800), (0.97, 0.9, 0.4))
    wide, narrow = needed(strata, half_width=0.1), needed(strata, half_width=0.03)
    for j in range(3):
        assert 0 < (wide[j] or 0) < (narrow[j] or 0) < strata.ends[j]
    low, high = needed(strata, target=0.8), needed(strata, target=0.9)
    assert (low[0] or 0) < (high[0] or 0)
    assert low[2] is high[2] is None
    assert (needed(strata, target=0.9, judged=[20, 0, 0], right=[20, 0, 0])[0] or 99) < (high[0] or 0)
    assert needed(strata, target=0.9, judged=[60, 0, 0], right=[30, 0, 0])[0] is None
    after = release(strata, draw(strata, 10, prefix=1), [1] * 10, 0.9)
    assert after.more == needed(strata, target=0.9, judged=[10, 0, 0], right=[10, 0, 0])[0]
    # On the expected path the bound has just reached what was asked for.
    n = high[0] or 0
    reached = [lower_bounds(strata, [m, 0, 0], [m * 0.97, 0, 0])[0] >= 180 for m in (n - 1, n)]
    assert reached == [False, True]


def test_a_simulation_of_miscalibrated_audits_keeps_the_promise() -> None:
    broken = released = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        probability = np.sort(random.beta(4, 0.6, 400))[::-1]
        truth = random.random(400) < expit(np.log(probability / (1 - probability).clip(1e-9)) * 0.6 - 0.5)
        strata, asked = plan_strata(probability, seed, strata=4), np.empty(0, int)
        for _ in range(6):
            result = release(strata, asked, np.where(truth[asked], 1, -1), 0.8)
            asked = np.append(asked, draw(strata, 20, asked, result.next_prefix))
        end = result.prefixes[result.released - 1].candidates if result.released else 0
        released += result.released > 0
        broken += bool(end and truth[:end].mean() < 0.8)
    assert released > 100
    assert broken <= 33  # 20 expected at most, standard deviation 4.2


def test_wrong_use_is_refused() -> None:
    strata = plan_strata(np.linspace(1, 0, 100), 3, strata=3)
    asked = draw(strata, 10)
    release(strata, asked, [1] * 10, 0.9)
    for cells in (asked[::-1], asked[1:], np.append(asked[:9], asked[0]), np.append(asked[:9], 100), asked - 1):
        with pytest.raises(LabelError, match="order"):
            release(strata, cells, [1] * cells.size, 0.9)
    with pytest.raises(LabelError, match="11 verdicts, but 10 cells"):
        release(strata, asked, [1] * 11, 0.9)
    for probability in ([], [0.2, 0.3], [1.2, 0.3], [math.nan]):
        with pytest.raises(LabelError):
            plan_strata(probability, 0)
    calls: list[Callable[[], object]] = [
        lambda: release(strata, asked, [1], 90),
        lambda: release(strata, asked, [1], 0.9, 90),
        lambda: plan_strata([0.5], -1),
        lambda: plan_strata([0.5], 0, strata=0),
        lambda: plan_strata([0.5], 0, growth=1),
        lambda: plan_strata([0.5], 0, prior="none"),  # type: ignore[arg-type]
        lambda: draw(strata, -1),
        lambda: draw(strata, 1, prefix=4),
        lambda: draw(strata, 1, allocation="all"),  # type: ignore[arg-type]
        lambda: needed(strata),
        lambda: needed(strata, target=0.9, half_width=0.1),
        lambda: needed(strata, half_width=2.0),
    ]
    for call in calls:
        with pytest.raises(UsageError):
            call()
