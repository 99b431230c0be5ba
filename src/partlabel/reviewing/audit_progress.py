"""What the verdicts of an audit allow to release so far, for the page."""

from typing import Any

from partlabel.labels import IntArray
from partlabel.recovery.audit import release
from partlabel.recovery.audit_file import Audit, AuditPlan
from partlabel.recovery.audited import told_of


class AuditProgress:
    """The bound of an audit as verdicts come in.

    Args:
        plan: how the cells were drawn.
        cells: int64 `[n]`, numbers of the cells in the order in which they are asked.
    """

    def __init__(self, plan: AuditPlan, cells: IntArray) -> None:
        self.plan, self.cells = plan, cells.tolist()
        self._kept: tuple[int, dict[str, Any]] | None = None

    def __call__(self, number: int, verdicts: dict[int, str]) -> dict[str, Any]:
        """JSON values.

        Args:
            number: of the last change of a verdict.
            verdicts: by cell, "present", "absent" or "unsure".
        """
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._told(verdicts)
        return self._kept[1]

    def _told(self, verdicts: dict[int, str]) -> dict[str, Any]:
        plan = self.plan
        answers = tuple(verdicts.get(cell, before) for cell, before in zip(self.cells, plan.answers, strict=True))
        audit = Audit(plan.strata, plan.asked, answers, plan.target, plan.confidence)
        found = release(plan.strata, plan.asked, audit.verdicts(plan.state), plan.target, plan.confidence)
        judged = int(found.judged.sum())
        prefix = found.prefixes[max(found.released - 1, 0)]
        return {
            "text": told_of(found),
            "judged": judged,
            "needed": None if found.more is None else judged + found.more,
            "bound": prefix.bound,
            "target": plan.target,
            "confidence": plan.confidence,
        }
