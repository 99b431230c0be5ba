"""All formats together: which one a file is, hostile files, and round trips of arbitrary tables."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import LabelError, StorageError, UsageError
from partlabel.formats import FORMATS, Reading, read_table, write_table
from partlabel.labels import LabelTable

CODES = "1=present,0=absent,=unknown"
T = TypeVar("T")
Tables = Callable[..., st.SearchStrategy[LabelTable]]
TARGETS = [
    ("t.csv", "one_hot_csv"),
    ("t.csv", "long"),
    ("t.parquet", "long"),
    ("t.csv", "tag_lists"),
    ("t.jsonl", "tag_lists"),
]


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def codes_of(format: str) -> str | None:
    return None if format == "tag_lists" else CODES


def attempt(action: Callable[[], T]) -> T | LabelError:
    try:
        return action()
    except LabelError as error:
        return error


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image,cat,dog", "one_hot_csv"),
        ("cat,PATH,dog", "one_hot_csv"),
        ("image,class,state", "long"),
        ("Source,State,Class,File", "long"),
        ("filename,present,absent", "tag_lists"),
        ("image,unknown,absent,split,present", "tag_lists"),
    ],
)
def test_the_header_tells_the_format(tmp_path: Path, header: str, expected: str) -> None:
    path = tmp_path / "t.csv"
    cells = {
        "state": "present",
        "class": "c",
        "source": "",
        "split": "",
        "image": "i",
        "path": "i",
        "file": "i",
        "filename": "i",
    }
    lists = {"present": "p", "absent": "a", "unknown": "u"}
    row = [cells.get(name.lower(), lists.get(name.lower(), "absent")) for name in header.split(",")]
    path.write_text(header + "\n" + ",".join(row) + "\n")
    assert read_table(path).report.format == expected


@pytest.mark.parametrize(
    "header",
    ["image,class", "image,cat,state", "image,present", "image,absent,cat", "image,class,state,present", "id,cat"],
)
def test_an_unclear_header_is_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(header + "\n" + ",".join(["present"] * len(header.split(","))) + "\n")
    with pytest.raises(LabelError, match="--format"):
        read_table(path)
    assert read_table(path, format="one_hot_csv").report.format == "one_hot_csv"


def test_ignored_columns_do_not_decide_the_format(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,state,cat\na,Ohio,present\n")
    assert read_table(path, ignore=["state"]).table.classes == ("cat",)
    assert read_table(path, where={"state": "Ohio"}).table.classes == ("cat",)


def test_names_and_arguments_that_cannot_be_used(tmp_path: Path) -> None:
    table = LabelTable.from_cells(["a"], ["x"], [0], [0], [1])
    path = tmp_path / "t.csv"
    write_table(table, path)
    for error, says, arguments in [
        (UsageError, "format 'lng' is not one of .*closest: 'long'", {"format": "lng"}),
        (UsageError, "unlisted 'no' is not one of unknown, absent$", {"unlisted": "no"}),
        (UsageError, "conflicts 'keep' is not one of fail, unknown", {"conflicts": "keep"}),
        (UsageError, "list of classes", {"classes": ["x", "x"]}),
        (UsageError, "--codes", {"codes": "1"}),
    ]:
        with pytest.raises(error, match=says):
            read_table(path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(LabelError, match=r"none\.csv does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(LabelError, match="is a folder"):
        read_table(tmp_path)
    (tmp_path / "t.txt").write_text("image,x\na,present\n")
    with pytest.raises(LabelError, match=r"does not end in \.csv"):
        read_table(tmp_path / "t.txt")
    assert read_table(tmp_path / "t.txt", format="one_hot_csv").table.hash == table.hash
    with pytest.raises(UsageError, match=r"t\.txt: the name does not end in"):
        write_table(table, tmp_path / "t.txt")
    with pytest.raises(UsageError, match=r"a \.jsonl file is tag_lists, not long"):
        write_table(table, tmp_path / "t.jsonl", format="long")
    with pytest.raises(LabelError, match="without images"):
        write_table(table.select_images([]), path)
    with pytest.raises(LabelError, match="without classes"):
        write_table(table.select_classes([]), path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n \n",
        b"\xef\xbb\xbf",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"PK\x03\x04\x14\x00",
        b"image,cat\na\xff.jpg,1\n",
        "image,cat\na,1\n".encode("utf-16-le"),
        b"\xff\xfei\x00m\x00a",
        b"image,cat\na,1\n\x00",
        bytes(range(256)) * 40,
    ],
)
@pytest.mark.parametrize(("name", "format"), TARGETS)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, name: str, format: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelError, match=f"{name}.*(is empty|line 1|line 2|line 3|Parquet)"):
        read_table(path, codes=codes_of(format), format=format)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "format"), [target for target in TARGETS if target[0] != "t.parquet"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, line_end: str, name: str, format: str) -> None:
    table = LabelTable.from_cells(["é, 1.jpg", "b.jpg"], ["猫", 'a "b"'], [0, 0, 1], [0, 1, 1], [1, -1, 1])
    path = tmp_path / name
    write_table(table, path, format=format)
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", line_end).encode(encoding))
    reading = read_table(path)
    assert reading.table.hash == table.hash
    assert reading.report.encoding == {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 with BOM", "utf-16": "UTF-16"}[encoding]


@pytest.mark.slow
@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode), st.sampled_from(TARGETS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_crashes_a_reader(tmp_path: Path, content: bytes, target: tuple[str, str]) -> None:
    path = tmp_path / target[0]
    path.write_bytes(b"image,class,state,present,absent\n" + content if target[0] == "t.csv" else content)
    reading = attempt(lambda: read_table(path, codes=codes_of(target[1]), format=target[1]))
    assert isinstance(reading, Reading) or target[0] in str(reading)


def dense_of(table: LabelTable) -> tuple[object, ...]:
    return table.images, table.classes, table.dense().tolist()


@given(st.data(), st.sampled_from(TARGETS), st.sampled_from([None, CODES, "?=unknown,-1=absent"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_round_trip_or_a_sentence(
    tmp_path: Path,
    label_tables: Tables,
    data: st.DataObject,
    target: tuple[str, str],
    codes: str | None,
) -> None:
    table = data.draw(label_tables(odd_names=True))
    path, format = tmp_path / target[0], target[1]
    codes = codes if codes_of(format) else None
    refusal = attempt(lambda: write_table(table, path, codes=codes, format=format))
    if refusal is not None:
        assert target[0] in str(refusal)
        names = "".join((*table.images, *table.classes))
        outer_space = any(name != name.strip() for name in table.classes)
        reserved = {name.strip().casefold() for name in table.classes} & {"class", "state", "present", "absent"}
        assert "*" in table.images or "\0" in names or ";" in names or outer_space or reserved
        assert target[0] != "t.jsonl"
        return
    again, report = read_table(path, codes=codes)
    assert report.format == format
    assert dense_of(again) == dense_of(table)
    assert again.hash == table.hash
    assert (report.duplicate_count, report.conflict_count, report.rows_skipped) == (0, 0, 0)
    if format == "long":
        assert again.sources.tolist() == table.sources.tolist()
    if format != "one_hot_csv":
        assert again.background.tolist() == table.background.tolist()
        assert again.states.tolist() == table.states.tolist()


@given(st.data(), st.sampled_from(TARGETS))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_with_unlisted_absent_changes_only_what_no_one_stated(
    tmp_path: Path, label_tables: Tables, data: st.DataObject, target: tuple[str, str]
) -> None:
    table = data.draw(label_tables(odd_names=True))
    if target[1] == "one_hot_csv":
        return
    path = tmp_path / target[0]
    if attempt(lambda: write_table(table, path, format=target[1])) is not None:
        return
    again = read_table(path, unlisted="absent").table
    listed = np.zeros(table.shape, bool)
    cells = table.cells()
    listed[cells.image_index, cells.class_index] = True
    assert (again.dense()[listed] == table.dense()[listed]).all()
    assert np.isin(again.dense()[~listed], [-1, 0]).all()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    for name, format in TARGETS:
        path = tmp_path / name
        good = LabelTable.from_cells(["a", "b"], ["x"], [0], [0], [1])
        write_table(good, path, format=format)
        before = path.read_bytes()
        bad = LabelTable.from_cells(["a", "\ud800"], ["x"], [0], [0], [1])
        with pytest.raises(LabelError, match="cannot be written as Unicode"):
            write_table(bad, path, format=format)
        assert path.read_bytes() == before
        assert [found.name for found in tmp_path.iterdir()] == [name]
        path.unlink()
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(StorageError):
        write_table(good, tmp_path / "t.csv")


def test_errors_offer_every_format_and_ending(tmp_path: Path) -> None:
    table = LabelTable.from_cells(["a"], ["x"], [0], [0], [1])
    with pytest.raises(UsageError) as wrong_name:
        read_table(put(tmp_path / "t.csv", "image,x\na,present\n"), format="longer")
    with pytest.raises(UsageError) as wrong_ending:
        write_table(table, tmp_path / "t.doc")
    for name, format in FORMATS.items():
        assert name == format.name
        assert name in str(wrong_name.value)
        written = [suffix for suffix in format.suffixes if suffix not in format.read_only]
        assert all(suffix in str(wrong_ending.value) for suffix in written)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "a.jsonl",
            '{"image": "a", "present": ["x"]}\n{"image": "b", "presnt": ["x"]}\n',
            "'presnt'; did you mean 'present'",
        ),
        (
            "a.jsonl",
            '{"image": "a", "present": ["x"]}\n{"image": "b", "Absent": ["x"]}\n',
            "'Absent'; did you mean 'absent'",
        ),
        ("a.csv", "image,class,state,sorce\na,x,present,recovered\n", "'sorce'; did you mean 'source'"),
        ("a.csv", "image,present,absent,unknwn\na,x,,y\n", "'unknwn'; did you mean 'unknown'"),
    ],
)
def test_labels_under_a_misspelt_name_are_not_lost(tmp_path: Path, name: str, text: str, says: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(LabelError, match=says):
        read_table(path)
    misspelt = says.split("'")[1]
    assert misspelt in read_table(path, ignore=[misspelt]).report.ignored_columns


def test_cells_in_json_lines_are_sent_to_other_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"image": "a", "class": "cat", "state": "present"}\n')
    with pytest.raises(LabelError, match="is read from CSV and Parquet only"):
        read_table(path)
