"""Suggestions, written and read back."""

from pathlib import Path

import numpy as np
import pytest

import partlabel
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.recovery import Calibration, ClassThreshold, PrecisionThresholds, Suggestions, read_suggestions, suggest

CLASSES = ("=1+1", "sea, far", "@home")
IMAGES = ("-a.jpg", 'b "c".jpg', "+d.jpg", "'=e.jpg")


def suggestions() -> Suggestions:
    table = LabelTable.from_dense(IMAGES, CLASSES, np.zeros((4, 3), np.int8))
    entries = tuple(ClassThreshold(name, "own", 9, 9, 0.4, 9, 9, 0.9, 0.8) for name in CLASSES)
    logits = np.random.default_rng(0).normal(1, 2, (4, 3))
    plain = Calibration(CLASSES, np.zeros(3), np.ones(3))
    return suggest(table, [(np.arange(4), logits)], plain, PrecisionThresholds(0.5, 1, 1, entries))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    found = suggestions()
    found.write(tmp_path / "s.csv")
    again = read_suggestions(tmp_path / "s.csv")
    assert len(again) == len(found) > 4
    for one, other in zip(found, again, strict=True):
        assert (other.image, other.class_name, other.rule, other.state) == (one.image, one.class_name, one.rule, 1)
        assert other.probability == pytest.approx(one.probability, abs=1e-6)
        assert other.logit == pytest.approx(one.logit, rel=1e-5)


def test_names_are_no_formulas_for_a_spreadsheet_and_the_same_for_a_reader(tmp_path: Path) -> None:
    import csv

    found = suggestions()
    found.write(tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert not any(cell[0] in "=+-@\t\r" for row in rows for cell in row[:2])
    table = partlabel.read_table(tmp_path / "s.csv").table
    assert {(table.images[r], table.classes[c]) for r, c in zip(*np.nonzero(table.dense()), strict=True)} == {
        (one.image, one.class_name) for one in found
    }


def test_a_check_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    suggestions().write(path)
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(",present,recovered,", ",absent,review,")
    path.write_text("\n".join(lines) + "\n")
    assert [one.state for one in read_suggestions(path)][:3] == [State.PRESENT, State.ABSENT, State.PRESENT]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.jpg,sky,maybe,recovered,0.9,1,own", "line 2: state 'maybe' is not present, absent or unknown"),
        ("a.jpg,sky,present,recovered,nan,1,own", "line 2: probability nan is not between 0 and 1"),
        ("a.jpg,sky,present,recovered,0.9,x,own", "line 2: probability '0.9' or logit 'x' is no number"),
        ("a.jpg,sky,present", "line 2: 3 cells, but there are 7 columns"),
        ('"a.jpg,sky', "has a broken quoted cell"),
    ],
)
def test_lines_that_hold_no_suggestion(line: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(f"image,class,state,source,probability,logit,rule\n{line}\n")
    with pytest.raises(LabelError, match=says):
        read_suggestions(tmp_path / "s.csv")
    (tmp_path / "other.csv").write_text("image,class,state\na.jpg,sky,present\n")
    with pytest.raises(LabelError, match="holds no suggestions"):
        read_suggestions(tmp_path / "other.csv")


def test_a_wrong_file_without_rows_is_no_list_of_suggestions(tmp_path: Path) -> None:
    table = LabelTable.from_dense(["a.jpg"], ["sky"], [[1]])
    (tmp_path / "wrong.csv").write_text("image,class,state\n")
    with pytest.raises(LabelError, match="lists no image"):
        partlabel.merge(table, tmp_path / "wrong.csv")
    (tmp_path / "none.csv").write_text("image,class,state,source,probability,logit,rule\n")
    assert partlabel.merge(table, tmp_path / "none.csv").hash == table.hash
