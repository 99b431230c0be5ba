"""What `recover` is asked for; of an audit, what it was drawn with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from partlabel.errors import UsageError
from partlabel.formats.options import ReadOptions
from partlabel.labels import LabelTable
from partlabel.opening import ReadArguments, Table
from partlabel.recovery.audit_file import AuditPlan

USUAL = 0.9
"""Precision and confidence where nobody says another one."""


class Asked(NamedTuple):
    """Options that say what is suggested; None is an option that was not given.

    Args:
        precision: of the suggestions.
        confidence: of that.
        state: that is suggested.
        folds: that are cross-fitted.
        image_labels: whether the known labels of an image inform its unknown ones.
        read: how to read the label file.
    """

    precision: float | None
    confidence: float | None
    state: Literal["present", "absent"] | None
    folds: int | None
    image_labels: bool | None
    read: ReadArguments

    @property
    def target(self) -> tuple[float, float, Literal["present", "absent"]]:
        """Precision, confidence and state, the usual ones where none were given."""
        precision, confidence = (USUAL if one is None else one for one in (self.precision, self.confidence))
        return precision, confidence, self.state or "present"

    def as_drawn(self, path: Path, plan: AuditPlan, table: Table) -> "Asked":
        """With what an audit was drawn with where nothing was given.

        Args:
            path: of the audit.
            plan: of the audit.
            table: that is read now; how a table was read counts for a file of the same name alone.

        Raises:
            UsageError: something else was given.
        """
        drawn: dict[str, Any] = {"precision": plan.target, "confidence": plan.confidence, "state": plan.word}
        if plan.evidence.get("by") in {"cross-fitting", "held-out cells"}:
            drawn["folds"] = plan.evidence.get("folds") or 0
            drawn["image_labels"] = bool(plan.evidence.get("image_labels"))
        for name, value in drawn.items():
            if getattr(self, name) not in {None, value}:
                raise _other(path, name, value, getattr(self, name))
        asked = self._replace(**drawn)
        if isinstance(table, LabelTable) or plan.read.get("table") != Path(table).name:
            return asked
        return asked._replace(read=_read_as(path, plan.read.get("options", {}), self.read))


def reading_of(table: Table, read: ReadArguments) -> dict[str, Any]:
    """JSON values: which file was read, and how."""
    return {} if isinstance(table, LabelTable) else {"table": Path(table).name, "options": _set_in(read)}


def _set_in(read: ReadArguments) -> dict[str, Any]:
    return ReadOptions.of(read).model_dump(mode="json", exclude_defaults=True)


def _read_as(path: Path, drawn: Mapping[str, Any], read: ReadArguments) -> ReadArguments:
    for name, value in _set_in(read).items():
        if value != drawn.get(name):
            raise _other(path, name, drawn.get(name), value)
    return cast(ReadArguments, {**read, **drawn})


def _other(path: Path, name: str, drawn: Any, given: Any) -> UsageError:
    option = f"--{name.replace('_', '-')}"
    before = f"without {option}" if drawn is None else f"with {option} {drawn}"
    return UsageError(f"{path} was drawn {before}, not {given}; leave {option} out, or draw another audit")
