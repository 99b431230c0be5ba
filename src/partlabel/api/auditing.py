"""An audit of suggestions: what to ask a person, and what the answers release."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from partlabel.labels import IntArray
from partlabel.progress import Reporter
from partlabel.recovery.audit import Release, needed_by, release
from partlabel.recovery.audit_file import Audit, read_audit
from partlabel.recovery.audited import Audited
from partlabel.recovery.strata import Prior, draw, plan_strata
from partlabel.recovery.suggest import Candidates, Suggestions
from partlabel.reviewing.journal import journal_beside, last_verdicts, read_journal
from partlabel.runs.folder import RunFolder

_FEWEST = 50
"""Cells to ask where no release is expected."""
_SPARE = 4 / 3
"""Cells to ask, as a multiple of those that a release is expected to need."""


def audit_of(
    candidates: Candidates,
    evidence: Mapping[str, Any],
    prior: Prior,
    precision: float,
    confidence: float,
    count: int | None,
    earlier: Path | str | None,
    run: RunFolder,
    reporter: Reporter,
) -> tuple[Suggestions, Audit | None]:
    """Draw suggestions to be judged, or release what verdicts allow.

    Args:
        candidates: what may be suggested.
        evidence: JSON values of what scored them.
        prior: whether their probabilities are calibrated, or tell nothing but an order.
        precision: to release at; of an earlier audit, its own.
        confidence: of that.
        count: how many (more) to draw; 0: as many as are expected to be needed; None: none.
        earlier: an audit with answers.
        run: whose seed orders the cells.
        reporter: where findings go.

    Returns:
        The cells asked, with their audit to be written; or what is released, and None.
    """
    if earlier is None:
        strata = plan_strata(candidates.probability, run.settings.seed, prior=prior)
        audit = Audit(strata, np.empty(0, np.int64), (), precision, confidence)
    else:
        audit = read_audit(Path(earlier), candidates, _journal(Path(earlier)))
    verdicts = audit.verdicts(candidates.state)
    found = release(audit.strata, audit.asked, verdicts, audit.target, audit.confidence)
    thresholds = _thresholds(candidates, found)
    if earlier is not None:
        reporter.say(thresholds.told)
    if count is None:
        return replace(candidates.chosen(found.kept, thresholds), evidence=evidence), None
    new = _next_cells(found, audit.asked, count)
    asked = np.concatenate([audit.asked, new])
    audit = audit._replace(asked=asked, answers=(*audit.answers, *["unknown"] * new.size))
    reporter.say(_how_to_judge(audit, candidates))
    return replace(candidates.chosen(asked, thresholds), evidence=evidence), audit


def _thresholds(candidates: Candidates, found: Release) -> Audited:
    last = found.prefixes[found.released - 1].candidates - 1 if found.released else None
    lowest = np.inf if last is None else float(candidates.probability[last])
    return Audited(candidates.table.classes, candidates.state, found, lowest)


def _next_cells(found: Release, asked: IntArray, count: int) -> IntArray:
    """Candidates to ask next: as many of each prefix as its release is expected to need and a third more, one prefix
    after the other.

    Args:
        found: what earlier verdicts allow.
        asked: what was asked before.
        count: how many; 0: those of the next release.
    """
    strata, last = found.strata, len(found.strata.ends)
    judged, right = found.judged.astype(np.float64), found.right.astype(np.float64)
    new = np.empty(0, np.int64)
    for prefix in range(found.next_prefix, last + 1):
        more = needed_by(strata, prefix, found.target, judged, right, found.confidence)
        enough = _FEWEST if more is None else math.ceil(_SPARE * more)
        left = count - new.size if count else enough
        some = draw(strata, left if more is None or prefix == last else min(enough, left), [*asked, *new], prefix)
        fresh = np.bincount(np.searchsorted(strata.ends, some, side="right"), minlength=last)
        judged, right = judged + fresh, right + fresh * strata.expected_rates(judged, right)
        new = np.concatenate([new, some])
        if not count or new.size == count:
            break
    return new


def _how_to_judge(audit: Audit, candidates: Candidates) -> str:
    wanted = f"{100 * audit.target:g} % right at {100 * audit.confidence:g} % confidence"
    open_ones = sum(answer == "unknown" for answer in audit.answers)
    return (
        f"{open_ones:,} of {len(candidates.probability):,} candidates, drawn at random, are to be judged in order; "
        f"any number of verdicts may release suggestions that are at least {wanted}: `partlabel review` the file, or "
        "set its states to present or absent, then give it as --audited"
    )


def _journal(path: Path) -> dict[tuple[str, str], str]:
    """Verdicts of the review of an audit, where there was one."""
    journal = journal_beside(path)
    return last_verdicts(read_journal(journal).records) if journal.is_file() else {}
