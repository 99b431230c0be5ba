"""`merge`: two tables made one, from files of any format, and what it refuses."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partlabel
from partlabel.cli import main
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable, Source
from partlabel.progress import SILENT
from partlabel.recovery.suggest import refuse_checked

CODES = "1=present,0=absent,=unknown"


@pytest.fixture
def tags(tmp_path: Path) -> Path:
    path = tmp_path / "tags.csv"
    path.write_text("image,cat,dog\na.jpg,1,\nb.jpg,,0\n")
    return path


def _other(folder: Path, *rows: str) -> Path:
    path = folder / "other.csv"
    path.write_text("\n".join(("image,class,state,probability", *rows)) + "\n")
    return path


def _state(table: LabelTable, image: str, name: str) -> int:
    return int(table.rows([table.image_positions[image]])[0, table.class_positions[name]])


def test_checked_suggestions_fill_unknown_cells_and_nothing_else(
    tags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _other(tmp_path, "a.jpg,dog,present,0.9", "b.jpg,cat,absent,0.8")
    out = tmp_path / "more.csv"
    monkeypatch.setattr(sys, "argv", ["partlabel", "merge", str(tags), str(other), "--codes", CODES, "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "+1 present and +1 absent cells" in capsys.readouterr().err
    merged = partlabel.read_table(out).table
    assert [_state(merged, image, name) for image in ("a.jpg", "b.jpg") for name in ("cat", "dog")] == [1, 1, -1, -1]


def test_what_neither_table_says_stays_unknown(tags: Path, tmp_path: Path) -> None:
    merged = partlabel.merge(
        tags, _other(tmp_path, "a.jpg,dog,present,0.9", "c.jpg,cow,absent,0.9"), read={"codes": CODES}
    )
    assert merged.images == ("a.jpg", "b.jpg", "c.jpg")
    assert merged.classes == ("cat", "dog", "cow")
    states = {(image, name): _state(merged, image, name) for image in merged.images for name in merged.classes}
    known = {("a.jpg", "cat"): 1, ("a.jpg", "dog"): 1, ("b.jpg", "dog"): -1, ("c.jpg", "cow"): -1}
    assert states == {cell: known.get(cell, 0) for cell in states}


def test_a_contradiction_is_refused_until_somebody_decides(tags: Path, tmp_path: Path) -> None:
    other = _other(tmp_path, "a.jpg,cat,absent,0.9")
    with pytest.raises(LabelError, match=r"1 cell.* first: class 'cat' of 'a\.jpg'; say which one is right"):
        partlabel.merge(tags, other, out=tmp_path / "more.csv", read={"codes": CODES})
    assert not (tmp_path / "more.csv").exists()
    first = partlabel.merge(tags, other, prefer="first", read={"codes": CODES})
    second = partlabel.merge(tags, other, prefer="second", read={"codes": CODES})
    assert (_state(first, "a.jpg", "cat"), _state(second, "a.jpg", "cat")) == (1, -1)


def test_suggestions_that_were_changed_are_not_written_over(tmp_path: Path) -> None:
    refuse_checked(tmp_path / "none.csv")
    found = tmp_path / "found.csv"
    found.write_text("image,class,state\n")
    with pytest.raises(UsageError, match="may hold your checks"):
        refuse_checked(found)
    (tmp_path / "found.csv.json").write_text("[]")
    with pytest.raises(UsageError, match="may hold your checks"):
        refuse_checked(found)


def test_suggestions_of_which_none_are_left_change_nothing(tags: Path, tmp_path: Path) -> None:
    merged = partlabel.merge(tags, _other(tmp_path), read={"codes": CODES})
    assert merged.hash == partlabel.read_table(tags, codes=CODES).table.hash


@pytest.mark.parametrize("out", ["tags.csv", "other.csv", "./x/../tags.csv"])
def test_what_is_read_is_never_written_over(out: str, tags: Path, tmp_path: Path) -> None:
    other = _other(tmp_path, "a.jpg,dog,present,0.9")
    (tmp_path / "x").mkdir()
    before = tags.read_bytes(), other.read_bytes()
    with pytest.raises(UsageError, match=r"is read and would be overwritten; give another file"):
        partlabel.merge(tags, other, out=tmp_path / out, read={"codes": CODES})
    if "other" not in out:
        with pytest.raises(UsageError, match="would be overwritten"):
            partlabel.hide(tags, out=tmp_path / out, ratio=0.5, read={"codes": CODES})
    assert (tags.read_bytes(), other.read_bytes()) == before


def test_a_misspelt_reading_argument_is_a_sentence(tags: Path) -> None:
    with pytest.raises(UsageError, match="read has no 'code'; it takes codes, unlisted"):
        partlabel.look(tags, read={"code": CODES})  # type: ignore[typeddict-unknown-key]


def test_names_that_look_alike_are_not_merged_in_silence(tmp_path: Path) -> None:
    def table(image: str, name: str) -> LabelTable:
        return LabelTable.from_cells([image, "z.jpg"], [name, "dog"], [0], [0], [1])

    first = table("a.jpg", "caf\u00e9")
    for image, name in (
        ("a.jpg", "Caf\u00e9"),
        ("a.jpg", " caf\u00e9"),
        ("a.jpg", "cafe\u0301"),
        ("a.jpg", "ca\u200bf\u00e9"),
        ("./a.jpg", "caf\u00e9"),
    ):
        with pytest.raises(LabelError, match=r"look alike and differ: '.*' in the first and '.*' in the second"):
            partlabel.merge(first, table(image, name))
    said: list[str] = []

    class Listening:
        def say(self, line: str) -> None:
            said.append(line)

    merged = partlabel.merge(first, table("A.jpg", "caf\u00e9"), reporter=Listening())  # type: ignore[arg-type]
    assert merged.images == ("a.jpg", "z.jpg", "A.jpg")
    assert "look alike and are kept apart, first: 'a.jpg', 'A.jpg'" in said[0]


def test_a_typo_does_not_decide_whose_labels_win(tags: Path, tmp_path: Path) -> None:
    for prefer in ("secnd", "self", "First"):
        with pytest.raises(UsageError, match=f"prefer {prefer!r} is not 'first', 'second'"):
            partlabel.merge(tags, tags, prefer=prefer, read={"codes": CODES})  # type: ignore[arg-type]


def test_suggestions_as_a_spreadsheet_saves_them(tags: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("image;class;state;source;probability\r\na.jpg;dog;present;recovered;0,98\r\n")
    merged = partlabel.merge(tags, other, read={"codes": CODES})
    assert merged.states_at([0], [merged.class_positions["dog"]]) == [1]
    assert merged.cells().sources.tolist().count(Source.RECOVERED) == 1


def test_codes_may_be_those_of_the_second_file_alone(tags: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists.csv"
    lists.write_text("image,present,absent\na.jpg,dog,\n")
    merged = partlabel.merge(lists, tags, read={"codes": CODES})
    assert merged.dense().tolist() == [[1, 1], [-1, 0]]


def test_options_of_reading_hold_for_both_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,class,state,split\n1.jpg,cat,present,train\n2.jpg,cat,absent,test\n")
    (tmp_path / "b.csv").write_text("image,class,state,split\n3.jpg,cat,present,train\n4.jpg,cat,absent,test\n")
    read: Any = {"where": {"split": "train"}}
    merged = partlabel.merge(tmp_path / "a.csv", tmp_path / "b.csv", read=read)
    assert merged.images == ("1.jpg", "3.jpg")
    for name, tag in (("c.csv", "cat|dog"), ("d.csv", "bird|fish")):
        (tmp_path / name).write_text(f"image,present,absent\n{name}.jpg,{tag},\n")
    merged = partlabel.merge(tmp_path / "c.csv", tmp_path / "d.csv", read={"separator": "|"})
    assert merged.classes == ("cat", "dog", "bird", "fish")
    for name in ("e.csv", "f.csv"):
        (tmp_path / name).write_text(f"image,cat,note\n{name}.jpg,1,seen by night\n")
    merged = partlabel.merge(tmp_path / "e.csv", tmp_path / "f.csv", read={"codes": CODES, "ignore": ["note"]})
    assert merged.classes == ("cat",)


def test_what_can_hold_for_the_first_file_alone(tmp_path: Path) -> None:
    """A declaration that nothing is left out was made for the first file; suggestions have no column split."""
    (tmp_path / "tags.csv").write_text("image,present,absent,split\n1.jpg,cat,,train\n2.jpg,dog,,train\n")
    (tmp_path / "found.csv").write_text(
        "image,class,state,probability,logit,rule,source\n3.jpg,cat,present,0.9,2,own,\n"
    )
    said: list[str] = []

    class Listening:
        def say(self, text: str) -> None:
            said.append(text)

        track = SILENT.track

    merged = partlabel.merge(
        tmp_path / "tags.csv",
        tmp_path / "found.csv",
        reporter=Listening(),
        read={"unlisted": "absent", "where": {"split": "train"}, "format": "tag_lists"},
    )
    row, dog = merged.image_positions["3.jpg"], merged.class_positions["dog"]
    assert merged.rows([row])[0, dog] == 0
    assert merged.rows([merged.image_positions["1.jpg"]])[0, dog] == -1
    assert any("found.csv has no column 'split'; --where holds for the first file alone" in text for text in said)
    cells = merged.cells()
    (place,) = np.flatnonzero((cells.image_index == row) & (cells.states > 0))
    assert cells.sources[place] == Source.RECOVERED  # the cell of its source was emptied by hand


def test_a_cell_of_one_file_may_contradict_what_follows_from_the_other(tmp_path: Path) -> None:
    relations = tmp_path / "relations.csv"
    relations.write_text("class,relation,other\ndog,implies,animal\n")
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("image,class,state\na.jpg,dog,present\nb.jpg,dog,present\n")
    second.write_text("image,class,state\na.jpg,animal,absent\n")
    read: Any = {"relations": str(relations)}
    with pytest.raises(LabelError, match="present in one table and absent in the other"):
        partlabel.merge(first, second, read=read)
    merged = partlabel.merge(first, second, read=read, prefer="second")
    assert merged.dense().tolist() == [[-1, -1], [1, 1]]
    assert merged.sources.tolist() == [Source.IMPLIED, Source.IMPORT, Source.IMPORT, Source.IMPLIED]
    assert partlabel.merge(first, second, read=read, prefer="first").dense().tolist() == [[1, 1], [1, 1]]
    assert partlabel.merge(first, second, prefer="second").dense().tolist() == [[1, -1], [1, 0]]
