"""Suggestions in strata of falling probability, and the random order in which a person is asked about them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, expit, logit

from partlabel.errors import LabelError, UsageError
from partlabel.evaluation.scored_cells import FloatArray
from partlabel.labels import IntArray
from partlabel.masking.keyed import check_seed

Allocation = Literal["proportional", "neyman", "even"]
Prior = Literal["calibrated", "uniform"]

PRIOR_VERDICTS = 20.0
"""Verdicts for which the calibrated mean of a stratum counts."""
# The rest of the calibrated prior: shifts with normal weights of standard deviation 1. Ours, from a search on simulated
# audits, in which half or thrice as much of either hardly mattered.
_SHIFTS = np.arange(-4.0, 2.5, 0.5)
_EDGE = 0.01
# Least weight of a stratum in units of the even one.
_FLOOR = 0.5


@dataclass(frozen=True, eq=False)
class Strata:
    """Candidates `0..L-1`, the most probable first, cut into S runs, with all that chance and the bound depend on.

    Args:
        ends: int64 `[S]`, ascending; stratum s is `ends[s - 1]:ends[s]`.
        means: float64 `[S]`, mean calibrated probability of each.
        seed: of the orders in which cells are asked, in 0..2⁶⁴-1; not to be chosen by what it draws.
        prior: what the forecaster believes at first: the calibrated probabilities, more or less, or nothing.
    """

    ends: IntArray
    means: FloatArray
    seed: int
    prior: Prior = "calibrated"

    @cached_property
    def sizes(self) -> IntArray:
        """Int64 `[S]`."""
        return np.diff(self.ends, prepend=0)

    @cached_property
    def orders(self) -> tuple[IntArray, ...]:
        """The candidates of each stratum in the order in which they are asked.

        Raw words of a Philox generator keyed by the seed and the number of the stratum, sorted: the same on any
        machine.
        """
        keys = (np.array([self.seed, s], np.uint64) for s in range(self.sizes.size))
        words = [np.random.Philox(key=key).random_raw(int(size)) for key, size in zip(keys, self.sizes, strict=True)]
        return tuple(np.argsort(one, kind="stable") + end - one.size for one, end in zip(words, self.ends, strict=True))

    @cached_property
    def beliefs(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Log-weights `[G, 1]` of the shifts, and the beta-binomial prior of each K_s under each, two of `[G, S]`."""
        if self.prior == "uniform":
            return np.zeros((1, 1)), np.ones((1, self.ends.size)), np.ones((1, self.ends.size))
        rate = expit(logit(np.clip(self.means, _EDGE, 1 - _EDGE)) + _SHIFTS[:, None])
        weight = np.exp(-(_SHIFTS[:, None] ** 2) / 2)
        return np.log(weight / weight.sum()), PRIOR_VERDICTS * rate, PRIOR_VERDICTS * (1 - rate)

    def log_forecast(self, judged: FloatArray, right: FloatArray) -> FloatArray:
        """Log-probability `[G, S]` that each shift gave to the verdicts in each stratum."""
        _, a, b = self.beliefs
        return np.asarray(betaln(a + right, b + judged - right) - betaln(a, b), np.float64)

    def rates(self, judged: FloatArray, right: FloatArray) -> FloatArray:
        """Share of presents that the forecaster expects in each stratum after verdicts, float64 `[S]`."""
        log_weight, a, b = self.beliefs
        log_weight = log_weight + self.log_forecast(judged, right).sum(axis=1, keepdims=True)
        weight = np.exp(log_weight - log_weight.max())
        return np.asarray((weight * (a + right) / (a + b + judged)).sum(axis=0) / weight.sum(), np.float64)

    def expected_rates(self, judged: FloatArray, right: FloatArray) -> FloatArray:
        """Share of presents to be expected in each stratum, float64 `[S]`, for planning: by its verdicts, and before
        them by its calibrated mean, which counts for 20 of them, or without one by the verdicts on all strata and the
        hope that 19 of 20 are right.
        """
        hopeful = (right.sum() + PRIOR_VERDICTS - 1) / (judged.sum() + PRIOR_VERDICTS)
        before = self.means if self.prior == "calibrated" else hopeful
        return np.asarray((PRIOR_VERDICTS * before + right) / (PRIOR_VERDICTS + judged), np.float64)


def plan_strata(
    probability: ArrayLike,
    seed: int,
    strata: int = 8,
    growth: float = 1.6,
    smallest: int = 30,
    prior: Prior = "calibrated",
) -> Strata:
    """Cut candidates into strata, so that each prefix holds `growth` times the cells of the one before.

    Equal probabilities stay together: a cut moves down to the last of them, and cuts that meet become one.

    Args:
        probability: float64 `[L]`, calibrated, descending; L is 1 or more.
        seed: in 0..2⁶⁴-1.
        strata: at most so many.
        growth: above 1.
        smallest: the first stratum has no fewer cells, unless there are no more.
        prior: see `Strata`.

    Raises:
        UsageError: a setting is out of range.
        LabelError: there is no candidate, or the probabilities do not descend within 0..1.
    """
    values = np.asarray(probability, np.float64).ravel()
    if strata < 1 or not growth > 1 or smallest < 1 or prior not in {"calibrated", "uniform"}:
        raise UsageError(
            f"strata is {strata}, growth {growth:g}, smallest {smallest} and prior {prior!r}; they must be 1 or more, "
            "above 1, 1 or more, and 'calibrated' or 'uniform'"
        )
    if not values.size:
        raise LabelError("there is no suggestion to audit; suggest at a lower precision")
    if not ((values >= 0) & (values <= 1)).all() or (np.diff(values) > 0).any():
        raise LabelError("the probabilities of suggestions to audit must descend and lie between 0 and 1")
    wanted = np.ceil(values.size * growth ** np.arange(1.0 - strata, 1)).clip(min(smallest, values.size), values.size)
    last_of_equals = np.flatnonzero(np.append(values[1:] != values[:-1], True)) + 1
    ends = np.unique(last_of_equals[np.searchsorted(last_of_equals, wanted)])
    starts = np.append(0, ends[:-1])
    return Strata(ends, np.minimum(np.add.reduceat(values, starts) / (ends - starts), 1.0), check_seed(seed), prior)


def draw(
    strata: Strata,
    n: int,
    asked: ArrayLike = (),
    prefix: int | None = None,
    allocation: Allocation = "proportional",
) -> IntArray:
    """The next candidates to ask, in this order, int64 `[n]`, or fewer if there are no more.

    The i-th cell of the order of a stratum of weight w has its turn at time (i - 1/2) / w. A larger n continues the
    same order; cells asked before, in whatever proportions, count for their strata.

    The fewest verdicts release the most if each batch asks in the strata that the next release needs:
    `draw(strata, n, asked, release(...).next_prefix)`.

    Args:
        strata: what to draw from.
        n: how many.
        asked: int64, the candidates that were asked before.
        prefix: only strata 1..prefix; all if None.
        allocation: weights, "proportional" to the sizes of the strata, "neyman", to sizes times the standard deviation
            at the mean probability, both with a floor of half the even share, or "even".

    Raises:
        UsageError: a setting is out of range.
    """
    within = strata.sizes.size if prefix is None else prefix
    if n < 0 or not 1 <= within <= strata.sizes.size or allocation not in {"proportional", "neyman", "even"}:
        raise UsageError(
            f"cannot draw {n} candidates from strata 1..{within} of {strata.sizes.size} with allocation {allocation!r}"
        )
    weight = strata.sizes[:within].astype(np.float64)
    if allocation == "neyman":
        rate = np.clip(strata.means[:within], _EDGE, 1 - _EDGE)
        weight *= np.sqrt(rate * (1 - rate))
    weight = np.ones(within) if allocation == "even" else np.maximum(weight / weight.sum(), _FLOOR / within)
    time = np.concatenate([(np.arange(strata.sizes[s]) + 0.5) / weight[s] for s in range(within)])
    order = np.concatenate(strata.orders[:within])[np.argsort(time, kind="stable")]
    return order[~np.isin(order, np.asarray(asked, np.int64))][:n]
