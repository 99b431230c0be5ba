"""One-hot CSV: what is read, selected, refused and reported."""

from pathlib import Path

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import Duplicate, SkippedRow, read_table, write_table
from partlabel.labels import LabelTable, State

CODES = "1=present,0=absent,=unknown"


def put(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_reads_states_in_file_order(tmp_path: Path) -> None:
    path = put(tmp_path, "image,dog,cat\nb.jpg,1,\na.jpg,0,1\n")
    table, report = read_table(path, codes=CODES)
    assert table.images == ("b.jpg", "a.jpg")
    assert table.classes == ("dog", "cat")
    assert table.dense().tolist() == [[1, 0], [-1, 1]]
    assert (report.format, report.encoding) == ("one_hot_csv", "UTF-8")
    assert (report.rows_read, report.rows_used, report.rows_skipped, report.duplicate_count) == (2, 2, 0, 0)


@pytest.mark.parametrize("header", ["image,cat", "File,cat", "cat,filename", "cat, PATH "])
def test_finds_the_image_column(tmp_path: Path, header: str) -> None:
    image_first = header.startswith(("image", "File"))
    path = put(tmp_path, f"{header}\n{'a.jpg,1' if image_first else '1,a.jpg'}\n")
    table = read_table(path, codes=CODES).table
    assert (table.images, table.classes, table.dense().tolist()) == (("a.jpg",), ("cat",), [[1]])


def test_takes_the_first_column_only_when_told_the_format(tmp_path: Path) -> None:
    path = put(tmp_path, "id,cat\na.jpg,1\n")
    with pytest.raises(LabelError, match=r"labels\.csv: no column is named image.*'id', 'cat'.*--format one_hot_csv"):
        read_table(path, codes=CODES)
    assert read_table(path, codes=CODES, format="one_hot_csv").table.images == ("a.jpg",)


@pytest.mark.parametrize("value", ["1", "0", "-1", "", "NaN", "1.0", "yes"])
def test_never_guesses_a_value(tmp_path: Path, value: str) -> None:
    path = put(tmp_path, f'image,dog,cat\na.jpg,present,unknown\n"b\n.jpg",absent,{value}\n')
    with pytest.raises(
        LabelError, match=rf"labels\.csv, line 3, column 'cat': .*{value or 'empty'}.*--codes '1=present,0=absent"
    ):
        read_table(path)


def test_a_code_does_not_match_other_spellings(tmp_path: Path) -> None:
    path = put(tmp_path, "image,cat\na.jpg,1.0\n")
    with pytest.raises(LabelError, match=r"line 2, column 'cat': the value '1\.0' .* '1\.0' is not '1'"):
        read_table(path, codes=CODES)
    assert read_table(path, codes="1.0=present").table.dense().tolist() == [[1]]


def test_where_ignore_and_classes(tmp_path: Path) -> None:
    path = put(tmp_path, "image,split,note,dog,cat\na,train,x,1,0\nb, test ,y,0,1\nc,train,z,0,0\n")
    table, report = read_table(path, codes=CODES, where={"split": "train"}, ignore=("note",))
    assert (table.images, table.classes) == (("a", "c"), ("dog", "cat"))
    assert (report.rows_read, report.rows_used, report.rows_filtered) == (3, 2, 1)
    assert report.ignored_columns == ("note",)
    table, report = read_table(path, codes=CODES, where={"split": "test"}, classes=["cat", "dog"])
    assert (table.images, table.classes, table.dense().tolist()) == (("b",), ("cat", "dog"), [[1, -1]])
    assert report.ignored_columns == ("note",)
    assert read_table(path, codes=CODES, classes=["cat"]).table.classes == ("cat",)
    with pytest.raises(LabelError, match=r"no class 'cart'; closest: 'cat'"):
        read_table(path, codes=CODES, classes=["cart"])
    with pytest.raises(LabelError, match=r"no column 'splt'; closest: 'split'"):
        read_table(path, codes=CODES, where={"splt": "train"})
    with pytest.raises(LabelError, match=r"no column 'notes'; closest: 'note'"):
        read_table(path, codes=CODES, ignore=["notes"])
    with pytest.raises(
        LabelError, match=r"--where keeps none of the 3 rows: .*'split' is never 'val' \(values: 'test', 'train'\)"
    ):
        read_table(path, codes=CODES, where={"split": "val"})


def test_rows_of_one_image_are_merged_and_reported(tmp_path: Path) -> None:
    path = put(tmp_path, "image,cat,dog\na,1,\nb,0,0\na,,0\na,1,\n")
    table, report = read_table(path, codes=CODES)
    assert table.images == ("a", "b")
    assert table.dense().tolist() == [[1, -1], [-1, -1]]
    assert report.duplicates == (Duplicate("a", None, (2, 4, 5)),)
    assert report.rows_used == 4


def test_conflicts(tmp_path: Path) -> None:
    path = put(tmp_path, "image,cat,dog\na,1,1\n\nb,0,0\na,1,0\n")
    with pytest.raises(
        LabelError, match=r"image 'a', class 'dog' is present on line 2 and absent on line 5.*--conflicts unknown"
    ):
        read_table(path, codes=CODES)
    table, report = read_table(path, codes=CODES, conflicts="unknown")
    assert table.dense().tolist() == [[1, 0], [-1, -1]]
    assert [tuple(cell) for cell in report.conflicts] == [("a", "dog", (2, 5))]
    assert report.conflict_count == 1


def test_empty_rows_are_skipped_and_nameless_ones_refused(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path, "image,cat\na,1\n,\n\n, \nb,0\n"), codes=CODES)
    assert table.images == ("a", "b")
    assert report.skipped == (SkippedRow(3, "all cells are empty"), SkippedRow(5, "all cells are empty"))
    assert (report.rows_read, report.rows_used, report.rows_skipped) == (4, 2, 2)
    with pytest.raises(LabelError, match="line 3: column 'image' is empty"):
        read_table(put(tmp_path, "image,cat\na,1\n,1\n"), codes=CODES)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,cat,\na,1,\n", r"column 3 has no name.*--ignore ''"),
        ("image,cat\na,1,\n", "line 2 has 3 cells, but the header has 2: a trailing comma"),
        ("image,cat\na,1\nb\n", "line 3 has 1 cell, but the header has 2: a missing comma"),
        ("image,cat,cat\na,1,1\n", "class 'cat' is in column 2 and 3"),
        ("image,cat\n", "lists no image"),
        ("image\na.jpg\n", "names no class"),
        ('image,cat\na,1\n"b,1\n', "record that starts on line 3 has a broken quoted cell"),
        ('image,cat\na,1\n"b"x,1\n', "record that starts on line 3 has a broken quoted cell"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(LabelError, match=says) as caught:
        read_table(put(tmp_path, text), codes=CODES)
    assert "labels.csv" in str(caught.value)


def test_unlisted_absent_has_no_meaning(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lists every cell, so --unlisted absent"):
        read_table(put(tmp_path, "image,cat\na,1\n"), codes=CODES, unlisted="absent")


def test_writes_with_codes_and_spells_out_a_background(tmp_path: Path) -> None:
    table = LabelTable.from_cells(
        ["a", "b"], ["x", "y"], [0, 1], [0, 0], [1, 0], background=[State.ABSENT, State.UNKNOWN]
    )
    path = tmp_path / "out.csv"
    write_table(table, path, codes=CODES, format="one_hot_csv")
    assert path.read_text() == "image,x,y\na,1,\nb,,\n"
    write_table(table, path, format="one_hot_csv")
    assert path.read_text() == "image,x,y\na,present,unknown\nb,unknown,unknown\n"
    assert read_table(path).table.hash == table.hash


@pytest.mark.parametrize("classes", [["class", "state"], ["state"], ["x", "Present"], ["present", "absent"]])
def test_refuses_names_that_look_like_another_format(tmp_path: Path, classes: list[str]) -> None:
    table = LabelTable.from_cells(["a"], classes, [0], [0], [1])
    with pytest.raises(LabelError, match="look like another format"):
        write_table(table, tmp_path / "out.csv", format="one_hot_csv")
    assert not list(tmp_path.iterdir())


def test_unsure_is_a_value_like_the_others(tmp_path: Path) -> None:
    path = put(tmp_path, "image,cat,dog\na.jpg,?,1\nb.jpg,0,Unsure\nc.jpg,?,\nc.jpg,1,?\n")
    table = read_table(path, codes=f"{CODES},?=unsure").table
    assert table.dense().tolist() == [[0, 1], [-1, 0], [1, 0]]
    unsure = ~table.open_rows([0, 1, 2]) & (table.dense() == 0)
    assert unsure.tolist() == [[True, False], [False, True], [False, True]]
    write_table(table, tmp_path / "out.csv", format="one_hot_csv", codes="1=present,0=absent,=unknown,?=unsure")
    assert (tmp_path / "out.csv").read_text() == "image,cat,dog\na.jpg,?,1\nb.jpg,0,?\nc.jpg,1,?\n"
    write_table(table, tmp_path / "out.csv", format="one_hot_csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "a.jpg,unsure,present"
