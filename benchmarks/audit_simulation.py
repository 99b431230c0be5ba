"""Does the audit keep its promise where labels are not missing at random, and how many verdicts does it take?

    OMP_NUM_THREADS=1 python benchmarks/audit_simulation.py [--draws 500] [--budget 400]

Draws 1,000 images with 260 classes of a long tail, 3.5 of them present an image as in Corel5k, and scores that follow
the truth with noise, too steeply, and with an offset for each class. The sigmoid of a score is the probability; nothing
else calibrates it. Labels become known in three ways. Candidates are the unknown cells of probability 0.3 or more, in
8 strata.

*Known cells*: the bound of Clopper and Pearson on the known cells with the scores of strata 1..j; prefixes are released
as in an audit, while their bounds reach the target. *Audit*: batches of 25 verdicts in the next prefix until all is
released, the target is no longer expected there (after 50 verdicts at least), or the budget is spent. It looks after
every verdict: a draw is broken if at any time a prefix was released whose precision is below the target. Precision is
that of all candidates released, judged wrong or not; shares are of all presents that are missing. "Could be" is the
largest release of one who knows the truth. "Unjudged below target": of the releases, in how many the cells that nobody
judged are below it.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from partlabel.recovery.audit import Release, release
from partlabel.recovery.strata import Prior, Strata, draw, plan_strata
from partlabel.recovery.thresholds import precision_lower_bound

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

IMAGES, CLASSES, PER_IMAGE = 1000, 260, 3.5
LEAST_PROBABILITY, TARGETS, CONFIDENCE, BATCH, FEWEST = 0.3, (0.8, 0.9, 0.95), 0.9, 25, 50

KINDS: dict[str, Callable[[Bools, Floats], Floats]] = {
    "positives only: 30 % of the present": lambda present, _: 0.3 * present,
    "annotators looked where it was likely": lambda _, probability: 0.02 + 0.9 * probability,
    "present 5 times as often as absent": lambda present, _: np.where(present, 0.5, 0.1),
}


@dataclass
class World:
    """Candidates with their truth, the known cells by falling probability, and how many presents are missing."""

    probability: Floats
    present: Bools
    known_probability: Floats
    known_present: Bools
    missing: int


def world(random: np.random.Generator, known_with: Callable[[Bools, Floats], Floats]) -> World:
    """Classes of different frequency and difficulty; logits of the true probability, and noisy scores."""
    shape = IMAGES, CLASSES
    frequency = 1 / (np.arange(CLASSES) + 8)
    frequency = np.minimum(PER_IMAGE * frequency / frequency.sum(), 0.25).astype(np.float32)
    distance = np.clip(random.normal(2.8, 0.7, CLASSES), 0.6, 4.5).astype(np.float32)
    present = random.random(shape, np.float32) < frequency
    seen = random.standard_normal(shape, np.float32) + distance * present
    log_odds = distance * seen - distance**2 / 2 + np.log(frequency / (1 - frequency))
    offset = random.normal(0.5, 0.6, CLASSES).astype(np.float32)
    score = 1.3 * (log_odds + 0.8 * random.standard_normal(shape, np.float32)) + offset
    known = random.random(shape, np.float32) < known_with(present, expit(log_odds))
    probability = expit(score)

    def falling(cells: Bools) -> tuple[Floats, Bools]:
        ours = np.flatnonzero(cells & (probability >= LEAST_PROBABILITY))
        ours = ours[np.argsort(-probability.ravel()[ours], kind="stable")]
        return probability.ravel()[ours], present.ravel()[ours]

    return World(*falling(~known), *falling(known), int((present & ~known).sum()))


def by_known_cells(one: World, strata: Strata, target: float) -> int:
    """Candidates released by the bound on known cells with the same scores."""
    released = 0
    for end in strata.ends.tolist():
        accepted = int(np.searchsorted(-one.known_probability, -one.probability[end - 1], side="right"))
        right = int(one.known_present[:accepted].sum())
        if precision_lower_bound(right, accepted, CONFIDENCE) < target:
            break
        released = end
    return released


def audit(one: World, strata: Strata, target: float, budget: int) -> tuple[Release, int]:
    """The release at the end, and how many verdicts were given."""
    asked = np.empty(0, np.int64)
    while True:
        result = release(strata, asked, np.where(one.present[asked], 1, -1), target, CONFIDENCE)
        next_one = result.prefixes[result.next_prefix - 1]
        hopeless = asked.size >= FEWEST and next_one.expected < target
        if result.released == strata.ends.size or hopeless or asked.size >= budget:
            return result, asked.size
        batch = draw(strata, min(BATCH, budget - asked.size), asked, result.next_prefix)
        if not batch.size:
            return result, asked.size
        asked = np.append(asked, batch)


@dataclass
class Row:
    """What was seen over the draws."""

    broken: list[bool] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    precision: list[float] = field(default_factory=list)
    verdicts: list[int] = field(default_factory=list)
    first: list[int | None] = field(default_factory=list)
    unjudged_below: list[bool] = field(default_factory=list)
    best: list[float] = field(default_factory=list)


def best_prefix(one: World, strata: Strata, target: float) -> int:
    """Candidates of the largest prefix up to which all have the target: what one could release if one knew all."""
    reached = np.cumsum(one.present)[strata.ends - 1] / strata.ends >= target
    count = int(np.argmin(np.append(reached, False)))
    return int(strata.ends[count - 1]) if count else 0


def judge(row: Row, one: World, released: int) -> None:
    right = int(one.present[:released].sum())
    row.share.append(right / one.missing)
    if released:
        row.precision.append(right / released)


def simulate(kind: str, draws: int, budget: int) -> dict[float, tuple[Row, Row]]:
    rows = {target: (Row(), Row()) for target in TARGETS}
    for seed in range(draws):
        one = world(np.random.default_rng([seed, list(KINDS).index(kind)]), KINDS[kind])
        strata = plan_strata(one.probability, seed)
        for target, (naive, ours) in rows.items():
            released = by_known_cells(one, strata, target)
            naive.broken.append(bool(released) and one.present[:released].mean() < target)
            judge(naive, one, released)
            result, verdicts = audit(one, strata, target, budget)
            prefixes = [prefix for prefix in result.prefixes if prefix.released_at is not None]
            ends = [prefix.candidates for prefix in prefixes]
            ours.broken.append(any(one.present[:end].mean() < target for end in ends))
            judge(ours, one, ends[-1] if ends else 0)
            ours.verdicts.append(verdicts)
            ours.first.append(prefixes[0].released_at if prefixes else None)
            ours.best.append(one.present[: best_prefix(one, strata, target)].sum() / one.missing)
            if prefixes and prefixes[-1].judged < ends[-1]:
                left = one.present[: ends[-1]].sum() - prefixes[-1].right
                ours.unjudged_below.append(left / (ends[-1] - prefixes[-1].judged) < target)
    return rows


def priors(draws: int, budget: int) -> None:
    """Two forecasters on one order with the same number of verdicts in each stratum."""
    print(f"\nForecasters, {budget} verdicts spread evenly over the strata, {draws} draws of each kind:\n")
    print("| target | prior | verdicts to the first release | share of the missing released | broken |")
    print("|---:|---|---:|---:|---:|")
    names: tuple[Prior, Prior] = ("calibrated", "uniform")
    rows = {(target, prior): Row() for target in TARGETS for prior in names}
    for number, known_with in enumerate(KINDS.values()):
        for seed in range(draws):
            one = world(np.random.default_rng([seed, number, 1]), known_with)
            for (target, prior), row in rows.items():
                strata = plan_strata(one.probability, seed, prior=prior)
                asked = draw(strata, budget, allocation="even")
                result = release(strata, asked, np.where(one.present[asked], 1, -1), target, CONFIDENCE)
                ends = [prefix.candidates for prefix in result.prefixes if prefix.released_at is not None]
                row.broken.append(any(one.present[:end].mean() < target for end in ends))
                row.first.append(result.prefixes[0].released_at)
                judge(row, one, ends[-1] if ends else 0)
    for (target, prior), row in rows.items():
        first = [budget if at is None else at for at in row.first]
        print(f"| {target} | {prior} | {np.median(first):.0f} | {np.mean(row.share):.3f} | {np.mean(row.broken):.3f} |")


def least_favourable(draws: int) -> None:
    """One stratum that lacks a single present to the target, judged to the end: the most that a promise can break."""
    print(f"\n300 candidates, one present fewer than the target, a look after every verdict, {draws} draws:\n")
    print("| target | audit: broken | Clopper and Pearson at every look: broken |")
    print("|---:|---:|---:|")
    random = np.random.default_rng(0)
    for target in TARGETS:
        broken: list[tuple[bool, bool]] = []
        present = np.arange(300) < np.ceil(300 * target - 1e-9) - 1
        passes = [_fewest_right(n, target) for n in range(1, 301)]
        for seed in range(draws):
            strata = plan_strata(np.full(300, target), seed)
            verdicts = random.permutation(present)
            ours = release(strata, draw(strata, 300), verdicts, target, CONFIDENCE).released > 0
            broken.append((ours, bool((np.cumsum(verdicts) >= passes).any())))
        audited, looked = np.mean(broken, axis=0)
        print(f"| {target} | {audited:.3f} | {looked:.3f} |")


def _fewest_right(judged: int, target: float) -> int:
    """So many right verdicts that their bound reaches the target; one more than there are if none suffices."""
    bounds = [precision_lower_bound(right, judged, CONFIDENCE) for right in range(judged + 1)]
    return int(np.searchsorted(bounds, target))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--budget", type=int, default=400)
    arguments = parser.parse_args()
    start = time.process_time()
    print(f"{arguments.draws} draws each, confidence {CONFIDENCE}, at most {arguments.budget} verdicts\n")
    print(
        "| known | target | known cells: broken | precision | share released | audit: broken | precision | share "
        "released | share that could be | verdicts, median | 90 % | to the first release | nothing released | unjudged "
        "below target |"
    )
    print("|---|---:|" + "---:|" * 12)
    for kind in KINDS:
        for target, (naive, ours) in simulate(kind, arguments.draws, arguments.budget).items():
            first = [at for at in ours.first if at is not None]
            print(
                f"| {kind} | {target} | {np.mean(naive.broken):.3f} | {_mean(naive.precision)} "
                f"| {np.mean(naive.share):.3f} | {np.mean(ours.broken):.3f} | {_mean(ours.precision)} "
                f"| {np.mean(ours.share):.3f} | {np.mean(ours.best):.3f} | {np.median(ours.verdicts):.0f} "
                f"| {np.quantile(ours.verdicts, 0.9):.0f} | {np.median(first) if first else 0:.0f} "
                f"| {1 - len(first) / len(ours.first):.3f} | {_mean(ours.unjudged_below)} |",
                flush=True,
            )
    least_favourable(arguments.draws)
    priors(max(1, arguments.draws // 10), arguments.budget)
    print(f"\n{time.process_time() - start:.0f} seconds of one core")


def _mean(values: list[float] | list[bool]) -> str:
    return f"{np.mean(values):.3f}" if values else "-"


if __name__ == "__main__":
    main()
