"""Suggestions to be judged by a person, as a file, and the verdicts in it or in the journal of a review."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from partlabel.errors import LabelError
from partlabel.files import atomic_path, file_sha256, write_json
from partlabel.formats.text import name_cell
from partlabel.labels import IntArray, State
from partlabel.recovery.strata import Strata
from partlabel.recovery.suggest import COLUMNS, Candidates
from partlabel.recovery.suggestions_file import read_suggestions

RULE = "audit"
_OPEN = "unknown"


class Audit(NamedTuple):
    """What is asked in an audit, and what was answered.

    Args:
        strata: that candidates were drawn from.
        asked: int64 `[n]`, the candidates in the order in which they are asked.
        answers: "present", "absent", "unsure" or "unknown" of each.
        target: precision that suggestions are to be released at.
        confidence: of that.
    """

    strata: Strata
    asked: IntArray
    answers: tuple[str, ...]
    target: float
    confidence: float

    def verdicts(self, state: State) -> list[int]:
        """For `release`: `State.PRESENT` for each cell with the suggested state, up to the last cell that was answered.
        What is unsure, or was passed over, counts as wrong.
        """
        answered = [number for number, answer in enumerate(self.answers) if answer != _OPEN]
        right, last = state.name.lower(), max(answered, default=-1)
        return [int(State.PRESENT if answer == right else State.ABSENT) for answer in self.answers[: last + 1]]


def candidates_digest(candidates: Candidates) -> str:
    """A hash of the candidates and their order, by which an audit knows its own again."""
    digest = hashlib.sha256(f"partlabel candidates 1 {int(candidates.state)}".encode())
    for names in (candidates.table.images, candidates.table.classes):
        digest.update("\0".join(names).encode(errors="surrogatepass") + b"\1")
    for part in (candidates.image_index, candidates.class_index):
        digest.update(np.ascontiguousarray(part, "<i8").tobytes())
    return digest.hexdigest()


def cells_digest(cells: Iterable[tuple[str, str]]) -> str:
    """A hash of cells, by image and class, in their order."""
    digest = hashlib.sha256(b"partlabel audit cells 1")
    for image, name in cells:
        digest.update(f"{image}\0{name}\1".encode(errors="surrogatepass"))
    return digest.hexdigest()


def write_audit(
    path: Path,
    candidates: Candidates,
    audit: Audit,
    evidence: Mapping[str, Any],
    read: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write the cells that are asked, in order, each with the state that was answered or unknown; and PATH.json, with
    `evidence`, what scored them, and `read`, how their table was read.

    PATH.json comes first, with the hash of the file that it is of and of the one that it replaces, so that
    `drawn_audit` knows what an interruption between the two leaves.

    Raises:
        StorageError: a file cannot be written.
    """
    table = candidates.table
    replaced = file_sha256(path) if path.is_file() else None
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(COLUMNS) + "\n")
            for place, answer in zip(audit.asked, audit.answers, strict=True):
                image = name_cell(table.images[candidates.image_index[place]])
                name = name_cell(table.classes[candidates.class_index[place]])
                state = answer if answer in {"present", "absent"} else _OPEN
                numbers = f"{candidates.probability[place]:.6f},{candidates.logit[place]:.6g}"
                file.write(f"{image},{name},{state},recovered,{numbers},{RULE}\n")
        digest = file_sha256(temporary)
        strata = audit.strata
        summary = {
            "sha256": digest,
            **({"replaces": replaced} if replaced not in {None, digest} else {}),
            "kind": "audit",
            "target_precision": audit.target,
            "confidence": audit.confidence,
            "state": candidates.state.name.lower(),
            "evidence": dict(evidence),
            "read": dict(read),
            "candidates": len(candidates.probability),
            "candidates_sha256": candidates_digest(candidates),
            "asked": audit.asked.tolist(),
            "answers": list(audit.answers),
            "cells_sha256": cells_digest(
                (table.images[candidates.image_index[place]], table.classes[candidates.class_index[place]])
                for place in audit.asked
            ),
            "strata": {
                "ends": strata.ends.tolist(),
                "means": strata.means.tolist(),
                "seed": strata.seed,
                "prior": strata.prior,
            },
        }
        write_json(f"{path}.json", summary)


class AuditPlan(NamedTuple):
    """How the cells of an audit were drawn, by the file beside it.

    Args:
        strata: that candidates were drawn from.
        asked: int64 `[n]`, the candidates in the order of the lines of the file.
        state: that is suggested.
        target: precision that suggestions are to be released at.
        confidence: of that.
        answers: given before the file was written, one for each line.
        digest: of the candidates.
        cells: hash of the cells that are asked, in order.
        evidence: JSON values of what scored the candidates.
        read: how their table was read; empty where nothing is said.
        replaces: hash of the file that this one took the place of; empty without one.
    """

    strata: Strata
    asked: IntArray
    state: State
    target: float
    confidence: float
    answers: tuple[str, ...]
    digest: str
    cells: str
    evidence: Mapping[str, Any]
    read: Mapping[str, Any]
    replaces: str

    @property
    def word(self) -> Literal["present", "absent"]:
        """The state that is suggested."""
        return "present" if self.state is State.PRESENT else "absent"


def read_audit_plan(path: Path) -> AuditPlan | None:
    """How the cells of a file were drawn; None if it is no file of an audit."""
    try:
        summary = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        drawn = summary["strata"]
        ends, means = np.array(drawn["ends"], np.int64), np.array(drawn["means"], np.float64)
        return AuditPlan(
            Strata(ends, means, int(drawn["seed"]), drawn["prior"]),
            np.array(summary["asked"], np.int64),
            State[summary["state"].upper()],
            float(summary["target_precision"]),
            float(summary["confidence"]),
            tuple(map(str, summary["answers"])),
            str(summary["candidates_sha256"]),
            str(summary["cells_sha256"]),
            dict(summary.get("evidence", {})),
            dict(summary.get("read", {})),
            str(summary.get("replaces", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def drawn_audit(path: Path) -> AuditPlan:
    """How the cells of an audit were drawn.

    Raises:
        LabelError: nothing says it, or the file is still the one that this is not of.
    """
    plan = read_audit_plan(path)
    if plan is None:
        raise LabelError(
            f"{path}.json does not say how an audit was drawn; beside a copy of an audit put its .json under this name"
        )
    if path.is_file() and file_sha256(path) == plan.replaces:
        raise LabelError(
            f"{path} is still what {path}.json replaces, because writing was interrupted; give the command that wrote "
            "it once more"
        )
    return plan


def read_audit(path: Path, candidates: Candidates, journal: Mapping[tuple[str, str], str]) -> Audit:
    """An audit with its answers.

    Args:
        path: the file that `write_audit` wrote; its states may have been changed since.
        candidates: found anew.
        journal: verdicts ("present", "absent", "unsure") by image and class, which take precedence over the file.

    Raises:
        LabelError: a file cannot be read, the two are not of one audit, or it is of other candidates.
    """
    plan = drawn_audit(path)
    if plan.digest != candidates_digest(candidates):
        raise LabelError(
            f"{path} was drawn from other suggestions than the run makes of this table now; give the run and the table "
            "of the audit (its verdicts are merged into the table after the release, not before)"
        )
    table = candidates.table
    found = {(line.image, line.class_name): line.state.name.lower() for line in read_suggestions(path)}
    cells = [
        (table.images[candidates.image_index[place]], table.classes[candidates.class_index[place]])
        for place in plan.asked
    ]
    _check_lines(path, cells, found)
    answers = [
        journal.get(cell) or (before if found[cell] == _OPEN else found[cell])
        for cell, before in zip(cells, plan.answers, strict=True)
    ]
    return Audit(plan.strata, plan.asked, tuple(answers), plan.target, plan.confidence)


def _check_lines(path: Path, cells: Sequence[tuple[str, str]], found: Collection[tuple[str, str]]) -> None:
    """Refuse a file without the cells that are asked, or with others."""
    asked = set(cells)
    gone = next((cell for cell in cells if cell not in found), None)
    strange = next((cell for cell in found if cell not in asked), None)
    if strange is not None:
        raise LabelError(
            f"{path}: class {strange[1]!r} of {strange[0]!r} is not among the cells that {path}.json says were drawn; "
            "bring back the two files of one audit, or draw another one"
        )
    if gone is not None:
        raise LabelError(
            f"{path}: the line of class {gone[1]!r} of {gone[0]!r} is gone; leave a cell that you are not sure of as "
            "unknown, and delete none"
        )
