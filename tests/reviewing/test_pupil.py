"""What a model makes of a review, against a model fitted to labels that loops over names have put together."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from partlabel.errors import RunError
from partlabel.inference.learner import Learner
from partlabel.labels import LabelTable
from partlabel.progress import SILENT
from partlabel.recovery.value import Askable, by_value, candidates, directions_of
from partlabel.reviewing.journal import Journal
from partlabel.reviewing.pupil import Learned, Pupil
from partlabel.reviewing.session import Session
from partlabel.reviewing.source import open_subject
from partlabel.reviewing.subject import Subject
from partlabel.reviewing.verdicts import Decision
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

Data = tuple[Path, LabelTable]
Name = tuple[str, str]
PRESENT, ABSENT, UNSURE = 1, 2, 3


class Expected(NamedTuple):
    """Probabilities of (image, class), and the order by value among some cells."""

    probability: dict[Name, float]
    order: Callable[[list[str], set[Name]], list[Name]]


def _known(table: LabelTable) -> dict[Name, int]:
    dense = table.dense()
    return {
        (image, name): int(dense[row, column])
        for row, image in enumerate(table.images)
        for column, name in enumerate(table.classes)
        if dense[row, column]
    }


def _expected(run: RunFolder, root: Path, images: set[str], *said: dict[Name, int]) -> Expected:
    """A fit to what is said of the images, the last word counting; of images in the order of their names."""
    learner = Learner.open(run, sorted(images), root)
    states = {}
    for one in said:
        states |= one
    dense = np.array([[states.get((image, name), 0) for name in learner.classes] for image in learner.images])
    learner.fit(LabelTable.from_dense(learner.images, learner.classes, dense))
    probability, directions = {}, {}
    for rows, logits in learner.blocks():
        for row, of_image in zip(rows, logits, strict=True):
            for name, value in zip(learner.classes, of_image, strict=True):
                probability[learner.images[row], name] = 1 / (1 + math.exp(-value))
    for image, direction in zip(learner.images, directions_of(learner.features.numpy()), strict=True):
        directions[image] = direction

    def order(of: list[str], asked: set[Name]) -> list[Name]:
        likely = np.array([[probability[image, name] for name in learner.classes] for image in of])
        may = np.array([[(image, name) in asked for name in learner.classes] for image in of])
        found = candidates([Askable(np.arange(len(of)), likely, may)], len(learner.classes))
        rows, columns = by_value(found, (dense == 1).sum(0), np.stack([directions[image] for image in of]), 1000)
        return [(of[row], learner.classes[column]) for row, column in zip(rows, columns, strict=True)]

    return Expected(probability, order)


def _names(subject: Subject, cells: np.ndarray) -> list[Name]:
    width = len(subject.classes)
    return [(subject.images[cell // width], subject.classes[cell % width]) for cell in cells.tolist()]


def _cells(subject: Subject, verdicts: dict[Name, int]) -> dict[int, int]:
    found = {subject.cell(*name): verdict for name, verdict in verdicts.items()}
    assert None not in found
    return found  # type: ignore[return-value]


def _check(subject: Subject, learned: Learned, expected: Expected) -> None:
    """Probabilities of all cells that are told."""
    assert learned.cells.tolist() == sorted(set(learned.cells.tolist()))
    names = _names(subject, learned.cells)
    wanted = [expected.probability.get(name, math.nan) for name in names]
    np.testing.assert_allclose(learned.probability, wanted, rtol=1e-3, atol=1e-4)


def _table(tmp_path: Path, states: dict[Name, int], images: list[str], classes: list[str]) -> Path:
    words = {1: "present", -1: "absent", 0: "unknown"}
    lines = [f"{image},{name},{words[states.get((image, name), 0)]}" for image in images for name in classes]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["image,class,state", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def of_run(fitted_run: RunFolder) -> dict[Name, int]:
    """What the run was trained on."""
    return _known(fitted_run.labels())


def test_a_table_of_other_images_and_classes_in_another_order(
    tmp_path: Path, fitted_run: RunFolder, color_images: Data, of_run: dict[Name, int]
) -> None:
    """Images that the run lacks, a class that it lacks and one that the review lacks; known cells that the run lacks,
    and one that contradicts it; a picture of each that is not on the disk.
    """
    root = tmp_path / "photos"
    shutil.copytree(color_images[0], root)
    (root / "20.png").unlink()  # of the review
    (root / "00.png").unlink()  # of the run alone
    images, classes = [f"{number:02d}.png" for number in range(31, 9, -1)], ["grey", "red", "blue"]
    mine: dict[Name, int] = {("30.png", "red"): 1, ("29.png", "blue"): -1, ("12.png", "grey"): 1}
    contradicted = next(
        name for name, state in of_run.items() if state == 1 and name[0] > "11.png" and name[1] == "red"
    )
    mine[contradicted] = -1
    subject, _ = open_subject(_table(tmp_path, mine, images, classes), None, root, SILENT, {})
    pupil = Pupil(fitted_run.path, root, subject)
    there = {path.name for path in root.iterdir()}
    assert len(there) == 30
    seen = {image for image in there if image in images or image < "24.png"}
    mine_seen = [image for image in images if image in there]
    some = {("31.png", "red"): PRESENT, ("28.png", "blue"): ABSENT, ("26.png", "red"): UNSURE}
    useless = {("20.png", "red"): PRESENT, ("27.png", "grey"): PRESENT}
    for verdicts in ({}, some | useless):
        learned = pupil.learn(_cells(subject, verdicts), SILENT)
        told = {name: 1 if verdict == PRESENT else -1 for name, verdict in verdicts.items() if verdict != UNSURE}
        expected = _expected(fitted_run, root, seen, of_run, mine, told)
        _check(subject, learned, expected)
        asked = {(image, name) for image in mine_seen for name in ("red", "blue")}
        asked -= {*of_run, *mine, *verdicts}
        order = _names(subject, learned.by_value)
        assert order == expected.order(mine_seen, asked)
        assert len(order) > 5
        assert sorted(learned.by_value.tolist()) == learned.cells.tolist()


def _suggestions(tmp_path: Path, cells: list[Name]) -> Path:
    path = tmp_path / "suggestions.csv"
    lines = [
        f"{image},{name},present,recovered,{0.9 - 0.01 * place:.3f},1,own" for place, (image, name) in enumerate(cells)
    ]
    lines += [f"{image},blue,present,import,0.9,1,doubtful" for image in ("01.png", "30.png")]
    path.write_text("\n".join(["image,class,state,source,probability,logit,rule", *lines]) + "\n")
    return path


def test_of_suggestions_only_they_are_asked_and_verdicts_are_labels(
    tmp_path: Path, fitted_run: RunFolder, color_images: Data, of_run: dict[Name, int]
) -> None:
    root = color_images[0]
    suggested = [(f"{number:02d}.png", name) for number in (25, 3, 28, 31, 7, 26, 29) for name in ("green", "red")]
    suggested = [name for name in suggested if name not in of_run]
    subject, _ = open_subject(_suggestions(tmp_path, suggested), None, root, SILENT, {})
    pupil = Pupil(fitted_run.path, root, subject)
    images = {f"{number:02d}.png" for number in range(24)} | set(subject.images)

    def learned(verdicts: dict[Name, int], told: dict[Name, int]) -> Learned:
        found = pupil.learn(_cells(subject, verdicts), SILENT)
        expected = _expected(fitted_run, root, images, of_run, told)
        assert sorted(_names(subject, found.cells)) == sorted([*suggested, ("01.png", "blue"), ("30.png", "blue")])
        _check(subject, found, expected)
        open_ones = set(suggested) - set(verdicts)
        assert _names(subject, found.by_value) == expected.order(list(subject.images), open_ones)
        return found

    first = learned({}, {})
    a, b, c, d = suggested[0], suggested[3], suggested[-1], ("30.png", "blue")
    unsure = learned({a: UNSURE}, {})
    np.testing.assert_array_equal(unsure.probability, first.probability)
    told = learned({a: ABSENT, b: PRESENT, c: UNSURE, d: PRESENT}, {a: -1, b: 1, d: 1})
    assert np.abs(told.probability - first.probability).max() > 0.02
    changed = learned({a: PRESENT, b: PRESENT, d: ABSENT}, {a: 1, b: 1, d: -1})
    assert np.abs(told.probability - changed.probability).max() > 0.02
    known = next(name for name in of_run if subject.cell(*name) is not None)
    contrary = learned({known: ABSENT if of_run[known] == 1 else PRESENT}, {known: -of_run[known]})
    assert np.abs(contrary.probability - first.probability).max() > 0.001
    again = learned({}, {})  # what was taken back leaves no trace
    np.testing.assert_array_equal(again.probability, first.probability)
    assert again.by_value.tolist() == first.by_value.tolist()


def test_verdicts_that_are_taken_back_do_not_stand(tmp_path: Path, suggestions: Path, color_images: Data) -> None:
    subject, _ = open_subject(suggestions, None, color_images[0], SILENT, {})
    with Journal(tmp_path / "journal", subject) as journal:
        session = Session(subject, journal, "me", learns=True)
        session.decide("tab", [Decision(0, "present"), Decision(1, "absent")])
        session.decide("tab", [Decision(2, "unsure")])
        assert session.given() == {0: PRESENT, 1: ABSENT, 2: UNSURE}
        session.decide("tab", [Decision(1, "none"), Decision(2, "none")])
        assert session.given() == {0: PRESENT}


@pytest.mark.parametrize(
    ("images", "classes", "what"), [("99.png", "red", "pictures below"), ("01.png", "grey", "classes")]
)
def test_a_run_that_knows_nothing_of_the_review_is_refused(
    tmp_path: Path, fitted_run: RunFolder, color_images: Data, images: str, classes: str, what: str
) -> None:
    table = LabelTable.from_cells([images], [classes], [], [], [])
    subject, _ = open_subject(table, None, color_images[0], SILENT, {})
    with pytest.raises(RunError, match=f"can learn nothing here: none of the {what}"):
        Pupil(fitted_run.path, color_images[0], subject).learn({}, SILENT)
