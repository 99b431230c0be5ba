"""Thresholds above which suggested labels reach a stated precision, chosen on held-out known cells.

Which rule comes near the target on *unknown* cells was measured on simulated scores with known truth: 74 classes,
target 0.95, 100 draws of 3,000 held-out cells, 4 % of them present (`python benchmarks/precision_rules.py` prints this
table). Draws in which nothing is suggested count in no precision.

| rule | true precision, mean | below 0.95 | below 0.90 | nothing suggested | recall |
|---|---:|---:|---:|---:|---:|
| counted, not cross-fitted | 0.929 | 0.74 | 0.15 | 0.16 | 0.18 |
| counted | 0.939 | 0.62 | 0.07 | 0.19 | 0.16 |
| lower bound of the counted, at 90 % | 0.889 | 1.00 | 1.00 | 0.99 | 0.00 |
| expected | 0.967 | 0.14 | 0.00 | 0.20 | 0.11 |
| **counted and expected: the default** | 0.968 | 0.15 | 0.00 | 0.33 | 0.10 |

Counting alone is optimistic, because the threshold is picked where luck was good. The expected precision alone is only
as good as the calibration's shape. On these scores it errs on the safe side, so that counting besides adds no precision
and leaves more draws without a suggestion; it is a check for scores that the calibration does not fit. Neither is a
promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells, check_held_out
from partlabel.labels import IntArray
from partlabel.recovery.calibrate import cross_fit

CONFIDENCE = 0.9
ASSUMPTION = (
    "The precision was estimated on known cells that the model never saw, and is not promised. It holds for unknown "
    "cells only if being known does not depend on the state of a cell, given the score. A lower bound reads the two "
    "counts alone; the threshold was chosen on the same cells, so it means less than its confidence."
)
_LOWEST_THRESHOLD = 0.5
_ROUNDING = 1e-9

Rule = Literal["own", "pooled", "unmeasured"]


class Choice(NamedTuple):
    """One threshold and the held-out cells at or above it.

    Args:
        threshold: smallest accepted probability; None if the target is not reached. Then the numbers are those of the
            threshold that came closest (all zero if no threshold accepts enough cells).
        accepted: number of held-out cells at or above the threshold.
        correct: how many of them are present.
        expected: their mean calibrated probability.
    """

    threshold: float | None
    accepted: int
    correct: int
    expected: float


@dataclass(frozen=True)
class ClassThreshold:
    """The threshold of one class and what it rests on.

    Args:
        name: the class.
        rule: "own": from the held-out cells of this class; "pooled": one for all classes that have too few, with the
            numbers of the whole pool; "unmeasured": no held-out cell of the class is absent, so it gets no
            suggestions.
        present: held-out cells of this class that are present.
        absent: held-out cells of this class that are absent.
        threshold: smallest calibrated probability to suggest; None for no suggestions.
        accepted: held-out cells (of the class or the pool) at or above the threshold.
        correct: how many of these are present.
        expected: mean calibrated probability of these.
        lower_bound: one-sided 90 % Clopper-Pearson bound of the precision. It is a plain reading of the two counts:
            the threshold was chosen on the same cells, so it promises less than 90 %.
    """

    name: str
    rule: Rule
    present: int
    absent: int
    threshold: float | None
    accepted: int
    correct: int
    expected: float
    lower_bound: float

    @property
    def reached(self) -> bool:
        """True where the class gets suggestions."""
        return self.threshold is not None

    @property
    def precision(self) -> float | None:
        """Precision over the accepted held-out cells; None without any."""
        return self.correct / self.accepted if self.accepted else None


@dataclass(frozen=True)
class PrecisionThresholds:
    """A threshold on the calibrated probability for each class.

    Args:
        target_precision: what the suggestions shall reach.
        min_accepted: a threshold rests on at least this many held-out cells.
        min_present: a class with fewer held-out present cells is pooled.
        classes: C of them, in the order of the columns.
    """

    target_precision: float
    min_accepted: int
    min_present: int
    classes: tuple[ClassThreshold, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The class names, in the order of the columns."""
        return tuple(entry.name for entry in self.classes)

    @property
    def values(self) -> FloatArray:
        """Thresholds, float64 `[C]`; infinity where a class gets no suggestions."""
        return np.array([np.inf if entry.threshold is None else entry.threshold for entry in self.classes], np.float64)

    @property
    def rules(self) -> tuple[str, ...]:
        """Whose threshold each class has."""
        return tuple(entry.rule for entry in self.classes)

    def of_class(self, column: int) -> dict[str, Any]:
        """JSON values of what the threshold of a class rests on."""
        entry = self.classes[column]
        shown = ("present", "absent", "accepted", "correct", "precision", "expected", "lower_bound")
        return {"known": {name: getattr(entry, name) for name in shown}}

    def summary(self) -> dict[str, Any]:
        """JSON values of what is said of all classes."""
        return {
            "kind": "estimate",
            "target_precision": self.target_precision,
            "lower_bound_confidence": CONFIDENCE,
            "assumption": ASSUMPTION,
        }

    def why_not(self, column: int) -> str | None:
        """Why a class gets no suggestions, in a sentence with numbers; None if it gets them."""
        entry = self.classes[column]
        if entry.reached:
            return None
        if entry.rule == "unmeasured":
            return f"no known cell that judges the class is absent ({entry.present} present), so no error can be seen"
        pool = sum(other.rule == "pooled" for other in self.classes)
        whose = "of the class" if entry.rule == "own" else f"of the {pool} pooled class{'es' if pool > 1 else ''}"
        if not entry.accepted:
            return (
                f"the model gives fewer than {self.min_accepted} of the known cells {whose} that it did not see a "
                f"probability of {min(_LOWEST_THRESHOLD, self.target_precision):g} or more, too few to measure a "
                "precision on"
            )
        return (
            f"the target of {self.target_precision:g} is not reached on the known cells {whose} that the model did not "
            f"see: at best {entry.correct} of {entry.accepted} are present, where the calibration expects a share of "
            f"{entry.expected:.3f}"
        )


def fit_thresholds(
    logits: ArrayLike,
    states: ArrayLike,
    class_index: ArrayLike,
    classes: Sequence[str],
    target_precision: float = 0.95,
    min_accepted: int = 10,
    min_present: int = 50,
) -> PrecisionThresholds:
    """Thresholds from the same held-out cells as `calibrate.fit_calibration`, on cross-fitted probabilities.

    A threshold is the smallest probability at which *two* readings of the held-out cells at or above it reach the
    target: the precision that was counted and the one that the calibration expects (mean probability). Counting alone
    is optimistic where few cells are accepted, because the threshold is picked where luck was good; expecting alone is
    wrong where the calibration's shape is. Both together come near the target, without a promise; the numbers stand at
    the head of this module.

    Args:
        logits: floating `[K]`, of a model that never saw these cells.
        states: `[K]` of -1 (absent) and +1 (present).
        class_index: integers `[K]` in 0..C-1.
        classes: names of the C classes.
        target_precision: above 0 and below 1.
        min_accepted: fewest held-out cells that a threshold may rest on.
        min_present: a class with at least so many held-out present cells has its own threshold, or none if it cannot
            reach the target; the others share the one of their pool, whose precision is that of the pool, not of each
            class.

    Raises:
        UsageError: a setting is out of range.
        LabelError: the arrays do not fit, or present or absent cells are missing; says what to do.
        NotFiniteError: a logit is NaN or infinite.
    """
    cells = check_held_out(logits, states, class_index, classes)
    return precision_thresholds(cells, cross_fit(cells), target_precision, min_accepted, min_present)


def precision_thresholds(
    cells: ScoredCells,
    probability: FloatArray,
    target_precision: float = 0.95,
    min_accepted: int = 10,
    min_present: int = 50,
) -> PrecisionThresholds:
    """Thresholds as in `fit_thresholds`, from held-out cells and their probabilities `[K]`.

    The probability of a cell comes from a calibration that was fitted without it.
    """
    if not 0 < target_precision < 1:
        raise UsageError(f"the target precision is {target_precision:g}; it must lie between 0 and 1, such as 0.95")
    if min_accepted < 1 or min_present < 1:
        raise UsageError(f"min_accepted is {min_accepted} and min_present {min_present}; both must be 1 or more")
    classes = cells.classes
    present, absent, _ = cells.counts
    own = cells.measurable & (present >= min_present)
    pool = cells.measurable & ~own
    by_class = np.split(np.argsort(cells.class_index, kind="stable"), np.cumsum(present + absent)[:-1])

    def choose(chosen: IntArray) -> Choice:
        return choose_threshold(probability[chosen], cells.present[chosen], target_precision, min_accepted)

    pooled = choose(np.flatnonzero(pool[cells.class_index]))
    nothing = Choice(None, 0, 0, 0.0)
    entries = []
    for column, name in enumerate(classes):
        rule: Rule = "own" if own[column] else "pooled" if pool[column] else "unmeasured"
        choice = choose(by_class[column]) if own[column] else pooled if pool[column] else nothing
        bound = precision_lower_bound(choice.correct, choice.accepted)
        entries.append(ClassThreshold(name, rule, int(present[column]), int(absent[column]), *choice, bound))
    return PrecisionThresholds(target_precision, min_accepted, min_present, tuple(entries))


def choose_threshold(probability: FloatArray, present: BoolArray, target: float, min_accepted: int) -> Choice:
    """The smallest threshold that reaches the target by count and by expectation; see `fit_thresholds`.

    Cells of equal probability are accepted or refused together. A threshold is never below 0.5 (or a target below
    that): many sure cells would otherwise pay for improbable ones.
    """
    order = np.argsort(-probability, kind="stable")
    descending = probability[order]
    last_of_equals = np.append(descending[1:] != descending[:-1], True)[: order.size]
    enough = np.arange(1, order.size + 1) >= min_accepted
    ends = np.flatnonzero(last_of_equals & enough & (descending >= min(_LOWEST_THRESHOLD, target)))
    if not ends.size:
        return Choice(None, 0, 0, 0.0)
    accepted, correct = ends + 1, np.cumsum(present[order])[ends]
    expected = np.cumsum(descending)[ends] / accepted
    reached = np.flatnonzero(np.minimum(correct / accepted, expected) >= target - _ROUNDING)
    best = reached[-1] if reached.size else np.argmax(np.minimum(correct / accepted, expected))
    threshold = float(descending[ends[best]]) if reached.size else None
    return Choice(threshold, int(accepted[best]), int(correct[best]), float(expected[best]))


def precision_lower_bound(correct: int, accepted: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a proportion (Clopper and Pearson, Biometrika 1934); 0 where nothing is correct."""
    return float(betaincinv(correct, accepted - correct + 1, 1 - confidence)) if correct else 0.0
