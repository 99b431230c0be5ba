"""Long CSV and Parquet: cells, declarations, line numbers, and what Arrow must not swallow."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partlabel.errors import LabelError
from partlabel.formats import ConflictingCell, Duplicate, SkippedRow, read_table, write_table
from partlabel.formats.long import files
from partlabel.labels import LabelTable, Source, State

CODES = "1=present,0=absent"


def put(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches from little text, so that what crosses batches is seen."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    monkeypatch.setattr(files, "_BLOCK_ROWS", 3)


def test_reads_cells_sources_and_declarations(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "State,note,IMAGE,class,source\n,,,dog,\n1,x,b.jpg,cat,human\n0,,a.jpg,cat,\n,,c.jpg,,\nabsent,,*,dog,\n"
        "Unknown,,a.jpg,dog,review\n",
    )
    table, report = read_table(path, codes=CODES)
    assert table.images == ("b.jpg", "a.jpg", "c.jpg")
    assert table.classes == ("dog", "cat")
    assert table.background.tolist() == [-1, 0]
    assert table.dense().tolist() == [[-1, 1], [0, -1], [-1, 0]]
    assert table.sources.tolist() == [Source.HUMAN, Source.REVIEW, Source.IMPORT]
    assert report.ignored_columns == ("note",)
    assert (report.rows_read, report.rows_used) == (6, 6)


def test_unlisted_is_a_declaration_and_the_file_goes_first(tmp_path: Path) -> None:
    path = put(tmp_path, "image,class,state\na,cat,present\na,dog,unknown\nb,cow,absent\n*,cow,unknown\n")
    assert read_table(path).table.dense().tolist() == [[1, 0, 0], [0, 0, -1]]
    table = read_table(path, unlisted="absent").table
    assert table.background.tolist() == [-1, -1, 0]
    assert table.dense().tolist() == [[1, 0, 0], [-1, -1, -1]]
    assert table.states.size == 3


@pytest.mark.parametrize("value", ["1", "0", "-1", "", "nan"])
def test_never_guesses_a_value(tmp_path: Path, value: str) -> None:
    path = put(tmp_path, f"image,class,state\na,cat,present\n\nb,cat,{value}\nc,cat,{value}\n")
    with pytest.raises(LabelError, match=rf"labels\.csv, line 4, column 'state': .*{value or 'empty'}.*--codes '"):
        read_table(path)


@pytest.mark.usefixtures("small_blocks")
def test_duplicates_and_conflicts_name_their_lines(tmp_path: Path) -> None:
    rows = [
        "image,class,state",
        '"x\ny",cat,1',
        "",
        "a,cat,1",
        "b,cat,0",
        "a,cat,1",
        "b,dog,1",
        "b,cat,1",
        "b,dog,0",
        "b,dog,0",
    ]
    path = put(tmp_path, "\r\n".join(rows))
    with pytest.raises(
        LabelError, match=r"2 cell.*image 'b', class 'cat' is present on line 9 and absent on line 6; image 'b'"
    ):
        read_table(path, codes=CODES)
    table, report = read_table(path, codes=CODES, conflicts="unknown")
    assert table.dense().tolist() == [[1, 0], [1, 0], [0, 0]]
    assert report.duplicates == (Duplicate("a", "cat", (5, 7)),)
    assert report.conflicts == (ConflictingCell("b", "cat", (6, 9)), ConflictingCell("b", "dog", (8, 10, 11)))
    assert (report.rows_read, report.rows_used) == (8, 8)


def test_a_known_state_beats_an_unknown_one_and_keeps_its_source(tmp_path: Path) -> None:
    path = put(
        tmp_path, "image,class,state,source\na,x,unknown,human\na,x,absent,review\na,x,absent,import\nb,x,unknown,\n"
    )
    table, report = read_table(path)
    assert table.dense().tolist() == [[-1], [0]]
    assert table.sources.tolist() == [Source.REVIEW]
    assert report.duplicates == (Duplicate("a", "x", (2, 3, 4)),)


@pytest.mark.parametrize("order", [*permutations(("present,human", "unknown,unsure", "unknown,import"))])
def test_known_beats_unsure_and_unsure_beats_unknown_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    path = tmp_path / "t.csv"
    for some in ({0, 1, 2}, {0, 1}, {0, 2}, {1, 2}):
        said = [row for position, row in enumerate(order) if position in some]
        for background in ("absent", "unknown"):
            rows = [f"*,cat,{background},", *(f"a,cat,{row}" for row in said), *(f"b,cat,{row}" for row in said)]
            path.write_text("image,class,state,source\n" + "\n".join(rows) + "\n", encoding="utf-8")
            table = read_table(path).table
            best = next(row for row in ("present,human", "unknown,unsure", "unknown,import") if row in said)
            assert table.dense().tolist() == [[int(best == "present,human")]] * 2
            assert table.unsure == 2 * (best == "unknown,unsure")


@pytest.mark.parametrize("order", [*permutations(("present,human", "absent,import", "unknown,unsure"))])
def test_a_contradiction_is_unknown_and_not_unsure(tmp_path: Path, order: tuple[str, ...]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,class,state,source\n" + "".join(f"a,cat,{row}\n" for row in order), encoding="utf-8")
    table = read_table(path, conflicts="unknown").table
    assert (table.dense().tolist(), table.unsure) == ([[0]], 0)


def test_a_conflict_over_an_absent_background_stays_unknown(tmp_path: Path) -> None:
    path = put(tmp_path, "image,class,state\na,x,present\na,x,absent\nb,x,present\n")
    table = read_table(path, unlisted="absent", conflicts="unknown").table
    assert table.dense().tolist() == [[0], [1]]


def test_classes_fix_the_list_and_its_order(tmp_path: Path) -> None:
    path = put(tmp_path, "image,class,state\na,cat,1\nb,dgo,1\n")
    with pytest.raises(
        LabelError, match=r"labels\.csv, line 3: class 'dgo' is not among the given classes; closest: 'dog'"
    ):
        read_table(path, codes=CODES, classes=["dog", "cat"])
    path = put(tmp_path, "image,class,state\na,cat,1\n")
    table = read_table(path, codes=CODES, classes=["dog", "cat"]).table
    assert (table.classes, table.dense().tolist()) == (("dog", "cat"), [[0, 1]])


@pytest.mark.usefixtures("small_blocks")
def test_where_filters_rows_but_not_declarations(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "image,class,state,split\n,dog,,\n*,cat,absent,\na,cat,1,train\nb,cow,0,test\nc,cat,oops,test\nd,dog,0, "
        "train \n",
    )
    table, report = read_table(path, codes=CODES, where={"split": "train"})
    assert (table.images, table.classes) == (("a", "d"), ("dog", "cat"))
    assert table.dense().tolist() == [[0, 1], [-1, -1]]
    assert (report.rows_read, report.rows_used, report.rows_filtered) == (6, 4, 2)
    assert report.ignored_columns == ()
    with pytest.raises(LabelError, match=r"--where keeps none of the 4 rows: .*'val' \(values: '', 'test', 'train'\)"):
        read_table(path, codes=CODES, where={"split": "val"})


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("a,cat,1\na,,1\n", "line 3 has a state, but no class"),
        ("a,cat,1\n,cat,1\n", "line 3 has a state, but no image"),
        ("a,cat,1\n,,1\n", "line 3 has a state, but no image and class"),
        ("*,,absent\n", r"line 2: a row for every image \('\*'\) names a class"),
        ("*,cat,present\n", "line 2: .* not present"),
        ("*,cat,absent\na,cat,1\n*,cat,unknown\n", "line 4: .* not both"),
        ("*,cat,2\n", "line 2, column 'state': the value '2' has no code"),
        ("a,cat,1,\n", "line 2 has 4 cells, but the header has 3: a trailing comma"),
        ("a,cat,1\nb,1\n", "line 3 has 2 cells"),
        ('a,cat,1\nb,"cat,1\nc,cat,1\n', "record that starts on line 3 has a broken quoted cell"),
        ('a,cat,"1\nb,cat,1\nc,cat,"1\n', "record that starts on line 2 has a broken quoted cell"),
        ("a,,\nb,,\n", "names no class"),
        (",cat,\n", "lists no image"),
        ("", "lists no image"),
    ],
)
def test_broken_rows(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(LabelError, match=says) as caught:
        read_table(put(tmp_path, "image,class,state\n" + rows), codes=CODES)
    assert "labels.csv" in str(caught.value)


@pytest.mark.usefixtures("small_blocks")
def test_a_cell_larger_than_a_block_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"labels\.csv cannot be read as CSV"):
        read_table(put(tmp_path, f"image,class,state\na,cat,1\n{'b' * 500},cat,1\n"), codes=CODES)


def test_a_broken_quote_in_an_ignored_column_swallows_nothing(tmp_path: Path) -> None:
    path = put(tmp_path, 'image,class,state,note\na,cat,1,"oh\nb,cat,1,"oh\nc,cat,1,oh\n')
    with pytest.raises(LabelError, match="record that starts on line 2 has a broken quoted cell"):
        read_table(path, codes=CODES)


@pytest.mark.usefixtures("small_blocks")
def test_progress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MEGABYTE", 100)
    path = tmp_path / "t.csv"
    path.write_text("image,class,state\n" + "".join(f"{n}.jpg,cat,present\n" for n in range(100)))
    told: list[tuple[int, int]] = []
    read_table(path, tick=lambda done, total: told.append((done, total)))
    assert told[-1] == (path.stat().st_size // 100,) * 2


def test_empty_rows_are_skipped(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path, "image,class,state\n,,\na,cat,1\n\n,,\nb,cat,0\n,,\n"), codes=CODES)
    assert table.images == ("a", "b")
    assert [skipped.line for skipped in report.skipped] == [2, 5, 7]
    assert report.skipped[0] == SkippedRow(2, "image, class and state are empty")
    assert (report.rows_read, report.rows_used, report.rows_skipped) == (5, 2, 3)


def test_unknown_source_and_a_column_twice(tmp_path: Path) -> None:
    path = put(tmp_path, "image,class,state,source\na,cat,1,crowd\n")
    with pytest.raises(LabelError, match=r"line 2, column 'source': source 'crowd' is not .*--ignore source"):
        read_table(path, codes=CODES)
    table, report = read_table(path, codes=CODES, ignore=["source"])
    assert table.sources.tolist() == [Source.IMPORT]
    assert report.ignored_columns == ("source",)
    with pytest.raises(LabelError, match="columns 3 and 4 are both named 'state'"):
        read_table(put(tmp_path, "image,class,state,State\na,cat,1,1\n"), codes=CODES)


@pytest.mark.usefixtures("small_blocks")
def test_utf16_with_windows_line_ends(tmp_path: Path) -> None:
    path = put(tmp_path, 'image,class,state\r\n"ä, ö.jpg",猫,1\r\nb,"a ""b""",0\r\n', "utf-16")
    table, report = read_table(path, codes=CODES)
    assert (table.images, table.classes) == (("ä, ö.jpg", "b"), ("猫", 'a "b"'))
    assert report.encoding == "UTF-16"


def write_parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table({name.rstrip("_"): values for name, values in columns.items()}), path)
    return path


@pytest.mark.parametrize(
    ("states", "codes"),
    [
        (pa.array(["1", "0", ""]), "1=present,0=absent,=unknown"),
        (pa.array([1, -1, None], pa.int8()), "1=present,-1=absent,=unknown"),
        (pa.array([1.0, 0.0, float("nan")]), "1=present,0=absent,nan=unknown"),
        (pa.array([True, False, None]), "true=present,false=absent,=unknown"),
        (pa.array(["present", "absent", "unknown"]).dictionary_encode(), None),
        (pa.array(["present", "absent", "unknown"], pa.large_string()), None),
    ],
)
def test_parquet_states_of_many_types(tmp_path: Path, states: pa.Array, codes: str | None) -> None:
    path = write_parquet(
        tmp_path / "t.parquet", image=pa.array([7, 8, 9]), class_=["x", "x", "x"], state=states, other=[1, 2, 3]
    )
    table, report = read_table(path, codes=codes)
    assert table.images == ("7", "8", "9")
    assert table.dense().ravel().tolist() == [1, -1, 0]
    assert (report.encoding, report.ignored_columns) == ("Parquet", ("other",))


@pytest.mark.usefixtures("small_blocks")
def test_parquet_errors_count_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "t.parquet", image=list("abcde"), class_=["x"] * 5, state=["1", "0", "1", "0", "?"])
    with pytest.raises(LabelError, match=r"t\.parquet, row 5, column 'state': the value '\?'"):
        read_table(path, codes=CODES)
    path = write_parquet(tmp_path / "t.parquet", image=["a"], class_=["x"], state=[[1]])
    with pytest.raises(LabelError, match="cannot be read as Parquet text and numbers"):
        read_table(path, codes=CODES)
    path = write_parquet(tmp_path / "t.parquet", image=["a"], label=["x"])
    with pytest.raises(LabelError, match=r"class and state \(columns: 'image', 'label'.*--columns class=label"):
        read_table(path, codes=CODES)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(LabelError, match="cannot be read as Parquet"):
        read_table(path, codes=CODES)


def test_writes_plain_lines_and_declares_only_what_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    plain = LabelTable.from_cells(["a", "b"], ["x", "y"], [0, 0, 1], [0, 1, 0], [1, -1, 1], [0, 1, 2])
    write_table(plain, path, codes="1=present,0=absent")
    assert path.read_text() == "image,class,state,source\na,x,1,import\na,y,0,human\nb,x,1,recovered\n"
    write_table(LabelTable.from_cells(["a", "b"], ["x", "y"], [1], [1], [1]), path)
    assert path.read_text() == "image,class,state,source\n,x,,\n,y,,\na,,,\nb,y,present,import\n"
    write_table(LabelTable.from_cells(["a"], ["x", "y"], [0], [0], [0], background=[State.ABSENT, State.UNKNOWN]), path)
    assert path.read_text() == "image,class,state,source\n*,x,absent,\n*,y,unknown,\na,x,unknown,import\n"


def test_refuses_an_image_that_stands_for_every_image(tmp_path: Path) -> None:
    for name in ("out.csv", "out.parquet"):
        with pytest.raises(LabelError, match="an image is named"):
            write_table(LabelTable.from_cells(["*"], ["x"], [0], [0], [1]), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_blocks")
def test_many_blocks_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partlabel.formats.long._BLOCK_IMAGES", 7)
    dense = np.random.default_rng(0).choice([-1, 0, 1], (50, 9), p=[0.2, 0.6, 0.2])
    table = LabelTable.from_dense(
        [f"{i}.jpg" for i in range(50)], [f"class {i}" for i in range(9)], dense, Source.REVIEW
    )
    for name in ("out.csv", "out.parquet"):
        write_table(table, tmp_path / name)
        again = read_table(tmp_path / name).table
        assert again.hash == table.hash
        assert again.sources.tolist() == table.sources.tolist()


def test_a_state_may_say_unsure_itself(tmp_path: Path) -> None:
    path = put(tmp_path, "image,class,state,source\na.jpg,cat,?,\na.jpg,dog,Unsure,human\nb.jpg,cat,1,human\n")
    table = read_table(path, codes=f"{CODES},?=unsure").table
    assert table.dense().tolist() == [[0, 0], [1, 0]]
    assert table.cells().sources.tolist() == [Source.UNSURE, Source.UNSURE, Source.HUMAN]
    without = put(tmp_path, "image,class,state\na.jpg,cat,unsure\na.jpg,dog,present\n")
    assert read_table(without).table.cells().sources.tolist() == [Source.UNSURE, Source.IMPORT]


def test_no_class_is_unsure_in_every_image(tmp_path: Path) -> None:
    path = put(tmp_path, "image,class,state\n*,cat,unsure\na.jpg,cat,present\n")
    with pytest.raises(LabelError, match=r"whether unlisted cells are absent or unknown, not unsure"):
        read_table(path)
