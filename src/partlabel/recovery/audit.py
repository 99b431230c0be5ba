"""A person judges random suggestions, and the verdicts become a bound on precision that holds whenever one looks.

`thresholds` measures precision on known cells. That says nothing of unknown ones where being known depends on the
state: only presents were tagged, or annotators looked where it was likely. An audit does not need known cells.
Suggestions are cut into strata of falling probability; within each stratum they are judged in a random order; strata
1..j together, a *prefix*, are released once their bound has reached the target.

**The bound.** The N_s cells of stratum s hold an unknown number K_s of presents. Before each verdict a forecaster says,
from earlier verdicts alone, how probable "present" is. What it gave to the verdicts as they came, divided by what a
population (K_1..K_j) gives to them, is a martingale that starts at 1 if this is the true population, and by Ville's
inequality it ever reaches 1/alpha with a probability of at most alpha. This is the prior-posterior-ratio martingale of
Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement" (NeurIPS 2020), with one joint prior on
all strata. The bound of a prefix is the least K_1 + .. + K_j of which some split is not rejected (a union-intersection
test, as in stratified election audits: Spertus and Stark, "Sweeter than SUITE", arXiv:2207.03379). What was judged is
in it exactly. Which stratum is asked next may depend on the verdicts; which cell of it may not.

**The forecaster** takes the mean calibrated probability of each stratum, moved by one shift in log-odds that all strata
share, and learns the shift and each stratum's own deviation from the verdicts. A wrong calibration costs verdicts,
never validity. It must not know which *cell* of the stratum is asked: forecasts from the cell's own probability are no
martingale. `benchmarks/audit_simulation.py` measures what this saves against a uniform prior on each K_s.

**What is assumed.** The verdict on a cell is the same whenever it is asked, and "present" is true; the strata with
their seed, the target and the confidence are fixed before the first verdict. Unsure and skipped cells count as absent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from partlabel.errors import LabelError, UsageError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray
from partlabel.labels import IntArray, State
from partlabel.recovery.strata import Strata
from partlabel.recovery.thresholds import CONFIDENCE

# Nats of evidence given away, far more than sums lose to rounding.
_SLACK = 1e-6
_ROUNDING = 1e-9


def lower_bounds(strata: Strata, judged: ArrayLike, right: ArrayLike, confidence: float = CONFIDENCE) -> IntArray:
    """Lower bounds on the number of presents among all cells of strata 1..j, judged or not, int64 `[S]`.

    Each bound by itself is below or at the truth, at all times together, with probability `confidence`.

    Args:
        strata: what was drawn from.
        judged: `[S]`, verdicts in each stratum.
        right: `[S]`, how many of them say present. Fractions are allowed, for verdicts that are expected.
        confidence: 1 - alpha.
    """
    n, x = np.asarray(judged, np.float64), np.asarray(right, np.float64)
    gains = _gains(strata.sizes, n, x)
    return np.array([_bound(strata, j, n, x, confidence, gains) for j in range(n.size)], np.int64)


def _bound(
    strata: Strata,
    j: int,
    judged: FloatArray,
    right: FloatArray,
    confidence: float,
    gains: Sequence[FloatArray],
) -> int:
    """Lower bound of strata 0..j: presents are added where they raise the likelihood most until it is high enough."""
    x, sizes = right[: j + 1], strata.sizes[: j + 1]
    log_weight = strata.beliefs[0][:, 0]
    forecast = float(np.logaddexp.reduce(log_weight + strata.log_forecast(judged, right)[:, : j + 1].sum(axis=1)))
    no_more = float((gammaln(x + 1) + gammaln(sizes - x + 1) - gammaln(sizes + 1)).sum())
    falling = np.sort(np.concatenate(gains[: j + 1]))[::-1]
    likelihood = no_more + np.append(0.0, np.cumsum(falling))
    enough = likelihood > forecast - _log_reciprocal_alpha(confidence) - _SLACK
    return int(np.ceil(x.sum() - _ROUNDING)) + int(np.argmax(enough))


def _gains(sizes: IntArray, judged: FloatArray, right: FloatArray) -> list[FloatArray]:
    """What each further present of each stratum adds to the log-likelihood of the verdicts.

    The likelihood of K_s is concave in the logarithm, so the gains fall within a stratum, and the best split of a total
    takes the greatest ones.
    """
    gains = []
    for size, n, x in zip(sizes, judged, right, strict=True):
        presents = x + np.arange(int(size - n + _ROUNDING))
        gains.append(np.log1p(-(n - x) / (size - presents)) - np.log1p(-x / (presents + 1)))
    return gains


def _log_reciprocal_alpha(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UsageError(f"the confidence is {confidence:g}; it must lie between 0 and 1, such as 0.9")
    return float(-np.log1p(-confidence))


def needed(
    strata: Strata,
    target: float | None = None,
    half_width: float | None = None,
    judged: ArrayLike | None = None,
    right: ArrayLike | None = None,
    confidence: float = CONFIDENCE,
) -> tuple[int | None, ...]:
    """How many more verdicts each prefix is expected to need, all of them in this prefix, as `draw` takes them.

    An estimate without a promise: it follows verdicts that come in at exactly the rates that calibration and earlier
    verdicts lead to expect, without luck.

    Args:
        strata: what is drawn from.
        target: until the bound on precision reaches it; None for a prefix that is not expected to have it.
        half_width: or until the bound on the share of presents is that close below the expected share.
        judged: `[S]`, verdicts so far.
        right: `[S]`, how many of them say present.
        confidence: 1 - alpha.

    Raises:
        UsageError: not exactly one of target and half width is given, or it is not between 0 and 1.
    """
    aim = target if half_width is None else half_width
    if (target is None) == (half_width is None) or aim is None or not 0 < aim < 1:
        raise UsageError("give either a target precision or a half width, between 0 and 1")
    zeros = np.zeros(strata.sizes.size)
    n, x = (zeros if given is None else np.asarray(given, np.float64) for given in (judged, right))
    return tuple(_needed(strata, j, n, x, confidence, target, half_width) for j in range(strata.sizes.size))


def needed_by(
    strata: Strata, prefix: int, target: float, judged: FloatArray, right: FloatArray, confidence: float = CONFIDENCE
) -> int | None:
    """`needed` to reach a target, of strata 1..prefix alone."""
    return _needed(strata, prefix - 1, judged, right, confidence, target, None)


def _needed(
    strata: Strata,
    j: int,
    judged: FloatArray,
    right: FloatArray,
    confidence: float,
    target: float | None,
    half_width: float | None,
) -> int | None:
    sizes, size = strata.sizes, int(strata.ends[j])
    rate = strata.expected_rates(judged, right)
    expected = float((right + (sizes - judged) * rate)[: j + 1].sum())
    least = expected - (half_width or 0.0) * size if target is None else _least(size, target)

    def verdicts(share: float) -> FloatArray:
        return np.where(np.arange(sizes.size) <= j, np.maximum(judged, share * sizes), judged)

    def reached(share: float) -> bool:
        n = verdicts(share)
        x = right + (n - judged) * rate
        return _bound(strata, j, n, x, confidence, _gains(sizes[: j + 1], n[: j + 1], x[: j + 1])) >= least

    if expected < least:
        return None
    return int(np.ceil((verdicts(_first(reached, 1 / (2 * size))) - judged).sum() - _ROUNDING))


def _first(reached: Callable[[float], bool], precision: float) -> float:
    """Least number in 0..1 from which on something holds, by halving; 1 if it does not before."""
    low, high = 0.0, 1.0
    if reached(low):
        return low
    while high - low > precision:
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _least(candidates: int, target: float) -> int:
    """Presents that so many candidates must have to reach the target."""
    return int(np.ceil(target * candidates - _ROUNDING))


@dataclass(frozen=True)
class AuditedPrefix:
    """Strata 1..j after an audit.

    Args:
        candidates: how many cells.
        judged: verdicts among them.
        right: how many of these say present.
        bound: lower bound on the share of presents among all candidates, judged or not. It promises `confidence` for
            one prefix named beforehand; of several, only what is released is promised together.
        expected: share of presents that the forecaster expects among all candidates; no promise.
        released_at: number of verdicts after which it was released; None if it is not.
    """

    candidates: int
    judged: int
    right: int
    bound: float
    expected: float
    released_at: int | None


@dataclass(frozen=True, eq=False)
class Release:
    """What verdicts allow to release; see `release`.

    Args:
        strata: what was drawn from.
        target: precision.
        confidence: of the promise.
        prefixes: S of them.
        judged: int64 `[S]`, verdicts in each stratum.
        right: int64 `[S]`, how many of these say present.
        kept: int64, the candidates to be released: those of the largest released prefix, less those that were judged
            and are not present.
    """

    strata: Strata = field(repr=False)
    target: float
    confidence: float
    prefixes: tuple[AuditedPrefix, ...]
    judged: IntArray = field(repr=False)
    right: IntArray = field(repr=False)
    kept: IntArray = field(repr=False)

    @property
    def released(self) -> int:
        """How many strata are released."""
        return sum(prefix.released_at is not None for prefix in self.prefixes)

    @property
    def next_prefix(self) -> int:
        """Where to ask next: the number of strata of the first prefix that is not released, at most S."""
        return min(self.released + 1, len(self.prefixes))

    @cached_property
    def more(self) -> int | None:
        """Verdicts in `next_prefix` that are still expected to be needed to release it, estimated as by `needed`; 0
        where all is released, None where its expected precision is below the target: a reason to stop.
        """
        if self.released == len(self.prefixes):
            return 0
        counts = self.judged.astype(np.float64), self.right.astype(np.float64)
        return needed_by(self.strata, self.released + 1, self.target, *counts, self.confidence)

    @property
    def least_unjudged(self) -> float | None:
        """Precision that the same promise leaves for the released cells that nobody judged; None without any.

        Of all candidates at least the target share are present; those known to be are taken off. This is below the
        target where the judged cells did better than the target.
        """
        last = self.prefixes[self.released - 1] if self.released else None
        if last is None or last.candidates == last.judged:
            return None
        return max(0, _least(last.candidates, self.target) - last.right) / (last.candidates - last.judged)


def release(
    strata: Strata, asked: ArrayLike, verdicts: ArrayLike, target: float, confidence: float = CONFIDENCE
) -> Release:
    """The largest prefix that may be released after these verdicts.

    A prefix is released once its bound has reached the target *and* the prefix before it is released. The promise: with
    probability `confidence`, no prefix is ever released in which less than the target share of the candidates are
    present, however often one looks and whatever makes one stop. For let j be the first prefix that is truly below the
    target; the population fixes it. To release prefix j or a larger one, the bound of prefix j must at some time have
    stood above the truth, which has a probability of at most alpha over all times together. Other prefixes add nothing
    to it, as they wait for j (hypotheses in a fixed sequence), nor do looks. For the same reason a prefix stays
    released.

    The promise is for all candidates, also those judged wrong. As these are removed and those judged right stay, the
    precision of `kept` is at least as high. For the cells that nobody judged, see `least_unjudged`.

    Args:
        strata: what was drawn from.
        asked: int64 `[n]`, all that `draw` gave, in order.
        verdicts: `[T]`, T <= n, of the first T cells asked: `State.PRESENT`, or anything else for wrong, unsure or
            skipped, which all count as absent. Cells still to be judged are left off at the end.
        target: least precision.
        confidence: 1 - alpha.

    Raises:
        UsageError: a setting is out of range.
        LabelError: there are more verdicts than cells asked, or cells are not in the order of `draw`.
    """
    if not 0 < target < 1:
        raise UsageError(f"the target precision is {target:g}; it must lie between 0 and 1, such as 0.95")
    present = np.asarray(verdicts).ravel() == State.PRESENT
    cells = np.asarray(asked, np.int64).ravel()
    if present.size > cells.size:
        raise LabelError(f"there are {present.size} verdicts, but {cells.size} cells were asked")
    cells = cells[: present.size]
    stratum = np.searchsorted(strata.ends, cells, side="right")
    orders = (order[: (stratum == s).sum()] for s, order in enumerate(strata.orders))
    in_order = all(np.array_equal(cells[stratum == s], order) for s, order in enumerate(orders))
    if not in_order or (stratum == strata.ends.size).any():
        raise LabelError(
            "cells with verdicts are not in the order in which `draw` gave them; mark a cell that was passed over as "
            "unsure, and leave none out"
        )
    path = _Path(strata, stratum, present, confidence)
    judged, right = path.judged[-1], path.right[-1]
    bounds = lower_bounds(strata, judged, right, confidence).tolist()
    expected = np.cumsum(right + (strata.sizes - judged) * strata.rates(judged, right)) / strata.ends
    prefixes: list[AuditedPrefix] = []
    since: int | None = 0
    for j, size in enumerate(strata.ends.tolist()):
        least = _least(size, target)
        since = None if since is None else path.first_rejection(j, least - 1, since)
        bound = bounds[j] if since is None else max(bounds[j], least)
        done = int(judged[: j + 1].sum()), int(right[: j + 1].sum())
        prefixes.append(AuditedPrefix(size, *done, bound / size, float(expected[j]), since))
    last = max((prefix.candidates for prefix in prefixes if prefix.released_at is not None), default=0)
    kept = np.setdiff1d(np.arange(last), cells[~present])
    counts = judged.astype(np.int64), right.astype(np.int64)
    return Release(strata, target, confidence, tuple(prefixes), *counts, kept)


class _Path:
    """The martingale along T verdicts, in strata `[T]`; T + 1 times, the first before any verdict."""

    def __init__(self, strata: Strata, stratum: IntArray, present: BoolArray, confidence: float) -> None:
        self.strata, self.stratum, self.present = strata, stratum, present
        self.limit = _log_reciprocal_alpha(confidence) + _SLACK
        self.judged, self.right = np.zeros((2, stratum.size + 1, strata.sizes.size))
        member = stratum[:, None] == np.arange(strata.sizes.size)
        np.cumsum(member, axis=0, out=self.judged[1:])
        np.cumsum(member & present[:, None], axis=0, out=self.right[1:])
        # Before each verdict, `[T]`: the judged and the presents of its stratum.
        before, self.hits = (one[np.arange(stratum.size), stratum] for one in (self.judged, self.right))
        self.left = strata.sizes[stratum] - before
        self.log_weight, a, b = strata.beliefs
        rate = (a[:, stratum] + self.hits) / ((a + b)[:, stratum] + before)
        self.log_forecast = np.log(np.where(present, rate, 1 - rate))

    def first_rejection(self, j: int, most: int, since: int) -> int | None:
        """Least time from `since` on when "strata 0..j hold at most `most` presents" is rejected; None if there is
        none.

        Any population of this hypothesis bounds its rejection from one side, so the most likely one is only looked for
        where the last one does not settle the matter.
        """
        inside = self.stratum <= j
        steps = np.zeros((self.log_weight.size, inside.size + 1))
        np.cumsum(np.where(inside, self.log_forecast, 0.0), axis=1, out=steps[:, 1:])
        forecast = np.logaddexp.reduce(self.log_weight + steps, axis=0)
        time = since
        while True:
            population = self._most_likely(j, most, time)
            if population is None:
                return time
            rejected = forecast - self._log_likelihood(population, inside) >= self.limit
            if rejected[time]:
                return time
            later = np.flatnonzero(rejected[time:])
            if not later.size:
                return None
            time += int(later[0])

    def _most_likely(self, j: int, most: int, time: int) -> IntArray | None:
        """Presents in strata 0..j, `most` in all or fewer, that make the verdicts likeliest; None if more were seen."""
        judged, right = self.judged[time, : j + 1], self.right[time, : j + 1]
        spare = most - int(right.sum())
        if spare < 0:
            return None
        by_stratum = _gains(self.strata.sizes[: j + 1], judged, right)
        gains, owner = np.concatenate(by_stratum), np.repeat(np.arange(j + 1), [one.size for one in by_stratum])
        best = np.argsort(-gains, kind="stable")[:spare]
        return right.astype(np.int64) + np.bincount(owner[best[gains[best] > 0]], minlength=j + 1)

    def _log_likelihood(self, population: IntArray, inside: BoolArray) -> FloatArray:
        """Of the verdicts inside at each time; minus infinity from where on they are impossible."""
        presents = (population[self.stratum[inside]] - self.hits[inside]).clip(0)
        left = self.left[inside]
        fitting = np.where(self.present[inside], presents, (left - presents).clip(0))
        steps = np.zeros(inside.size + 1)
        with np.errstate(divide="ignore"):
            steps[1:][inside] = np.log(fitting / left)
        return np.cumsum(steps)
