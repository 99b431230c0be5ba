"""`partlabel convert` and `partlabel formats`: nothing is lost that was not given up by name."""

import sys
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image

import partlabel
from partlabel.cli import main
from partlabel.errors import LabelError, UsageError
from partlabel.formats import FORMATS, Format
from partlabel.labels import LabelTable, Source

LONG = "image,class,state,source\na.jpg,cat,present,human\na.jpg,dog,absent,review\nb.jpg,,,\n"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["partlabel", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_report_and_what_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.csv", LONG.replace(",", ";"))
    assert run(monkeypatch, "convert", path, tmp_path / "b.jsonl") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{path}: long, UTF-8; 3 rows read, 3 used",
        "  columns are separated by semicolons",
        "2 images × 2 classes: 1 present, 1 absent, 2 unknown",
        "tag_lists does not keep where labels came from, which 2 cells say",
        str(tmp_path / "b.jsonl"),
    ]
    again = partlabel.read_table(tmp_path / "b.jsonl").table
    assert again.dense().tolist() == [[1, -1], [0, 0]]
    assert path.read_text() == LONG.replace(",", ";")


@pytest.mark.parametrize("format", [one for one in FORMATS.values() if one.writes], ids=lambda one: one.name)
def test_unsure_cells_are_kept_or_said_to_be_lost(tmp_path: Path, format: Format) -> None:
    path = put(tmp_path / "a.csv", "image,class,state,source\na.jpg,cat,present,\na.jpg,dog,unknown,unsure\n")
    out = tmp_path / ("b" + (format.suffixes[0] if "file" in format.takes else ""))
    notes = partlabel.convert(path, out, to=format.name, lose=["classes"]).notes
    lost = f"{format.name} does not tell unsure from unknown: 1 cell will be asked again"
    assert (lost in notes) != format.keeps_unsure
    assert partlabel.read_table(out, format=format.name).table.unsure == format.keeps_unsure


def test_what_is_read_is_never_written_over(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", LONG)
    with pytest.raises(UsageError, match="would be overwritten"):
        partlabel.convert(path, tmp_path / "x" / ".." / "a.csv")
    with pytest.raises(UsageError, match="would be overwritten"):
        partlabel.convert(path, tmp_path / "b.csv", suggestions_out=path)
    assert path.read_text() == LONG


def test_values_and_sources_on_the_way_out(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", LONG)
    partlabel.convert(path, tmp_path / "b.csv", to="one_hot_csv", write_codes="1=present,0=absent,=unknown")
    assert (tmp_path / "b.csv").read_text() == "image,cat,dog\na.jpg,1,0\nb.jpg,,\n"
    partlabel.convert(path, tmp_path / "b.parquet")
    again = partlabel.read_table(tmp_path / "b.parquet").table
    assert again.sources.tolist() == [Source.HUMAN, Source.REVIEW]


def test_names_become_those_of_files_only_where_one_can_be_meant(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("one.JPG", "sub/two.png", "sub/three.jpg", "other/three.jpg", "four.jpg", "four.png", "Caf\u00e9.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(photos / name)
    names = ["one", "two", "three", "four", "four.jpg", "nowhere", "Cafe\u0301.jpg", "ONE.jpg"]
    table = LabelTable.from_dense(names, ["cat"], np.ones((8, 1)))
    found = partlabel.convert(table, tmp_path / "b.csv", images=photos)
    assert found.table.images == (
        "one",
        "sub/two.png",
        "three",
        "four",
        "four.jpg",
        "nowhere",
        "Caf\u00e9.jpg",
        "ONE.jpg",
    )
    assert partlabel.read_table(tmp_path / "b.csv").table.images == found.table.images
    assert "2 names became those of files" in found.notes[0]
    assert "5 images cannot be found" in found.notes[1]


def test_suggestions_go_to_formats_that_hold_them_or_aside(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", LONG)
    header = "image,class,state,source,probability,logit,rule\n"
    more = put(tmp_path / "s.csv", header + "b.jpg,cat,present,recovered,0.9,2.2,promise\n")
    with pytest.raises(UsageError, match="tag_lists does not hold suggestions"):
        partlabel.convert(path, tmp_path / "b.jsonl", suggestions=more)
    put(more, header + "c.jpg,cat,present,recovered,0.9,2.2,promise\n")
    with pytest.raises(LabelError, match=r"suggests class 'cat' for 'c\.jpg', which the labels do not have"):
        partlabel.convert(path, tmp_path / "b.xml", to="cvat", suggestions=more)
    put(more, header + "b.jpg,cat,unknown,recovered,0.9,2.2,audit\n")
    with pytest.raises(LabelError, match="if it is an audit, answer it with"):
        partlabel.convert(path, tmp_path / "b.xml", to="cvat", suggestions=more)
    put(more, "image,class,probability\nb.jpg,cat,2\n")
    with pytest.raises(LabelError, match="line 2: '2' is no probability"):
        partlabel.convert(path, tmp_path / "b.xml", to="cvat", suggestions=more)
    assert not [*tmp_path.glob("b*")]


def test_only_cells_that_nobody_decided_are_suggested(tmp_path: Path) -> None:
    """A suggestion of a known cell would come back as a verdict that nobody gave."""
    path = put(tmp_path / "a.csv", LONG)
    lines = ["b.jpg,cat,0.4", "b.jpg,cat,0.7", "b.jpg,cat,0.6", "a.jpg,cat,0.9", "a.jpg,dog,0.8"]
    more = put(tmp_path / "s.csv", "\n".join(["image,class,probability", *lines]) + "\n")
    for format, name in (("label_studio", "b.json"), ("cvat", "b.xml"), ("fiftyone", "f"), ("sidecars", "s")):
        lose = ["classes", "order"] if format == "sidecars" else []
        found = partlabel.convert(path, tmp_path / name, to=format, suggestions=more, lose=lose)
        assert [*found.suggested] == [("b.jpg", "cat", 0.6)] or [*found.suggested] == [("b.jpg", "cat", 0.7)]
        again = partlabel.read_table(tmp_path / name, format=format)
        assert [one[:2] for one in again.report.suggested] == [("b.jpg", "cat")]
        assert Source.REVIEW not in {
            source for source, state in zip(again.table.sources, again.table.states, strict=True) if state > 0
        }


def test_what_is_there_is_written_over_only_if_asked(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", LONG)
    for name in ("b.json", "b.config.xml"):
        mine = put(tmp_path / name, "mine")
        with pytest.raises(UsageError, match="is there already; name another file, or write over it with --replace"):
            partlabel.convert(path, tmp_path / "b.json", to="label_studio")
        assert mine.read_text() == "mine"
        mine.unlink()
    partlabel.convert(path, tmp_path / "b.json", to="label_studio")
    partlabel.convert(path, tmp_path / "b.json", to="label_studio", replace=True)
    with pytest.raises(UsageError, match="two things would be written"):
        partlabel.convert(path, tmp_path / "c.json", to="label_studio", suggestions_out=tmp_path / "c.json")
    rules = put(tmp_path / "r.csv", "class,relation,other\ncat,excludes,dog\n")
    with pytest.raises(UsageError, match="would be overwritten"):
        partlabel.convert(path, rules, to="long", replace=True, read={"relations": str(rules)})
    with pytest.raises(UsageError, match="would be overwritten"):
        partlabel.convert(tmp_path / "b.config.xml", tmp_path / "b.json", to="label_studio", replace=True)


def test_what_a_file_of_two_states_does_not_say(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", LONG)
    for lose in ([], ["absent", "unknown"]):
        with pytest.raises((LabelError, UsageError), match="--lose"):
            partlabel.convert(path, tmp_path / "b.json", to="coco", lose=lose)
    found = partlabel.convert(path, tmp_path / "b.json", to="coco", lose=["unknown"])
    assert any("read it with --unlisted absent, which then holds for 2 cells" in note for note in found.notes)
    found = partlabel.convert(path, tmp_path / "c.json", to="coco", lose=["absent"])
    assert not any("--unlisted" in note for note in found.notes)


def test_formats_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "formats") == 0
    said = capsys.readouterr().out
    for name, format in FORMATS.items():
        assert f"\n{name}\n" in f"\n{said}"
        assert format.states in said


def test_a_workbook(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["image", "cat", "dog", None])
    for row in (["a.jpg", 1, False, None], [7, 0.0, None, None], ["=cmd", True, 1, None]):
        book.active.append(row)
    book.active["A4"].data_type = "s"
    book.create_sheet("empty")
    book.save(tmp_path / "a.xlsx")
    codes = "1=present,0=absent,True=present,False=absent,=unknown"
    table, report = partlabel.read_table(tmp_path / "a.xlsx", codes=codes)
    assert (table.images, table.classes) == (("a.jpg", "7", "=cmd"), ("cat", "dog"))
    assert table.dense().tolist() == [[1, -1], [-1, 0], [1, 1]]
    assert (report.encoding, report.rows_read) == ("workbook", 3)
    with pytest.raises(UsageError, match=r"not written to \.xlsx files; end the name in \.csv"):
        partlabel.write_table(table, tmp_path / "b.xlsx", format="long")
    with pytest.raises(LabelError, match="line 2, column 'dog': the value 'False' has no code"):
        partlabel.read_table(tmp_path / "a.xlsx", codes="1=present,0=absent,True=present,=unknown")


def test_a_workbook_that_does_not_say_its_values(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["image", "cat"])
    book.active.append(["a.jpg", "=1+0"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(LabelError, match="row 2: cell B2 holds a formula without a stored value"):
        partlabel.read_table(tmp_path / "a.xlsx")
    book = openpyxl.Workbook()
    book.active.append(["image", "cat"])
    book.create_sheet("more").append(["image", "dog"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(LabelError, match="2 sheets with content"):
        partlabel.read_table(tmp_path / "a.xlsx")


def test_guessed_codes_are_printed_and_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.csv", "image,cat,dog\na,True,no\nb,False,?\nc,True,\n")
    assert run(monkeypatch, "look", path, "--guess-codes", "--quiet") == 3
    said = capsys.readouterr()
    assert "has no code" in said.err
    lines = said.out.splitlines()
    assert lines[0] == "'True' (2 times): present"
    assert {"'False' (once): absent", "'no' (once): absent", "'?' (once): unknown", "empty cells (once): unknown"} <= {
        *lines
    }
    codes = lines[-1].partition("--codes ")[2].strip("'")
    assert run(monkeypatch, "look", path, "--codes", codes, "--quiet") == 0
    assert "2 present, 2 absent, 2 unknown" in capsys.readouterr().out
    assert run(monkeypatch, "look", path, "--quiet") == 3
    assert "applied" not in capsys.readouterr().out
