"""The files of an audit: its answers, and by what it knows its own again."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partlabel.api.auditing import audit_of
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.progress import SILENT
from partlabel.recovery import audit_file
from partlabel.recovery.audit import release
from partlabel.recovery.audit_file import Audit, candidates_digest, drawn_audit, read_audit, write_audit
from partlabel.recovery.strata import Prior, Strata, plan_strata
from partlabel.recovery.suggest import Candidates
from partlabel.runs.folder import RunFolder
from partlabel.runs.settings import TrainSettings

Cell = tuple[str, str]


def candidates(
    classes: tuple[str, ...] = ("sky", "sea"), state: State = State.PRESENT, images: int = 200
) -> Candidates:
    """All cells of a table of which nothing is known."""
    table = LabelTable.from_dense([f"{n}.jpg" for n in range(images)], classes, np.zeros((images, 2), np.int8))
    rows, columns = (part.ravel() for part in np.indices((images, 2)))
    probability = np.linspace(0.99, 0.7, rows.size)
    scored, unknown = np.ones(images, bool), np.full(2, images)
    return Candidates(table, state, scored, unknown, rows, columns, probability, np.zeros(rows.size))


def written(path: Path, answers: tuple[str, ...] = (), count: int = 6, **more: Any) -> Audit:
    """An audit of the first candidates, in a file."""
    strata = plan_strata(candidates().probability, 3)
    answers = answers or ("unknown",) * count
    audit = Audit(strata, np.arange(len(answers)), answers, 0.8, 0.7)
    write_audit(path, candidates(), audit, {"by": "nothing but verdicts"}, **more)
    return audit


def cell(number: int) -> Cell:
    return f"{number // 2}.jpg", ("sky", "sea")[number % 2]


def set_states(path: Path, states: Mapping[int, str]) -> None:
    lines = path.read_text().splitlines()
    for number, state in states.items():
        lines[number + 1] = lines[number + 1].replace(",unknown,", f",{state},")
    path.write_text("\n".join(lines) + "\n")


def test_the_journal_goes_before_the_file_and_the_file_before_earlier_answers(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    written(path, ("present", "unsure", "unknown", "unknown", "unknown", "unknown"))
    set_states(path, {2: "present", 3: "present", 1: "absent"})
    journal = {cell(0): "absent", cell(3): "unsure", cell(4): "present", ("other.jpg", "sky"): "present"}
    assert read_audit(path, candidates(), {}).answers == ("present", "absent", "present", "present", *["unknown"] * 2)
    found = read_audit(path, candidates(), journal)
    assert found.answers == ("absent", "absent", "present", "unsure", "present", "unknown")
    assert found.verdicts(State.PRESENT) == [-1, -1, 1, -1, 1]
    assert found.verdicts(State.ABSENT) == [1, 1, -1, -1, -1]
    assert (found.target, found.confidence, found.asked.tolist()) == (0.8, 0.7, [0, 1, 2, 3, 4, 5])


def test_an_audit_is_of_these_candidates_alone(tmp_path: Path) -> None:
    ours = candidates()
    others = {
        "classes": candidates(("sky", "lake")),
        "order of classes": candidates(("sea", "sky")),
        "state": candidates(state=State.ABSENT),
        "images": candidates(images=199),
        "order": replace(ours, image_index=ours.image_index[::-1]),
        "columns": replace(ours, class_index=ours.class_index[::-1]),
    }
    digests = {name: candidates_digest(other) for name, other in others.items()}
    assert len({candidates_digest(ours), *digests.values()}) == len(others) + 1
    path = tmp_path / "audit.csv"
    written(path)
    for other in others.values():
        with pytest.raises(LabelError, match="drawn from other suggestions"):
            read_audit(path, other, {})
    # so that audits of this release are known by later ones
    assert candidates_digest(ours) == "d771248f987c1149641aee8748b620fe50726251bef76c475b11f9f1a73754ec"


def test_a_file_with_lines_that_were_not_drawn_or_without_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    written(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(LabelError, match=r"the line of class 'sea' of '2.jpg' is gone"):
        read_audit(path, candidates(), {})
    path.write_text("\n".join([*lines, lines[-1].replace("2.jpg", "9.jpg")]) + "\n")
    with pytest.raises(LabelError, match=r"class 'sea' of '9.jpg' is not among the cells .* bring back the two files"):
        read_audit(path, candidates(), {})
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")  # sorted by somebody
    assert read_audit(path, candidates(), {}).asked.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("later", [4, 9])
def test_writing_that_was_killed_between_the_two_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    path = tmp_path / "audit.csv"
    written(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        real = audit_file.write_json

        def killed(target: str, value: Any) -> None:
            real(target, value)
            raise KeyboardInterrupt

        patch.setattr(audit_file, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            written(path, count=later)
    assert path.read_bytes() == before
    for read in (lambda: drawn_audit(path), lambda: read_audit(path, candidates(), {})):
        with pytest.raises(LabelError, match="writing was interrupted; give the command that wrote it once more"):
            read()
    written(path, count=later)
    assert read_audit(path, candidates(), {}).asked.size == later


def run_of(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.write_config(TrainSettings(seed=4))
    return run


@pytest.mark.parametrize("prior", ["calibrated", "uniform"])
def test_a_draw_has_a_third_more_cells_than_the_release_is_expected_to_need(tmp_path: Path, prior: Prior) -> None:
    how: Any = (prior, 0.8, 0.9)
    asked, audit = audit_of(candidates(), {}, *how, 0, None, run_of(tmp_path), SILENT)
    assert audit is not None
    assert (audit.strata.prior, audit.strata.seed) == (prior, 4)
    more = release(audit.strata, [], [], 0.8, 0.9).more
    assert more is not None
    assert len(asked) == math.ceil(more * 4 / 3) > more
    asked, _ = audit_of(candidates(), {}, *how, 7, None, run_of(tmp_path), SILENT)
    assert len(asked) == 7


def test_where_no_release_is_expected_fifty_are_asked(tmp_path: Path) -> None:
    asked, _ = audit_of(candidates(images=1000), {}, "calibrated", 0.999, 0.9, 0, None, run_of(tmp_path), SILENT)
    assert len(asked) == 50


def test_rates_are_expected_by_the_calibrated_means_or_by_all_verdicts() -> None:
    judged, right = np.array([10.0, 4.0, 0.0]), np.array([9.0, 1.0, 0.0])
    means = np.array([0.9, 0.6, 0.2])
    ends = np.array([30, 60, 90])
    calibrated = Strata(ends, means, 0).expected_rates(judged, right)
    np.testing.assert_allclose(calibrated, [(18 + 9) / 30, (12 + 1) / 24, 0.2])
    uniform = Strata(ends, means, 0, "uniform").expected_rates(judged, right)
    hope = (10 + 19) / (14 + 20)
    np.testing.assert_allclose(uniform, [(20 * hope + 9) / 30, (20 * hope + 1) / 24, hope])
