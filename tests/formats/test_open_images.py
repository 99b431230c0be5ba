"""Image-level labels of Open Images, as its files are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import Suggestion, read_table, write_table
from partlabel.labels import LabelTable, State

HUMAN = """ImageID,Source,LabelName,Confidence
000026e7ee790996,verification,/m/04hgtk,0
000026e7ee790996,crowdsource-verification,/m/07j7r,1
000062a39995e348,verification,/m/015p6,1
000062a39995e348,verification,/m/07j7r,0
"""
MACHINE = """ImageID,Source,LabelName,Confidence
000026e7ee790996,machine,/m/05s2s,0.9
000026e7ee790996,machine,/m/07j7r,1.0
00075905539074f2,machine,/m/04hgtk,0.5
"""


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def cells(table: LabelTable) -> dict[str, dict[str, int]]:
    return {
        image: {name: int(state) for name, state in zip(table.classes, states, strict=True) if state}
        for image, states in zip(table.images, table.dense(), strict=True)
    }


def test_answers_of_people_are_labels(tmp_path: Path) -> None:
    reading = read_table(put(tmp_path / "train-annotations-human-imagelabels.csv", HUMAN))
    assert reading.report.format == "open_images"
    assert reading.table.classes == ("/m/04hgtk", "/m/07j7r", "/m/015p6")
    assert cells(reading.table) == {
        "000026e7ee790996": {"/m/04hgtk": -1, "/m/07j7r": 1},
        "000062a39995e348": {"/m/07j7r": -1, "/m/015p6": 1},
    }
    assert reading.report.rows_read == 4
    assert reading.report.notes == ("labels by source: verification (3), crowdsource-verification (1)",)


def test_what_a_model_says_is_no_label_whatever_its_confidence(tmp_path: Path) -> None:
    text = MACHINE + "00075905539074f2,verification,/m/05s2s,1\n"
    reading = read_table(put(tmp_path / "oidv6-train-annotations-machine-imagelabels.csv", text))
    assert cells(reading.table) == {"000026e7ee790996": {}, "00075905539074f2": {"/m/05s2s": 1}}
    assert [*reading.report.suggested] == [
        Suggestion("000026e7ee790996", "/m/05s2s", 0.9),
        Suggestion("000026e7ee790996", "/m/07j7r", 1.0),
        Suggestion("00075905539074f2", "/m/04hgtk", 0.5),
    ]
    assert "3 rows of a model: suggestions, no labels" in reading.report.notes
    alone = read_table(put(tmp_path / "no-source.csv", "ImageID,LabelName,Confidence\na,/m/1,0.25\na,/m/2,1\n"))
    assert cells(alone.table) == {"a": {"/m/2": 1}}
    assert [*alone.report.suggested] == [Suggestion("a", "/m/1", 0.25)]


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n"])
def test_descriptions_beside_the_file_give_words_and_their_order(tmp_path: Path, header: str) -> None:
    path = put(tmp_path / "human.csv", HUMAN + "000062a39995e348,verification,/m/0new,1\n")
    words = '/m/015p6,Bird\n/m/0unused,Unused\n/m/07j7r,"Tree, big"\n/m/04hgtk,Bird\n'
    put(tmp_path / "oidv7-class-descriptions.csv", header + words)
    reading = read_table(path)
    assert reading.table.classes == ("Bird (/m/015p6)", "Tree, big", "Bird (/m/04hgtk)", "/m/0new")
    assert cells(reading.table) == {
        "000026e7ee790996": {"Bird (/m/04hgtk)": -1, "Tree, big": 1},
        "000062a39995e348": {"Bird (/m/015p6)": 1, "Tree, big": -1, "/m/0new": 1},
    }
    assert "1 are not described, such as '/m/0new'" in reading.report.notes[-1]
    assert read_table(path, classes=["Tree, big"]).table.dense().tolist() == [[1], [-1]]
    with pytest.raises(LabelError, match="has no class 'Tree'; closest: 'Tree, big'"):
        read_table(path, classes=["Tree"])


def test_suggestions_have_words_too(tmp_path: Path) -> None:
    put(tmp_path / "class-descriptions.csv", "/m/05s2s,Plant\n/m/0unused,Unused\n/m/04hgtk,Head\n")
    reading = read_table(put(tmp_path / "machine.csv", MACHINE))
    assert reading.table.classes == ("Plant", "Head", "/m/07j7r")
    assert [one.class_name for one in reading.report.suggested] == ["Plant", "/m/07j7r", "Head"]


def test_descriptions_elsewhere_are_not_read(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "c.csv", "/m/07j7r,Tree\n")
    path = put(tmp_path / "here" / "human.csv", HUMAN)
    (tmp_path / "here" / "class-descriptions.csv").symlink_to(tmp_path / "elsewhere" / "c.csv")
    assert "/m/07j7r" in read_table(path).table.classes


def test_rows_are_chosen_by_source(tmp_path: Path) -> None:
    reading = read_table(put(tmp_path / "t.csv", HUMAN), where={"Source": "crowdsource-verification"})
    assert cells(reading.table) == {"000026e7ee790996": {"/m/07j7r": 1}}
    assert reading.report.rows_filtered == 3


@pytest.mark.parametrize(
    ("rows", "phrase"),
    [
        ("a,verification,/m/1,2\n", "line 2: '2' is no confidence"),
        ("a,verification,/m/1,1\na,verification,/m/2,nan\n", "line 3: 'nan' is no confidence"),
        ("a,verification,/m/1,\n", "line 2: '' is no confidence"),
        ("a,verification,/m/1,-0.1\n", "line 2: '-0.1' is no confidence"),
        (",verification,/m/1,1\n", "line 2: '' is no image"),
        ("*,verification,/m/1,1\n", "line 2: '.' is no image"),
        ("a,verification, ,1\n", "line 2: ' ' is no class"),
        ("a,verification,/m/1\n", "3 cells, but the header has 4"),
        ("a,verification,/m/1,1\na,verification,/m/1,0\n", "is present on line 2 and absent on line 3"),
        ("", "lists no image"),
        ('a,verification,"/m/1,1\n', "broken quoted cell"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, rows: str, phrase: str) -> None:
    with pytest.raises(LabelError, match=phrase) as caught:
        read_table(put(tmp_path / "t.csv", "ImageID,Source,LabelName,Confidence\n" + rows))
    assert "t.csv" in str(caught.value)


def test_damaged_descriptions_and_another_file(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", HUMAN)
    put(tmp_path / "class-descriptions.csv", "/m/1,Bird,Vogel\n")
    with pytest.raises(LabelError, match=r"class-descriptions\.csv, line 1 has 3 cells"):
        read_table(path)
    with pytest.raises(LabelError, match="has no column 'ImageID'"):
        read_table(put(tmp_path / "other.csv", "image,cat\na,1\n"), format="open_images")
    with pytest.raises(UsageError, match="does not use --unlisted"):
        read_table(path, unlisted="absent")


def test_only_this_format_claims_the_header(tmp_path: Path) -> None:
    assert read_table(put(tmp_path / "a" / "t.csv", HUMAN)).report.format == "open_images"
    assert read_table(put(tmp_path / "b" / "t.csv", "image,class,state\na,cat,present\n")).report.format == "long"


def test_what_has_no_known_cell_is_lost(tmp_path: Path) -> None:
    table = LabelTable.from_cells(["a", "b", "c"], ["x", "y", "z"], [0, 2], [1, 0], [1, -1])
    with pytest.raises(LabelError) as caught:
        write_table(table, tmp_path / "t.csv", format="open_images")
    assert "--lose images --lose classes --lose order" in str(caught.value)
    complete = LabelTable.from_cells(["a", "b"], ["x", "y"], [0, 1, 1], [1, 0, 1], [1, 0, 1], background=State.ABSENT)
    write_table(complete, tmp_path / "t.csv", format="open_images")
    assert (tmp_path / "t.csv").read_text() == (
        "ImageID,Source,LabelName,Confidence\na,verification,x,0\na,verification,y,1\nb,verification,y,1\n"
    )
    assert read_table(tmp_path / "t.csv").table.hash == complete.hash


def test_datumaro_reads_what_we_write_and_the_reverse(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    table = LabelTable.from_dense(["a", "b c"], ["cat", "sea, blue"], [[1, -1], [0, 1]])
    put(tmp_path / "mine" / "annotations" / "class-descriptions.csv", 'cat,Cat\n"sea, blue",Sea\n')
    put(tmp_path / "mine" / "images" / "train" / "none.txt", "")
    target = tmp_path / "mine" / "annotations" / "train-annotations-human-imagelabels.csv"
    write_table(table, target, format="open_images")
    assert consumer("datumaro_open_images.py", "read", tmp_path / "mine") == {
        "a": {"cat": 1.0, "sea, blue": 0.0},
        "b c": {"sea, blue": 1.0},
    }
    consumer("datumaro_open_images.py", "write", tmp_path / "theirs")
    reading = read_table(next((tmp_path / "theirs" / "annotations").glob("*-human-imagelabels.csv")))
    assert cells(reading.table) == {"a": {"cat": 1, "dog": -1}, "b": {"dog": 1}}
    assert [*reading.report.suggested] == [Suggestion("b", "sea", 0.7)]
