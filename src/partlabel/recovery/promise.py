"""Suggestions with a promise: their precision is at least the target, with a stated confidence.

Known cells that the model never saw are a sample of all cells, if cells are known by chance. At a threshold on the
probability let n of the known cells be accepted, k of them right, and M of the unknown ones. "Fewer than a share π of
the M are right" is refused where so many right ones among the n are improbable: with the most right ones that this
hypothesis allows, K = k + ⌈πM⌉ - 1 of n + M, P(X ≥ k) ≤ δ for a hypergeometric X. That is exact, whatever the cells
of an image have in common, because what is random is which cells are known, not what they are.

Thresholds are tested in a fixed sequence, each at the full level δ, until one is not passed (fixed-sequence testing as
in Angelopoulos et al.: Learn then test, 2021; the sequence is ours): it begins where passing is most probable by the
calibrated probabilities, which rest on other folds, and goes down from there. The last one passed is taken.

Where images, or classes, are known at rates of their own (`design`), n and k are those of the effective sample: fewer
by the design effect, as in Korn and Graubard (Survey Methodology 1998). Then the promise is approximate;
`benchmarks/promise_simulation.py` shows how well it is kept.

None of this helps where being known depends on the state itself: see `audit`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom, hypergeom

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells
from partlabel.labels import IntArray, State
from partlabel.recovery.design import BY_CHANCE, Design

LOWEST = 0.5
"""No cell of a lower probability is suggested, unless the target is lower."""
_GROWTH = 1.15
"""Accepted known cells of a threshold, as a multiple of those of the one before."""
_GOOD_CHANCE = 0.8
_MOST_VERDICTS = 100_000
ALL = "all classes"
ASSUMPTION = (
    "The promise holds if being known does not depend on the state of a cell, given its class and image: then known "
    "cells, which the models that scored them never saw, are a sample of the unknown ones. It breaks where people tag "
    "what catches the eye. No number of known cells can reveal that; a random audit of the suggestions can."
)


class Unknown(NamedTuple):
    """Unknown cells that may be suggested, U of them.

    Args:
        probability: float64 `[U]`, of the state that is suggested.
        class_index: int64 `[U]`.
    """

    probability: FloatArray
    class_index: IntArray


@dataclass(frozen=True)
class GroupPromise:
    """The promise for one group of classes.

    Args:
        name: of the group; that of the class where it has one of its own.
        classes: their names.
        threshold: smallest accepted probability; None without a promise. Then the numbers below are those of the
            threshold that was tried first, or all zero.
        suggested: unknown cells at or above the threshold.
        accepted: known cells at or above it.
        correct: how many of these have the state that is suggested.
        effective: size of the effective sample; that of `accepted` where cells are known by chance.
        chance: how improbable so many right ones are if the target is missed, at most.
        expected: mean calibrated probability of the unknown cells at or above the threshold.
        verdicts: without a promise, how many more known cells at or above the best threshold would have a good chance
            (four in five) of carrying it, if the probabilities are right; None where none would.
    """

    name: str
    classes: tuple[str, ...]
    threshold: float | None
    suggested: int
    accepted: int
    correct: int
    effective: float
    chance: float
    expected: float
    verdicts: int | None


@dataclass(frozen=True)
class Promise:
    """What is promised of suggestions, and by which thresholds.

    Args:
        target_precision: of the suggestions of each group.
        confidence: with which each group reaches it, over repetitions of which cells are known.
        state: that is suggested.
        design: how known cells came to be known.
        groups: of classes, each with a promise of its own.
        names: C class names, in the order of the columns.
        unmeasured: bool `[C]`; no known cell of the class has another state than the suggested one, so its errors
            cannot be seen.
        counts: known cells of each class by which the promise was tested, int64 `[2, C]`: right ones, and others.
    """

    target_precision: float
    confidence: float
    state: State
    design: Design
    groups: tuple[GroupPromise, ...]
    names: tuple[str, ...]
    unmeasured: BoolArray
    counts: IntArray

    @property
    def rules(self) -> tuple[str, ...]:
        """What each class is suggested by: "promised", or "unmeasured"."""
        return tuple("unmeasured" if out else "promised" for out in self.unmeasured)

    @property
    def values(self) -> FloatArray:
        """Thresholds, float64 `[C]`; infinity where a class gets no suggestions."""
        found = {name: group.threshold for group in self.groups for name in group.classes}
        limits = [None if out else found.get(name) for name, out in zip(self.names, self.unmeasured, strict=True)]
        return np.array([np.inf if limit is None else limit for limit in limits], np.float64)

    def group(self, column: int) -> GroupPromise | None:
        """The group of a class; None where it is in none."""
        return next((group for group in self.groups if self.names[column] in group.classes), None)

    def why_not(self, column: int) -> str | None:
        """Why a class gets no suggestions, in a sentence with numbers; None if it gets them."""
        if self.unmeasured[column]:
            other = "absent" if self.state is State.PRESENT else "present"
            return f"no known cell of the class is {other}, so that no error can be seen"
        group = self.group(column)
        if group is None:
            return "the class is in no group"
        return None if group.threshold is not None else self.missed(group)

    def missed(self, group: GroupPromise) -> str:
        """Why nothing is promised of a group."""
        wanted = f"{100 * self.target_precision:g} % at {100 * self.confidence:g} % confidence"
        least = least_cells(self.target_precision, 1 - self.confidence)
        if not group.accepted:
            return (
                f"{group.name}: fewer than {least} known cells have a probability of "
                f"{min(LOWEST, self.target_precision):g} or more, too few to promise {wanted} even if all were right"
            )
        return (
            f"{group.name}: {group.correct} of {group.accepted} known cells at the most promising threshold are right, "
            f"not enough to promise {wanted}"
        )

    def of_class(self, column: int) -> dict[str, Any]:
        """JSON values of what the threshold of a class rests on."""
        group, (right, wrong) = self.group(column), self.counts[:, column].tolist()
        known = (
            {"present": right, "absent": wrong} if self.state is State.PRESENT else {"present": wrong, "absent": right}
        )
        return {"known": known, "group": None if group is None else group.name}

    def summary(self) -> dict[str, Any]:
        """JSON values of what is said of all classes."""
        groups = [{name: value for name, value in vars(group).items() if name != "classes"} for group in self.groups]
        return {
            "kind": "promise",
            "target_precision": self.target_precision,
            "confidence": self.confidence,
            "assumption": ASSUMPTION,
            "sampled": "images" if self.design.by_image else "cells",
            "weighted_by_class": self.design.by_class,
            "groups": groups,
        }


def least_cells(target: float, delta: float) -> int:
    """Known cells without an error that a promise needs, where unknown cells are many."""
    return int(np.ceil(np.log(delta) / np.log(target) - 1e-9))


def promise_precision(
    cells: ScoredCells,
    probability: FloatArray,
    unknown: Unknown,
    target: float,
    confidence: float,
    groups: Mapping[str, Sequence[str]] | None = None,
    state: State = State.PRESENT,
    design: Design = BY_CHANCE,
) -> Promise:
    """The lowest threshold of each group at which its suggestions keep the promise.

    Args:
        cells: K known cells that the models never saw, of C classes.
        probability: float64 `[K]`, of the suggested state; no cell helped to calibrate its own.
        unknown: cells that may be suggested.
        target: precision that is promised, above 0 and below 1.
        confidence: with which it is, above 0 and below 1.
        groups: class names by group; None: all classes together.
        state: present or absent.
        design: of `design_of` the known cells.

    Raises:
        UsageError: a number is out of range, or a class is in two groups.
    """
    for name, value in (("precision", target), ("confidence", confidence)):
        if not 0 < value < 1:
            raise UsageError(f"{name} {value:g} must lie between 0 and 1, such as 0.9")
    right = cells.states == state
    columns = np.arange(len(cells.classes))
    counts = np.stack([np.bincount(cells.class_index[part], minlength=columns.size) for part in (right, ~right)])
    unmeasured = counts[1] == 0
    found = []
    for name, members in ({ALL: cells.classes} if groups is None else groups).items():
        chosen = np.isin(np.array(cells.classes, object), list(members)) & ~unmeasured
        sample = _Sample.of(cells, right, probability, unknown, chosen, min(LOWEST, target), design)
        found.append(_tested(sample, name, tuple(members), target, 1 - confidence))
    named = [name for group in found for name in group.classes]
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise UsageError(f"class {twice!r} is in two groups; a class has one promise")
    return Promise(target, confidence, state, design, tuple(found), cells.classes, unmeasured, counts)


class _Sample(NamedTuple):
    """Known and unknown cells of a group that may be accepted, each the most probable first.

    Args:
        probability: float64 `[n]`, of the known cells.
        right: bool `[n]`.
        column: int64 `[n]`, their class.
        image: int64 `[n]`, their image.
        unknown: float64 `[m]`, of the unknown cells.
        unknown_column: int64 `[m]`, their class.
        design: how the known cells came to be known.
    """

    probability: FloatArray
    right: BoolArray
    column: IntArray
    image: IntArray
    unknown: FloatArray
    unknown_column: IntArray
    design: Design

    @classmethod
    def of(
        cls,
        cells: ScoredCells,
        right: BoolArray,
        probability: FloatArray,
        unknown: Unknown,
        chosen: BoolArray,
        lowest: float,
        design: Design,
    ) -> "_Sample":
        """Of the chosen classes (bool `[C]`), from a probability on."""
        mine = np.flatnonzero(chosen[cells.class_index] & (probability >= lowest))
        mine = mine[np.argsort(-probability[mine], kind="stable")]
        theirs = np.flatnonzero(chosen[unknown.class_index] & (unknown.probability >= lowest))
        theirs = theirs[np.argsort(-unknown.probability[theirs], kind="stable")]
        image = cells.image_index[mine] if cells.image_index.size else mine
        return cls(
            probability[mine],
            right[mine],
            cells.class_index[mine],
            image,
            unknown.probability[theirs],
            unknown.class_index[theirs],
            design,
        )

    def effective(self, known: int, unknown: int, target: float) -> tuple[float, float]:
        """Size of the effective sample at a threshold, and how many of it are right.

        Args:
            known: accepted known cells.
            unknown: accepted unknown cells.
            target: precision whose refusal is tested.
        """
        right = self.right[:known].astype(np.float64)
        if not (self.design.by_image or self.design.by_class):
            return float(known), float(right.sum())
        weight = self._weights(known, unknown)
        residual = weight * (right - target)
        unit = self.image[:known] if self.design.by_image else np.arange(known)
        sums = np.bincount(np.unique(unit, return_inverse=True)[1], weights=residual)
        size = known * (weight * (right - target) ** 2).sum() / max((sums**2).sum(), 1e-12)
        size = min(size, float(known))
        return size, size * float((weight * right).sum() / weight.sum())

    def _weights(self, known: int, unknown: int) -> FloatArray:
        """Weights of the accepted known cells, of mean 1: how many accepted unknown cells of its class each stands
        for.
        """
        if not self.design.by_class or not unknown:
            return np.ones(known)
        size = int(max(self.column[:known].max(), self.unknown_column[:unknown].max())) + 1
        mine = np.bincount(self.column[:known], minlength=size)
        theirs = np.bincount(self.unknown_column[:unknown], minlength=size)
        weight = (theirs / np.maximum(mine, 1))[self.column[:known]]
        return weight * known / weight.sum() if weight.sum() else np.ones(known)


def _tested(sample: _Sample, name: str, members: tuple[str, ...], target: float, delta: float) -> GroupPromise:
    """The lowest threshold that is passed in sequence."""
    known = _grid(sample.probability, least_cells(target, delta))
    if not known.size:
        return GroupPromise(name, members, None, 0, 0, 0, 0.0, 1.0, 0.0, _verdicts(sample, target, delta))
    limits = sample.probability[known - 1]
    unknown = np.searchsorted(-sample.unknown, -limits, side="right")
    totals = (np.cumsum(sample.probability)[known - 1], np.append(0.0, np.cumsum(sample.unknown))[unknown])
    expected = (totals[0] + totals[1]) / (known + unknown)
    power = [_power(n, m, share, target, delta) for n, m, share in zip(known, unknown, expected, strict=True)]
    first = last = int(np.argmax(power))
    passed = None
    while last < known.size:
        size, right = sample.effective(int(known[last]), int(unknown[last]), target)
        chance = chance_of(size, right, int(unknown[last]), target)
        if chance > delta:
            break
        passed, last = (last, size, chance), last + 1
    place, size, chance = passed or (first, *_at(sample, known[first], unknown[first], target))
    n, m = int(known[place]), int(unknown[place])
    return GroupPromise(
        name,
        members,
        float(limits[place]) if passed else None,
        m,
        n,
        int(sample.right[:n].sum()),
        float(size),
        float(chance),
        float(totals[1][place] / m) if m else float(totals[0][place] / n),
        None if passed else _verdicts(sample, target, delta),
    )


def _at(sample: _Sample, known: int, unknown: int, target: float) -> tuple[float, float]:
    size, right = sample.effective(int(known), int(unknown), target)
    return size, chance_of(size, right, int(unknown), target)


def _grid(probability: FloatArray, least: int) -> IntArray:
    """Numbers of accepted known cells at the thresholds that are tried, ascending; cells of equal probability are
    accepted together.
    """
    counts, size = [], float(least)
    while size <= probability.size:
        counts.append(int(size))
        size = max(size * _GROWTH, size + 1)
    wanted = np.array(counts, np.int64)
    return np.unique(np.searchsorted(-probability, -probability[wanted - 1], side="right"))


def chance_of(known: float, right: float, unknown: int, target: float) -> float:
    """How probable so many right ones are, at most, if fewer than the target of the unknown cells are right.

    Args:
        known: accepted known cells; whole, or the size of an effective sample, which is rounded against the promise.
        right: how many of them are right.
        unknown: accepted unknown cells, of which the promise is made.
        target: the precision.
    """
    size = int(np.floor(known + 1e-9))
    hits = size - int(np.ceil((known - right) * size / known - 1e-9)) if size else 0
    if not unknown:
        return float(binom.sf(hits - 1, size, target))
    most = hits + int(np.ceil(target * unknown - 1e-9)) - 1
    return float(hypergeom.sf(hits - 1, size + unknown, most, size))


def _power(known: int, unknown: int, share: float, target: float, delta: float) -> float:
    """Probability of passing a test with this many known cells, if the given share of cells is right."""
    low, high = 0, int(known) + 1
    while low < high:
        middle = (low + high) // 2
        if chance_of(known, middle, unknown, target) <= delta:
            high = middle
        else:
            low = middle + 1
    return float(binom.sf(low - 1, known, share)) if low <= known else 0.0


def _verdicts(sample: _Sample, target: float, delta: float) -> int | None:
    """How many verdicts on random unknown cells above some threshold have a good chance to carry the promise; None
    where no threshold has an expected precision above the target, or they would be too many.
    """
    if not sample.unknown.size:
        return None
    expected = np.cumsum(sample.unknown) / np.arange(1, sample.unknown.size + 1)
    best = None
    for place in np.unique(np.geomspace(1, sample.unknown.size, 30).astype(np.int64)):
        share = expected[place - 1]
        if share <= target:
            continue
        size = _size_for(float(share), target, delta, min(int(place), best or _MOST_VERDICTS))
        best = size if size is not None and (best is None or size < best) else best
    return best


def _size_for(share: float, target: float, delta: float, most: int) -> int | None:
    """Smallest sample with a good chance of passing, at most `most`."""
    size = least_cells(target, delta)
    while size <= most:
        if _power(size, 10**6, share, target, delta) >= _GOOD_CHANCE:
            return size
        size = int(size * 1.1) + 1
    return None
