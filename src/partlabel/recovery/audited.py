"""Suggestions that an audit releases, in place of a promise by known cells."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from partlabel.evaluation.scored_cells import FloatArray
from partlabel.labels import State
from partlabel.recovery.audit import Release
from partlabel.wording import amount

ASSUMPTION = (
    "The promise rests on verdicts on suggestions that were drawn at random, and on nothing else: it holds however "
    "labels came to be known, and whenever one stops judging. Verdicts must be true, and unsure ones count as wrong."
)


@dataclass(frozen=True)
class Audited:
    """What the verdicts of an audit allow to release.

    Args:
        names: C class names, in the order of the columns.
        state: that is suggested.
        release: by strata of the candidates.
        lowest: probability of the last candidate that is released; infinity where none is.
    """

    names: tuple[str, ...]
    state: State
    release: Release
    lowest: float

    @property
    def target_precision(self) -> float:
        """Share of the released suggestions that are right, at least."""
        return self.release.target

    @property
    def confidence(self) -> float:
        """With which that is promised."""
        return self.release.confidence

    @property
    def rules(self) -> tuple[str, ...]:
        """What each class is suggested by."""
        return ("audited",) * len(self.names)

    @property
    def values(self) -> FloatArray:
        """Thresholds, float64 `[C]`: one for all classes."""
        return np.full(len(self.names), self.lowest)

    @property
    def told(self) -> str:
        """What is released, and what is still needed."""
        return told_of(self.release)

    def of_class(self, column: int) -> dict[str, Any]:
        """JSON values of what the threshold of a class rests on: nothing of its own."""
        return {}

    def why_not(self, column: int) -> str | None:
        """Why a class gets no suggestions; None if it may get them."""
        return None if self.release.released else f"the audit has released nothing yet; {_next_step(self.release)}"

    def summary(self) -> dict[str, Any]:
        """JSON values of what is said of all classes."""
        return {
            "kind": "audited",
            "target_precision": self.target_precision,
            "confidence": self.confidence,
            "assumption": ASSUMPTION,
            "judged": int(self.release.judged.sum()),
            "right": int(self.release.right.sum()),
            "released_strata": self.release.released,
            "least_precision_of_unjudged": self.release.least_unjudged,
            "prefixes": [vars(prefix) for prefix in self.release.prefixes],
        }


def told_of(release: Release) -> str:
    """What is released, and what is still needed, as a sentence without a full stop."""
    wanted = f"at least {100 * release.target:g} % right, at {100 * release.confidence:g} % confidence"
    judged, right = int(release.judged.sum()), int(release.right.sum())
    told = f"{right:,} of {judged:,} judged suggestions are right" if judged else "nothing is judged yet"
    if release.released:
        told += f"; released: the {release.prefixes[release.released - 1].candidates:,} most probable, {wanted}"
    else:
        told += f"; nothing is released yet ({wanted})"
    return f"{told}; {_next_step(release)}"


def _next_step(release: Release) -> str:
    """Whether more verdicts would release more."""
    if release.released == len(release.prefixes):
        return "that is all of them"
    size = release.prefixes[release.next_prefix - 1].candidates
    if release.more is None:
        return f"the {size:,} most probable are not expected to be that good: a reason to stop, or to ask for less"
    more = amount(release.more, "more verdict")
    return f"about {more} may release the {size:,} most probable"
