"""Suggestions with a promise: their precision is at least the target, with a stated confidence.

Known cells that the model never saw are a sample of all cells, if cells are known by chance. At a threshold on the
probability let n of the known cells be accepted, k of them right, and M of the unknown ones. "Fewer than a share π of
the M are right" is refused where so many right ones among the n are improbable: with the most right ones that this
hypothesis allows, K = k + ⌈πM⌉ - 1 of n + M, P(X ≥ k) ≤ δ for a hypergeometric X. Each test is exact, whatever the
cells of an image have in common, because what is random is which cells are known, not what they are.

Thresholds are tested in a fixed sequence, each at the full level δ, until one is not passed (fixed-sequence testing as
in Angelopoulos et al.: Learn then test, 2021; the sequence is ours): it begins where passing is most probable by the
calibrated probabilities, which rest on other folds, and goes down from there. The last one passed is taken. That the
sequence as a whole keeps δ is proved for hypotheses that are fixed beforehand; here they are about the unknown cells,
which are what the sample leaves. There it is measured (`benchmarks/promise_simulation.py`), not proved.

Cells that were decided by another way than chance, such as suggestions that were taken or checked before, were the most
probable ones. They are of the n + M + A cells that the n are a sample of, and not of the M: their right ones are added
to K, and those that a model recovered are all taken to be right.

Where images, or classes, are known at rates of their own (`design`), n and k are those of the effective sample: fewer
by the design effect, as in Korn and Graubard (Survey Methodology 1998). A known cell then counts by how many unknown
ones of its class it stands for, and the sample is never larger than one by class of the accepted unknown cells (Kish,
Survey sampling, 1965), so that errors in classes that are hardly known weigh as much as they may. Then the promise is
approximate; `benchmarks/promise_simulation.py` shows how well it is kept.

None of this helps where being known depends on the state itself: see `audit`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells
from partlabel.labels import IntArray, State
from partlabel.recovery.design import BY_CHANCE, Design
from partlabel.recovery.hypergeometric import chance_of, least_cells, power, size_for
from partlabel.recovery.sample import Sample, Unknown

LOWEST = 0.5
"""No cell of a lower probability is suggested, unless the target is lower."""
_GROWTH = 1.15
"""Accepted known cells of a threshold, as a multiple of those of the one before."""
_MOST_VERDICTS = 100_000
ALL = "all classes"
ASSUMPTION = (
    "The promise holds if being known depends neither on the state of a cell, given its class, nor on how hard its "
    "image is: then known cells, which the models that scored them never saw, are a sample of the unknown ones. "
    "It breaks where people tag what catches the eye, or easy images first. No number of known cells can reveal that; "
    "a random audit of the suggestions can."
)


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
        groups = ((self.group(column), out) for column, out in enumerate(self.unmeasured))
        limits = [None if out or group is None else group.threshold for group, out in groups]
        return np.array([np.inf if limit is None else limit for limit in limits], np.float64)

    @cached_property
    def _by_class(self) -> dict[str, GroupPromise]:
        return {name: group for group in self.groups for name in group.classes}

    def group(self, column: int) -> GroupPromise | None:
        """The group of a class; None where it is in none."""
        return self._by_class.get(self.names[column])

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
            f"not enough to promise {wanted} (where it is not kept, chance is as good in {100 * group.chance:.1f} %)"
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
    counts = np.stack([np.bincount(cells.class_index[part], minlength=len(cells.classes)) for part in (right, ~right)])
    unmeasured = counts[1] == 0
    members = {ALL: cells.classes} if groups is None else groups
    group = np.where(unmeasured, -1, _numbers(members, cells.classes))
    samples = Sample.by_group(cells, right, probability, unknown, group, len(members), min(LOWEST, target), design)
    found = tuple(
        _tested(sample, name, tuple(classes), target, 1 - confidence)
        for (name, classes), sample in zip(members.items(), samples, strict=True)
    )
    return Promise(target, confidence, state, design, found, cells.classes, unmeasured, counts)


def _numbers(groups: Mapping[str, Sequence[str]], classes: Sequence[str]) -> IntArray:
    """The number of the group of each class, int64 `[C]`; -1 for none."""
    found: dict[str, int] = {}
    for number, members in enumerate(groups.values()):
        for name in members:
            if name in found:
                raise UsageError(f"class {name!r} is in two groups, or twice in one; a class has one promise")
            found[name] = number
    return np.array([found.get(name, -1) for name in classes], np.int64)


def _tested(sample: Sample, name: str, members: tuple[str, ...], target: float, delta: float) -> GroupPromise:
    """The lowest threshold that is passed in sequence."""
    known = _grid(sample.probability, least_cells(target, delta))
    if not known.size:
        return GroupPromise(name, members, None, 0, 0, 0, 0.0, 1.0, 0.0, _verdicts(sample, target, delta))
    limits = sample.probability[known - 1]
    unknown = np.searchsorted(-sample.unknown, -limits, side="right")
    totals = (np.cumsum(sample.probability)[known - 1], np.append(0.0, np.cumsum(sample.unknown))[unknown])
    expected = (totals[0] + totals[1]) / (known + unknown)
    sizes = [int(sample.weighted(int(n), int(m))) for n, m in zip(known, unknown, strict=True)]
    aside = [sample.aside_above(float(limit)) for limit in limits]
    powers = [
        power(n, m, share, target, delta, *apart)
        for n, m, share, apart in zip(sizes, unknown, expected, aside, strict=True)
    ]
    first = last = int(np.argmax(powers))
    passed = None
    while last < known.size:
        size, right = sample.effective(int(known[last]), int(unknown[last]), target)
        chance = chance_of(size, right, int(unknown[last]), target, *aside[last])
        if chance > delta:
            break
        passed, last = (last, size, chance), last + 1
    place, size, chance = passed or (first, *_at(sample, known[first], unknown[first], target, aside[first]))
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


def _at(sample: Sample, known: int, unknown: int, target: float, aside: tuple[int, int]) -> tuple[float, float]:
    size, right = sample.effective(int(known), int(unknown), target)
    return size, chance_of(size, right, int(unknown), target, *aside)


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


def _verdicts(sample: Sample, target: float, delta: float) -> int | None:
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
        size = size_for(float(share), target, delta, int(place), best or _MOST_VERDICTS)
        best = size if size is not None and (best is None or size < best) else best
    return best
