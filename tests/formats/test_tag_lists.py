"""Tag lists, CSV and JSON Lines: names, separators, declarations and their refusals."""

import json
from pathlib import Path

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import ConflictingCell, Duplicate, SkippedRow, read_table, write_table
from partlabel.labels import LabelTable, State


def put(folder: Path, text: str, name: str = "tags.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def put_json(folder: Path, *records: object) -> Path:
    return put(folder, "".join(json.dumps(record) + "\n" for record in records), "tags.jsonl")


def test_csv(tmp_path: Path) -> None:
    path = put(tmp_path, "image,present,absent,note\nb.jpg,cat; dog ;,cow,x\na.jpg,,,\nc.jpg,cow,,y\n")
    table, report = read_table(path)
    assert (table.images, table.classes) == (("b.jpg", "a.jpg", "c.jpg"), ("cat", "dog", "cow"))
    assert table.dense().tolist() == [[1, 1, -1], [0, 0, 0], [0, 0, 1]]
    assert (report.format, report.rows_used, report.ignored_columns) == ("tag_lists", 3, ("note",))
    table = read_table(path, unlisted="absent").table
    assert table.dense().tolist() == [[1, 1, -1], [-1, -1, -1], [-1, -1, 1]]
    assert table.states.size == 4


def test_json_lines(tmp_path: Path) -> None:
    path = put_json(
        tmp_path,
        {"classes": ["cow", "cat"], "unlisted_absent": ["dog"]},
        {"image": "b.jpg", "present": ["cat"], "absent": ["cow"], "by": "me"},
        {"image": "a.jpg", "unknown": ["dog"]},
    )
    table, report = read_table(path)
    assert table.classes == ("cow", "cat", "dog")
    assert table.dense().tolist() == [[-1, 1, -1], [0, 0, 0]]
    assert report.ignored_columns == ("by",)
    assert read_table(path, unlisted="absent").table.dense().tolist() == [[-1, 1, -1], [-1, -1, 0]]


def test_csv_declarations(tmp_path: Path) -> None:
    path = put(tmp_path, "image,present,absent,unknown\n,,,cow;cat\n*,,cat,cow\na,dog,,cat\nb,,,\n")
    table = read_table(path).table
    assert table.classes == ("cow", "cat", "dog")
    assert table.dense().tolist() == [[0, 0, 1], [0, -1, 0]]
    assert read_table(path, unlisted="absent").table.background.tolist() == [0, -1, -1]


def test_separator(tmp_path: Path) -> None:
    path = put(tmp_path, "image,present,absent\na,,\nb,cat|dog,cow\n")
    with pytest.raises(LabelError, match=r"no list holds the separator ';', but line 3 holds '\|'.*--separator '\|'"):
        read_table(path)
    assert read_table(path, separator="|").table.classes == ("cat", "dog", "cow")
    assert read_table(path, separator=";").table.classes == ("cat|dog", "cow")
    path = put(tmp_path, 'image,present,absent\na,"cat, dog",cow\n')
    assert read_table(path, separator=",").table.classes == ("cat", "dog", "cow")
    path = put(tmp_path, "image,present,absent\na,cat + dog,cow\n")
    assert read_table(path, separator=" + ").table.classes == ("cat", "dog", "cow")
    for wrong in ("", '"'):
        with pytest.raises(UsageError, match="empty or holds a quote"):
            read_table(path, separator=wrong)


@pytest.mark.parametrize(
    "cell",
    ["['cat', 'big, blue dog']", '["cat", "big, blue dog"]', "('cat', 'big, blue dog')", "{'cat','big, blue dog'}"],
)
@pytest.mark.parametrize("separator", [None, ",", "|"])
def test_lists_that_a_program_wrote_as_text(tmp_path: Path, cell: str, separator: str | None) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    table = read_table(put(tmp_path, f"image,present,absent\na,{quoted},[]\n"), separator=separator).table
    assert sorted(table.classes) == ["big, blue dog", "cat"]
    assert table.dense().tolist() == [[1, 1]]


def test_a_class_that_looks_like_a_list_stays_one_where_it_is_chosen(tmp_path: Path) -> None:
    path = put(tmp_path, "image,present,absent\na,[cat],\nb,['cat'],\n")
    assert read_table(path, classes=["[cat]", "['cat']"]).table.dense().tolist() == [[1, 0], [0, 1]]


def test_repeated_images_merge_and_conflicts_name_lines(tmp_path: Path) -> None:
    path = put(tmp_path, "image,present,absent\na,cat;cat,dog\nb,cat,\na,cow,cat\n")
    with pytest.raises(LabelError, match="image 'a', class 'cat' is present on line 2 and absent on line 4"):
        read_table(path)
    table, report = read_table(path, conflicts="unknown")
    assert table.dense().tolist() == [[0, -1, 1], [1, 0, 0]]
    assert report.duplicates == (Duplicate("a", None, (2, 4)),)
    assert report.conflicts == (ConflictingCell("a", "cat", (2, 2, 4)),)
    with pytest.raises(LabelError, match="'a', class 'cat' is present on line 1 and absent on line 1"):
        read_table(put_json(tmp_path, {"image": "a", "present": ["cat"], "absent": ["cat"]}))


def test_where_ignore_and_classes(tmp_path: Path) -> None:
    csv = put(tmp_path, "image,split,present,absent\na,train,cat,\nb,test,,cow\n")
    lines = put_json(
        tmp_path,
        {"image": "a", "split": "train", "fold": 1, "present": ["cat"]},
        {"image": "b", "split": "test", "fold": 2, "absent": ["cow"]},
    )
    for path in (csv, lines):
        table, report = read_table(path, where={"split": "test"})
        assert (table.images, table.classes, report.rows_filtered) == (("b",), ("cow",), 1)
        with pytest.raises(LabelError, match="'splt'; closest: 'split'"):
            read_table(path, where={"splt": "test"})
        with pytest.raises(LabelError, match=r"--where keeps none of the 2 rows: .*values: 'test', 'train'"):
            read_table(path, where={"split": "x"})
        with pytest.raises(LabelError, match=r"line [23]: class 'cow' is not among the given classes; closest: 'cw'"):
            read_table(path, classes=["cat", "cw"])
        assert read_table(path, classes=["cow", "cat"]).table.dense().tolist() == [[0, 1], [-1, 0]]
    assert read_table(lines, where={"fold": "2"}, ignore=["absent"], classes=["z"]).table.dense().tolist() == [[0]]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,cat,\n,cat,\n", r"line 3: a row without an image declares classes.*Is the image name missing\?"),
        ("*,cat,\n", r"line 2: a row for every image \('\*'\) has only absent and unknown"),
        ("*,,cat\n", "lists no image"),
        ("a,,\n", "names no class"),
        ("a,cat\n", "line 2 has 2 cells"),
    ],
)
def test_broken_csv(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(LabelError, match=says) as caught:
        read_table(put(tmp_path, "image,present,absent\n" + rows))
    assert "tags.csv" in str(caught.value)


def test_contradictory_declarations(tmp_path: Path) -> None:
    path = put(tmp_path, "image,present,absent,unknown\n*,,cat,\n*,,,cat\na,cat,,\n")
    with pytest.raises(LabelError, match="line 3: unlisted cells of class 'cat' are declared both absent and unknown"):
        read_table(path)


def test_empty_rows_are_skipped(tmp_path: Path) -> None:
    _, report = read_table(put(tmp_path, "image,present,absent\n,,\na,cat,\n\n,,\n"))
    assert report.skipped == (SkippedRow(2, "image and lists are empty"), SkippedRow(5, "image and lists are empty"))
    assert (report.rows_read, report.rows_used) == (3, 1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no JSON object"),
        ("[1]", "line 2 is no JSON object; write for example"),
        ('{"image": 7}', 'line 2: "image" is 7; it must be a name'),
        ('{"present": ["cat"]}', 'line 2: "image" is None'),
        ('{"image": ""}', "line 2: \"image\" is ''"),
        ('{"image": "a", "present": "cat"}', "line 2: \"present\" is 'cat'; it must be a list"),
        ('{"image": "a", "present": [""]}', 'line 2: "present" is'),
        ('{"image": "a", "present": [1]}', 'line 2: "present" is'),
        ('{"image": "a", "present": null}', 'line 2: "present" is'),
        ('{"image": "a", "present": ["c"], "present": []}', "line 2: a key occurs twice"),
        ('{"image": "\\ud800"}', "line 2: the name .* is no valid Unicode"),
        ('{"classes": "cat"}', 'line 2: "classes" is'),
        ("[" * 100_000, "line 2 is no JSON object"),
    ],
)
def test_broken_json(tmp_path: Path, line: str, says: str) -> None:
    path = put(tmp_path, '{"image": "ok", "present": ["cat"]}\n' + line + "\n", "tags.jsonl")
    with pytest.raises(LabelError, match=says) as caught:
        read_table(path)
    assert "tags.jsonl" in str(caught.value)


def test_written_text(tmp_path: Path) -> None:
    table = LabelTable.from_cells(["a", "b"], ["x", "y, z"], [0, 0], [0, 1], [1, -1])
    write_table(table, tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_text() == (
        '{"image": "a", "present": ["x"], "absent": ["y, z"]}\n{"image": "b", "present": [], "absent": []}\n'
    )
    write_table(table, tmp_path / "t.csv", format="tag_lists")
    assert (tmp_path / "t.csv").read_text() == 'image,present,absent,unknown\n,,,"x;y, z;"\na,x,"y, z",\nb,,,\n'
    plain = LabelTable.from_cells(["a"], ["x", "y"], [0, 0], [0, 1], [1, -1])
    write_table(plain, tmp_path / "t.csv", format="tag_lists")
    assert (tmp_path / "t.csv").read_text() == "image,present,absent\na,x,y\n"
    declared = LabelTable.from_cells(["a"], ["x", "y"], [0], [0], [0], background=[State.ABSENT, State.UNKNOWN])
    write_table(declared, tmp_path / "t.csv", format="tag_lists", separator="|")
    assert (tmp_path / "t.csv").read_text() == "image,present,absent,unknown\n,,,x|y|\n*,,x,y\na,,,x\n"
    write_table(declared, tmp_path / "t.jsonl")
    assert json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0]) == {
        "classes": ["x", "y"],
        "unlisted_absent": ["x"],
    }


@pytest.mark.parametrize("name", ["a;b", " a", "a\u00a0"])
def test_csv_refuses_class_names_that_it_would_change(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabelError, match=r"holds the separator ';'|outer white space"):
        write_table(LabelTable.from_cells(["i"], [name], [0], [0], [1]), tmp_path / "t.csv", format="tag_lists")
    assert not list(tmp_path.iterdir())
