"""Texts that a program wrote for a value it could not write never become names, whatever the format."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partlabel.errors import LabelError
from partlabel.formats import read_table, read_written, write_table
from partlabel.labels import LabelTable

TEXTS = ["nan", "None", "NULL", "N/A", "[]", "['cat', 'dog']", '["cat"]', '{"choices": ["sky", "water"]}', "('cat',)"]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def refused(path: Path, line: int | None, **options: object) -> str:
    with pytest.raises(LabelError) as found:
        read_table(path, **options)  # type: ignore[arg-type]
    said = str(found.value)
    assert str(path) in said
    assert line is None or f"line {line}" in said or f"row {line}" in said
    assert "--separator" not in said
    return said


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("separator", [None, ",", "|"])
def test_tag_cells(tmp_path: Path, text: str, separator: str | None) -> None:
    path = tmp_path / "t.csv"
    if text not in {"[]", "['cat', 'dog']", '["cat"]', "('cat',)"}:  # lists are read here, tested with tag lists
        refuse_tag_cells(path, text, separator)
    path.write_text(f"image,present,absent\na.jpg,dog,\n{quoted(text)},cat,cow\n")
    assert "names no image" in refused(path, 3)


def refuse_tag_cells(path: Path, text: str, separator: str | None) -> None:
    path.write_text(f"image,present,absent\na.jpg,dog,\nb.jpg,{quoted(text)},cow\n")
    assert "names no class" in refused(path, 3, separator=separator)
    path.write_text(f"image,present,absent\na.jpg,dog,\nb.jpg,,{quoted(text)}\n")
    assert "names no class" in refused(path, 3, separator=separator)


@pytest.mark.parametrize("text", TEXTS)
def test_json_lines(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.jsonl"
    for row in ({"image": "b", "present": ["cat", text]}, {"image": "b", "absent": [text]}, {"classes": [text]}):
        path.write_text('{"image": "a", "present": ["cat"]}\n' + json.dumps(row) + "\n")
        assert "names no class" in refused(path, 2)
    path.write_text(json.dumps({"image": text, "present": ["cat"]}) + "\n")
    assert "names no image" in refused(path, 1)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_long_files(tmp_path: Path, text: str, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    for image, name, what in (("b", text, "names no class"), (text, "cat", "names no image")):
        if suffix == ".csv":
            path.write_text(f"image,class,state\na,dog,present\n{quoted(image)},{quoted(name)},absent\n")
        else:
            columns = {"image": ["a", image], "class": ["dog", name], "state": ["present", "absent"]}
            pq.write_table(pa.table(columns), path)
        assert what in refused(path, 3 if suffix == ".csv" else 2)


def test_numbers_that_are_no_name_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [1.5, float("nan")], "class": ["x", "x"], "state": ["present"] * 2}), path)
    assert "'nan' stands for a missing value and names no image" in refused(path, 2)


@pytest.mark.parametrize("text", TEXTS)
def test_one_hot_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"image,{quoted(text)},cat\na,present,absent\n")
    assert "column 2" in refused(path, None)
    path.write_text(f"image,cat\na,present\n{quoted(text)},absent\n")
    assert "names no image" in refused(path, 3)


def test_a_class_that_is_really_called_so_can_be_listed(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,present,absent\na.jpg,None;cat,\n")
    assert read_table(path, classes=["None", "cat"]).table.classes == ("None", "cat")
    path.write_text("image,None,cat\na.jpg,present,absent\n")
    assert read_table(path, classes=["None", "cat"]).table.dense().tolist() == [[1, -1]]


def test_a_table_that_was_accepted_is_read_back(tmp_path: Path) -> None:
    table = LabelTable.from_cells(["nan", "[]"], ["None", " x"], [0, 1], [0, 1], [1, -1])
    write_table(table, tmp_path / "t.parquet")
    assert read_written(tmp_path / "t.parquet").hash == table.hash
