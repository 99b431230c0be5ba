"""Data sets of Hugging Face: what `datasets` writes is read, and what is written it opens."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from partlabel.errors import LabelError
from partlabel.formats import read_table, write_table
from partlabel.labels import LabelTable, Source, State


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def cells(table: LabelTable) -> dict[str, dict[str, int]]:
    return {
        image: {name: int(state) for name, state in zip(table.classes, states, strict=True) if state}
        for image, states in zip(table.images, table.dense(), strict=True)
    }


def test_an_image_folder_with_json_lines(tmp_path: Path) -> None:
    put(
        tmp_path / "metadata.jsonl",
        lines(
            {"file_name": "b/1.jpg", "present": ["cat", "sea"], "absent": ["dog"], "caption": "a cat; at sea"},
            {"file_name": "2.jpg", "present": [], "absent": []},
            {"file_name": "3.jpg"},
            {"file_name": "4.jpg", "unsure": ["dog"]},
        ),
    )
    reading = read_table(tmp_path)
    assert reading.report.format == "hugging_face"
    assert reading.table.classes == ("cat", "sea", "dog")
    assert cells(reading.table) == {"b/1.jpg": {"cat": 1, "sea": 1, "dog": -1}, "2.jpg": {}, "3.jpg": {}, "4.jpg": {}}
    assert reading.table.open_rows([3]).tolist() == [[True, True, False]]
    complete = read_table(tmp_path, unlisted="absent").table
    assert cells(complete)["2.jpg"] == {"cat": -1, "sea": -1, "dog": -1}
    assert cells(complete)["3.jpg"] == {}, "a row without lists says that nobody looked"
    assert cells(complete)["4.jpg"] == {"cat": -1, "sea": -1}


@pytest.mark.parametrize("cell", ['"[""cat"", ""sea""]"', "cat; sea", "cat;sea;"])
def test_an_image_folder_with_csv(tmp_path: Path, cell: str) -> None:
    put(tmp_path / "metadata.csv", f"file_name,tags,year\na.jpg,{cell},2019\nb.jpg,,2020\n")
    assert cells(read_table(tmp_path).table) == {"a.jpg": {"cat": 1, "sea": 1}, "b.jpg": {}}


def test_splits_are_read_together_or_one_alone(tmp_path: Path) -> None:
    put(tmp_path / "train" / "metadata.jsonl", lines({"file_name": "a.jpg", "labels": ["cat"]}))
    put(tmp_path / "test" / "metadata.csv", "file_name,labels\na.jpg,dog\n")
    reading = read_table(tmp_path)
    assert cells(reading.table) == {"test/a.jpg": {"dog": 1}, "train/a.jpg": {"cat": 1}}
    assert "test (1), train (1); --where split=NAME chooses one" in reading.report.notes[-1]
    assert cells(read_table(tmp_path, where={"split": "train"}).table) == {"train/a.jpg": {"cat": 1}}
    with pytest.raises(LabelError, match=r"never 'val' .values: 'test', 'train'"):
        read_table(tmp_path, where={"split": "val"})
    with pytest.raises(LabelError, match="chooses a split here"):
        read_table(tmp_path, where={"year": "2019"})
    put(tmp_path / "one" / "metadata.csv", "file_name,labels\ntrain/a.jpg,cat\nval/a.jpg,dog\n")
    assert cells(read_table(tmp_path / "one", where={"split": "val"}).table) == {"val/a.jpg": {"dog": 1}}


def test_columns_have_the_names_that_the_user_says(tmp_path: Path) -> None:
    row = {"photo": "a.jpg", "seen": ["cat"], "not_seen": ["dog"], "tags": ["x"], "labels": ["y"]}
    put(tmp_path / "metadata.jsonl", lines(row))
    columns = "image=photo,present=seen,absent=not_seen"
    assert cells(read_table(tmp_path, columns=columns).table) == {"a.jpg": {"cat": 1, "dog": -1}}
    with pytest.raises(LabelError, match="several columns that may list classes, 'tags', 'labels'"):
        read_table(tmp_path, columns="image=photo")
    with pytest.raises(LabelError, match="no column file_name"):
        read_table(tmp_path)
    with pytest.raises(LabelError, match="has no column 'sen'; closest: 'seen'"):
        read_table(tmp_path, columns="image=photo,present=sen")


def test_what_datasets_writes_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    consumer("datasets_hugging_face.py", "write", tmp_path)
    wanted = {"a.jpg": {"sea": 1, "cat": 1}, "b.jpg": {}, "c.jpg": {}}
    for name in ("t.parquet", "disk", "disks"):
        reading = read_table(tmp_path / name)
        assert reading.report.format == "hugging_face", name
        assert reading.table.classes == ("sea", "dog", "cat", "never"), "as the features have them"
        assert cells(reading.table) == {one: wanted[one] for one in reading.table.images}
        assert {*reading.table.images} == {*wanted}
    assert read_table(tmp_path / "disks", where={"split": "train"}).table.images == ("a.jpg",)
    complete = cells(read_table(tmp_path / "t.parquet", unlisted="absent").table)
    assert complete["b.jpg"] == {"sea": -1, "dog": -1, "cat": -1, "never": -1}
    assert complete["c.jpg"] == {}
    assert cells(read_table(tmp_path / "hub", where={"split": "train"}, strip=f"{tmp_path}/").table) == {
        "x.jpg": {"sea": 1, "cat": 1}
    }
    with pytest.raises(LabelError, match=r"x\.jpg' is in the split 'test', too; read one of them with --where"):
        read_table(tmp_path / "hub")


def test_unsure_beside_a_list_of_tags(tmp_path: Path) -> None:
    put(tmp_path / "metadata.jsonl", lines({"file_name": "a.jpg", "tags": ["cat"], "unsure": ["dog"], "open": ["owl"]}))
    table = read_table(tmp_path).table
    assert (cells(table), table.classes, table.unsure) == ({"a.jpg": {"cat": 1}}, ("dog", "cat"), 1)
    said = read_table(tmp_path, columns="unsure=open").table
    assert (cells(said), said.classes, said.unsure) == ({"a.jpg": {"cat": 1}}, ("owl", "cat"), 1)


def test_files_without_a_column_of_what_is_unsure(tmp_path: Path) -> None:
    write_table(
        LabelTable.from_dense(["a.jpg"], ["cat", "dog"], [[1, 0]]), tmp_path / "t.parquet", format="hugging_face"
    )
    pq.write_table(pq.read_table(tmp_path / "t.parquet").drop_columns("unsure"), tmp_path / "old.parquet")
    table = read_table(tmp_path / "old.parquet").table
    assert (cells(table), table.classes) == ({"a.jpg": {"cat": 1}}, ("cat", "dog"))


def test_datasets_opens_what_is_written(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    table = LabelTable.from_cells(
        ["c.jpg", "sub/é b.jpg", "a.jpg"],
        ["sea", "a;b", "never"],
        [0, 0, 1, 2, 2],
        [1, 0, 1, 0, 1],
        [1, -1, -1, 0, 0],
        [*[Source.IMPORT] * 4, Source.UNSURE],
        background=[0, 0, State.ABSENT],
    )
    write_table(table, tmp_path / "photos", format="hugging_face")
    write_table(table, tmp_path / "t.parquet", format="hugging_face")
    for name in ("photos", "t.parquet"):
        again = read_table(tmp_path / name).table
        assert again.hash == table.hash
        assert again.open_rows([0, 1, 2]).tolist() == table.open_rows([0, 1, 2]).tolist()
    for name in table.images:
        path = tmp_path / "photos" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    rows = [
        {"image": "c.jpg", "present": ["a;b"], "absent": ["sea", "never"], "unsure": []},
        {"image": "sub/é b.jpg", "present": [], "absent": ["a;b", "never"], "unsure": []},
        {"image": "a.jpg", "present": [], "absent": ["never"], "unsure": ["a;b"]},
    ]
    kinds = ["parquet", tmp_path / "t.parquet", "imagefolder", tmp_path / "photos"]
    parquet, folder = consumer("datasets_hugging_face.py", *kinds)
    assert parquet == {"names": list(table.classes), "rows": rows}
    assert folder["names"] == list(table.classes)
    assert sorted(folder["rows"], key=lambda row: row["image"]) == sorted(rows, key=lambda row: row["image"])


def test_images_are_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.jpg", "")
    with pytest.raises(LabelError, match="copy its file beside the images"):
        write_table(LabelTable.from_dense(["a.jpg"], ["cat"], [[1]]), tmp_path / "photos", format="hugging_face")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "phrase"),
    [
        ("metadata.jsonl", '{"file_name": "a.jpg", "tags": ["cat"]}\n{"file_name"', r"line 2 is no JSON object"),
        ("metadata.jsonl", "[" * 100_000, "nested too deeply"),
        ("metadata.jsonl", '{"file_name": "a", "tags": [], "tags": ["cat"]}', "'tags' occurs twice"),
        ("metadata.jsonl", '{"file_name": "a", "tags": [NaN]}', "NaN is no number of JSON"),
        ("metadata.jsonl", '{"file_name": "a", "tags": [3]}', "3 is a number, and nothing says which class"),
        ("metadata.jsonl", '{"file_name": "a", "tags": [["cat"]]}', "is no name of a class"),
        ("metadata.jsonl", '{"file_name": "a", "tags": [""]}', "is no name of a class"),
        ("metadata.jsonl", '{"file_name": "a", "tags": [null]}', "is no name of a class"),
        ("metadata.jsonl", '{"file_name": "a", "tags": {"cat": 1}}', "is no name of a class"),
        ("metadata.jsonl", '{"file_name": ["a"], "tags": ["cat"]}', r"row 1, column 'file_name': .* is no name"),
        ("metadata.jsonl", '{"file_name": "\\ud800", "tags": ["cat"]}', "no valid Unicode"),
        (
            "metadata.jsonl",
            '{"file_name": "a", "present": ["cat"], "absent": ["cat"]}',
            "is present on row 1 and absent",
        ),
        ("metadata.csv", "file_name,tags\na,\"['cat', 'dog']\"\n", "is no JSON list"),
        ("metadata.csv", "file_name,tags,tags\na,cat,dog\n", "a column twice"),
        ("metadata.csv", "file_name,tags\na\n", "1 cell, but the header has 2"),
        ("metadata.csv", "file_name,year\na,2\n", "has no column present or absent"),
        ("metadata.csv", "a_file_name,b_file_name,tags\na,b,c\n", "several columns with names of files"),
        ("metadata.parquet", "PAR1", "cannot be read as Parquet"),
        ("dataset_info.json", "{}", "holds no table"),
        ("data-00000-of-00001.arrow", "no arrow", "cannot be read as Parquet"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, phrase: str) -> None:
    put(tmp_path / name, text)
    with pytest.raises(LabelError, match=phrase) as caught:
        read_table(tmp_path, format="hugging_face")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("features", "phrase"),
    [
        (b"{", "are no JSON"),
        (b"[" * 100_000, "are no JSON"),
        (json.dumps({"info": {"features": [1]}}).encode(), "are no mapping"),
        (json.dumps({"info": []}).encode(), "1 is a number"),
        (
            json.dumps(
                {"info": {"features": {"tags": {"_type": "Sequence", "feature": {"_type": "ClassLabel"}}}}}
            ).encode(),
            "has no names",
        ),
        (
            json.dumps({"info": {"features": {"tags": [{"_type": "ClassLabel", "names": ["a", "a"]}]}}}).encode(),
            "has a name twice",
        ),
        (
            json.dumps({"info": {"features": {"tags": [{"_type": "ClassLabel", "names": ["a"]}]}}}).encode(),
            "'1' is none of its 1 classes",
        ),
    ],
)
def test_damaged_features(tmp_path: Path, features: bytes, phrase: str) -> None:
    schema = pa.schema(
        [("file_name", pa.string()), ("tags", pa.list_(pa.int64()))], metadata={b"huggingface": features}
    )
    pq.write_table(pa.table({"file_name": ["a"], "tags": [[1]]}, schema=schema), tmp_path / "t.parquet")
    with pytest.raises(LabelError, match=phrase):
        read_table(tmp_path / "t.parquet")


def test_long_parquet_stays_long(tmp_path: Path) -> None:
    table = LabelTable.from_dense(["a.jpg"], ["cat"], [[1]])
    write_table(table, tmp_path / "long.parquet")
    assert read_table(tmp_path / "long.parquet").report.format == "long"
    pq.write_table(pa.table({"path": ["a"], "classes": [["cat"]]}), tmp_path / "lists.parquet")
    reading = read_table(tmp_path / "lists.parquet")
    assert (reading.report.format, cells(reading.table)) == ("hugging_face", {"a": {"cat": 1}})


def test_a_single_label_is_one_present_class(tmp_path: Path) -> None:
    feature = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    schema = pa.schema(
        [("file_name", pa.string()), ("label", pa.int64())], metadata={b"huggingface": json.dumps(feature)}
    )
    pq.write_table(pa.table({"file_name": ["a", "b"], "label": [1, -1]}, schema=schema), tmp_path / "t.parquet")
    assert cells(read_table(tmp_path / "t.parquet").table) == {"a": {"dog": 1}, "b": {}}
    assert cells(read_table(tmp_path / "t.parquet", unlisted="absent").table) == {"a": {"cat": -1, "dog": 1}, "b": {}}


def test_a_small_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    count = 6_000_000
    column = pa.ListArray.from_arrays(pa.array([0, count]), pa.repeat("cat", count).dictionary_encode())
    pq.write_table(pa.table({"file_name": ["a"], "tags": column}), tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < 6_000
    with pytest.raises(LabelError, match="announces 6,000,000 values"):
        read_table(tmp_path / "t.parquet")


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "metadata.csv", "file_name,tags\nsecret.jpg,secret\n")
    put(tmp_path / "here" / "train" / "metadata.csv", "file_name,tags\na.jpg,cat\n")
    os.symlink(tmp_path / "elsewhere", tmp_path / "here" / "test")
    os.symlink(tmp_path / "elsewhere" / "metadata.csv", tmp_path / "here" / "metadata.csv")
    assert read_table(tmp_path / "here").table.images == ("train/a.jpg",)
