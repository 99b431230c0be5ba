"""Headers and names with outer white space, files that are not read, and what is said of them."""

import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import FORMATS, read_table, write_table
from partlabel.formats.options import BY_ALL_FORMATS, ReadOptions
from partlabel.labels import LabelTable
from partlabel.read_arguments import ReadArguments

CODES = "1=present,0=absent,=unknown"


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(LabelError) as found:
        read_table(path, **options)  # type: ignore[arg-type]
    return str(found.value)


def put(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_space_after_every_comma_is_no_part_of_a_name(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "filename, sky, no-sky , split\na.jpg, 1, 0, train\nb.jpg, 0, 1, test\n")
    table = read_table(path, codes=CODES, where={" split": "train"}).table
    assert (table.classes, table.dense().tolist()) == (("sky", "no-sky"), [[1, -1]])
    for chosen in ("sky", " sky"):
        assert read_table(path, codes=CODES, classes=[chosen]).table.classes == ("sky",)
    path = put(tmp_path / "long.csv", "image, class, state\na.jpg, sky, 1\nb.jpg,sky ,0\n")
    assert read_table(path, codes=CODES).table.dense().tolist() == [[1], [-1]]


def test_columns_that_only_white_space_tells_apart(tmp_path: Path) -> None:
    assert "class 'sky' is in column 2 and 3" in refusal(
        put(tmp_path / "t.csv", "image,sky, sky\na,1,0\n"), codes=CODES
    )
    path = put(tmp_path / "t.csv", "image,sky,split, split\na,1,x,y\n")
    assert "'split' more than once" in refusal(path, codes=CODES, where={"split": "x"})


def test_a_class_with_outer_white_space_can_be_chosen_without(tmp_path: Path) -> None:
    path = put(tmp_path / "t.jsonl", '{"image": "a", "present": [" sky"]}\n')
    assert read_table(path).table.classes == (" sky",)
    for chosen in ("sky", " sky"):
        assert read_table(path, classes=[chosen]).table.dense().tolist() == [[1]]
    put(path, '{"image": "a", "present": [" sky", "sky "]}\n')
    assert "differ by outer white space" in refusal(path, classes=["sky"])


@pytest.mark.parametrize("format", ["long", "one_hot_csv", "tag_lists"])
def test_csv_refuses_to_write_what_it_would_strip(tmp_path: Path, format: str) -> None:
    table = LabelTable.from_cells(["a"], [" sky"], [0], [0], [1])
    with pytest.raises(LabelError, match="outer white space"):
        write_table(table, tmp_path / "t.csv", format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", "image;big, blue sky;water\na;1;0\n", "separated by ';'; save it with commas"),
        ("t.csv", "sep=,\nimage,sky\na,1\n", "note for Excel; delete that line"),
        ("t.csv", "sep=;\nimage;sky\na;1\n", "note for Excel; delete that line"),
        ("t.tsv", "image\tsky\na\t1\n", "tabs between columns are not read; save it as CSV"),
        ("t.csv", "image\tsky\na\t1\n", r"separated by '\t'"),
        ("t.csv", "image_name,tags\na,haze\n", "rename 'image_name' to 'image' and 'tags' to 'present'"),
        (
            "t.csv",
            "ImageID,Source,LabelName,Confidence\na,v,/m/1,1\n",
            "rename 'ImageID' to 'image' and 'LabelName' to 'class' and 'Confidence' to 'state'",
        ),
        ("t.jsonl", '{"image": "a", "labels": ["cat"]}\n', "rename 'labels' to 'present'"),
        ("t.json", json.dumps({"images": [{"neg_category_ids": []}], "categories": []}), "LVIS"),
        ("t.json", json.dumps({"images": [], "annotations": []}), "COCO"),
        ("t.json", "[1]", "JSON document"),
        ("t.xlsx", "PK", "spreadsheets are not read"),
    ],
)
@pytest.mark.parametrize("format", [None, "one_hot_csv"])
def test_what_is_not_read_and_what_to_do(tmp_path: Path, name: str, text: str, says: str, format: str | None) -> None:
    if format is not None and ("rename" in says or "jsonl" in name):
        return  # the user named the format, and the first column is the image
    said = refusal(put(tmp_path / name, text), format=format)
    assert says in said
    assert "--format" not in said or "rename" in said


def test_compressed_files_folders_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"image,a\n"))
    assert "is compressed; unpack it" in refusal(tmp_path / "t.csv.gz")
    assert "is a folder, not a label file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or a device" in refusal(tmp_path / "pipe")


def test_other_shapes_of_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"], "sky": [1]}), tmp_path / "wide.parquet")
    assert "one column per class is read from CSV" in refusal(tmp_path / "wide.parquet")
    pq.write_table(pa.table({"image": ["a"], "present": [["sky"]], "absent": [["x"]]}), tmp_path / "lists.parquet")
    assert "lists of names are read from JSON Lines" in refusal(tmp_path / "lists.parquet")
    pq.write_table(pa.table({"image": ["a"], "class": [["sky"]], "state": ["present"]}), tmp_path / "odd.parquet")
    assert "cannot be read as Parquet text and numbers" in refusal(tmp_path / "odd.parquet")


def test_parquet_that_is_no_text(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"\xff\xfe"]).buffers()[1:]])
    pq.write_table(pa.table({"image": bad, "class": ["x"], "state": ["present"]}), tmp_path / "t.parquet")
    assert "cannot be read as Parquet" in refusal(tmp_path / "t.parquet")


def test_parquet_of_many_equal_rows_takes_little_memory(tmp_path: Path) -> None:
    def table(rows: int, length: int) -> pa.Table:
        column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array(["x" * length]))
        return pa.table({"image": column, "class": column, "state": column})

    path = tmp_path / "t.parquet"
    pq.write_table(table(6_000_000, 10), path, compression="zstd", row_group_size=6_000_000)
    assert "lists its cells again and again" in refusal(path)
    pq.write_table(table(500_000, 100_000), path, compression="zstd")
    assert "(500,000 times)" in refusal(path)


def test_an_option_that_the_format_does_not_use_is_refused(tmp_path: Path) -> None:
    files = {
        "tag_lists": put(tmp_path / "tags.csv", "image,present,absent\na,x,\n"),
        "long": put(tmp_path / "long.csv", "image,class,state\na,x,present\n"),
        "one_hot_csv": put(tmp_path / "hot.csv", "image,x\na,present\n"),
    }
    given = {"codes": "1=present", "separator": "|", "unlisted": "absent"}
    for name, path in files.items():
        for option, value in given.items():
            if option in FORMATS[name].options:
                continue
            with pytest.raises(UsageError, match=f"{name} does not use --{option}; leave it out"):
                read_table(path, **{option: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--separator has no use"):
        read_table(put(tmp_path / "t.jsonl", '{"image": "a", "present": ["x"]}\n'), separator="|")


def test_every_option_is_declared_checked_and_used() -> None:
    assert list(ReadArguments.__annotations__) == list(ReadOptions.model_fields)
    used = BY_ALL_FORMATS.union(*(format.options for format in FORMATS.values()))
    assert used == set(ReadOptions.model_fields)


def test_a_cell_that_a_spreadsheet_would_run_is_written_as_text(tmp_path: Path) -> None:
    names = ["=1+1", "+a", "-a.jpg", "@a", "'=a", "''-b", "'a", "a=b"]
    table = LabelTable.from_cells(names, names, range(8), range(8), [1] * 8)
    for format in ("long", "one_hot_csv", "tag_lists"):
        path = tmp_path / f"{format}.csv"
        write_table(table, path, format=format)
        cells = [cell for line in path.read_text().splitlines() for cell in line.replace(";", ",").split(",")]
        assert not [cell for cell in cells if cell.lstrip('"')[:1] in {*"=+-@"}]
        assert read_table(path).table.hash == table.hash
