"""Headers and names with outer white space, files that are not read, and what is said of them."""

import gzip
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
        ("t.csv", "image_name,tags\na,haze\n", "--columns image=image_name,present=tags"),
        ("t.csv", "img,lbl,val\na,/m/1,1\n", "--columns image=img"),
        ("t.csv", "ImageID,category,value\na,/m/1,1\n", "--columns image=ImageID,class=category,state=value"),
        ("t.jsonl", '{"image": "a", "labels": ["cat"]}\n', "--columns present=labels"),
        ("t.xls", "PK", "old workbooks are not read"),
        ("t.xlsx", "PK", "is no workbook"),
    ],
)
def test_what_is_not_read_and_what_to_do(tmp_path: Path, name: str, text: str, says: str) -> None:
    assert says in refusal(put(tmp_path / name, text))


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("t.csv", "image;big, blue sky;water\na;1;0\n", "semicolons"),
        ("t.csv", "sep=;\nimage;big, blue sky;water\na;1;0\n", "semicolons"),
        ("t.csv", "SEP=,\r\nimage,'big, blue sky',water\r\na,1,0\r\n".replace("'", '"'), None),
        ("t.tsv", "image\tbig, blue sky\twater\na\t1\t0\n", "tabs"),
        ("t.csv", "image\tbig, blue sky\twater\na\t1\t0\n", "tabs"),
        ("t.csv", "image|big, blue sky|water\na|1|0\n", "bars"),
    ],
)
@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_whatever_stands_between_columns(tmp_path: Path, name: str, text: str, note: str | None, codec: str) -> None:
    (tmp_path / name).write_bytes(text.encode(codec))
    table, report = read_table(tmp_path / name, codes=CODES)
    assert table.classes == ("big, blue sky", "water")
    assert table.dense().tolist() == [[1, -1]]
    assert report.notes == (() if note is None else (f"columns are separated by {note}",))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("preamble", ["", "sep={}\n"])
def test_lines_are_counted_from_the_top_of_the_file(tmp_path: Path, mark: str, preamble: str) -> None:
    """Long files go through another reader, which must find the same columns and name the same lines."""
    rows = [["image", "class", "state"], ["a", "cat", "1"], ["b", "cat", "0"], ["a", "cat", "0"]]
    text = preamble.format(mark) + "".join(mark.join(row) + "\n" for row in rows)
    first = 2 + bool(preamble)
    path = put(tmp_path / "t.csv", text)
    assert f"present on line {first} and absent on line {first + 2}" in refusal(path, codes=CODES)
    assert read_table(path, codes=CODES, conflicts="unknown").table.dense().tolist() == [[0], [-1]]


def test_columns_by_the_words_of_another_tool(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "ID;tags;split\na;cat|dog;train\nb;;train\n")
    table, report = read_table(path, columns="image=ID,present=tags", separator="|", where={"split": "train"})
    assert (table.images, table.classes, report.format) == (("a", "b"), ("cat", "dog"), "tag_lists")
    assert table.dense().tolist() == [[1, 1], [0, 0]]
    path = put(tmp_path / "t.jsonl", '{"file": "a", "labels": ["cat"]}\n')
    assert read_table(path, columns="image=file,present=labels").table.dense().tolist() == [[1]]
    path = put(tmp_path / "t.csv", "ID,image,sky\na,1,1\n")
    assert "another column is called 'image'" in refusal(path, columns="image=ID")
    assert "no column 'id'; there are: 'ID'" in refusal(path, columns="image=id")
    for wrong, says in (("picture=ID", "picture"), ("image", "ROLE=NAME"), ("image=a,image=b", "two names")):
        with pytest.raises(UsageError, match=says):
            read_table(path, columns=wrong)


def test_a_column_present_alone_is_a_class_unless_said(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "image,present\na,cat\n")
    assert "the format is not clear" in refusal(path)
    assert read_table(path, columns="present=present").table.classes == ("cat",)


def test_web_addresses_are_called_so(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "image,sky,link\na,1,http://x.org/a\n")
    assert (
        "the web address 'http://x.org/a' has no code (once); is column 'link' a class? If not, leave it out"
        in refusal(path, codes=CODES)
    )
    path = put(tmp_path / "t.csv", "image,sky\nhttps://x.org/p/a.jpg,1\nhttps://x.org/p/b.jpg,0\n")
    table, report = read_table(path, codes=CODES)
    assert "2 image names of addresses" in report.notes[0]
    stripped, report = read_table(path, codes=CODES, strip="https://x.org/p/")
    assert stripped.images == ("a.jpg", "b.jpg")
    assert stripped.dense().tolist() == table.dense().tolist()
    assert report.notes == ("'https://x.org/p/' was taken off 2 of 2 image names",)
    assert "no image name begins with 'ftp:'" in refusal(path, codes=CODES, strip="ftp:")
    path = put(tmp_path / "t.csv", "image,sky\nx/a,1\na,0\n")
    assert "two images are 'a'" in refusal(path, codes=CODES, strip="x/")


def test_compressed_files_folders_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"image,a\n"))
    assert "is compressed; unpack it" in refusal(tmp_path / "t.csv.gz")
    assert "is a folder, and looks like none of" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe or a device" in refusal(tmp_path / "pipe")


def test_other_shapes_of_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a"], "sky": [1]}), tmp_path / "wide.parquet")
    assert "one column per class is read from CSV" in refusal(tmp_path / "wide.parquet")
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
