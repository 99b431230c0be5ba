"""Scores: wide and long, names that differ, and numbers that are missing."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partlabel.errors import LabelError, NotFiniteError, PartlabelError, UsageError
from partlabel.formats.scores import read_scores
from partlabel.labels import LabelTable

LABELS = LabelTable.from_cells(["a.jpg", "007"], ["sky", "no-sky"], [0, 1], [0, 1], [1, -1])
WIDE = "image,no-sky,sky\n007,0.1,0.2\na.jpg,0.3,0.4\n"
EXPECTED = [[0.4, 0.3], [0.2, 0.1]]


class Heard:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def put(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        WIDE,
        WIDE.replace(",", ", "),
        "\n\n" + WIDE,
        "\ufeff" + WIDE,
        WIDE.replace("image", "Filename"),
        WIDE.replace("\n", "\r\n"),
        "image,note,no-sky,sky\n007,x,0.1,0.2\nother,y,9,9\na.jpg,z,0.3,0.4\n",
        "image,class,probability,logit,predicted\na.jpg,sky,.4,9,true\na.jpg,no-sky,.3,9,true\n007,no-sky,.1,9,true\n"
        "007,sky,.2,9,true\n007,other,.2,9,true\n",
        "image,class,score\na.jpg,sky,.4\na.jpg,no-sky,.3\n007,no-sky,.1\n007,sky,.2\n",
    ],
)
def test_shapes_of_scores(tmp_path: Path, text: str) -> None:
    assert read_scores(put(tmp_path / "s.csv", text), LABELS).tolist() == EXPECTED
    utf16 = text.removeprefix("\ufeff").encode("utf-16")
    assert read_scores(put(tmp_path / "s.csv", utf16), LABELS).tolist() == EXPECTED


def test_parquet_with_any_ending(tmp_path: Path) -> None:
    table = pa.table({"image": ["007", "a.jpg"], "sky": np.float32([0.5, 1]), "no-sky": [0, 1]})
    pq.write_table(table, tmp_path / "s.PARQUET")
    assert read_scores(tmp_path / "s.PARQUET", LABELS).tolist() == [[1, 1], [0.5, 0]]


@pytest.mark.parametrize("prefix", ["photos/", "/data/x/", "./"])
def test_names_below_a_folder_that_the_labels_leave_out(tmp_path: Path, prefix: str) -> None:
    heard = Heard()
    text = WIDE.replace("007", f"{prefix}007").replace("a.jpg", f"{prefix}a.jpg")
    assert read_scores(put(tmp_path / "s.csv", text), LABELS, heard).tolist() == EXPECTED  # type: ignore[arg-type]
    assert prefix == "./" or f"begin with {prefix!r}" in heard.lines[0]


def test_two_folders_with_the_same_names_are_not_chosen_between(tmp_path: Path) -> None:
    rows = "".join(f"{folder}/{name},1,0\n" for folder in ("x", "y") for name in ("007", "a.jpg"))
    with pytest.raises(LabelError, match=r"for 2 of 2 images, first: 'a.jpg'; it names images such as 'x/007'"):
        read_scores(put(tmp_path / "s.csv", "image,sky,no-sky\n" + rows), LABELS)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("image,sky\na,1\n", LabelError, "no column 'no-sky'"),
        ("image,sky,No-Sky\na,1,1\n", LabelError, "it has 'No-Sky': make the two names equal"),
        ("image,sky,sky,no-sky\na,1,1,1\n", LabelError, "'sky' more than once"),
        ("id,sky,no-sky\na,1,1\n", LabelError, "no column 'image'"),
        (WIDE + "a.jpg,1,1\n", LabelError, "an image more than once"),
        (WIDE.replace("0.4", "high"), LabelError, "no number"),
        (WIDE.replace("0.4", "nan"), NotFiniteError, "image 'a.jpg', class 'sky'"),
        (WIDE.replace("0.4", ""), NotFiniteError, "image 'a.jpg', class 'sky'"),
        (WIDE.replace("007", "nan"), LabelError, "scores for 1 of 2 images, first without: '007'"),
        ("image,class,score\na.jpg,sky,1\na.jpg,sky,2\n007,no-sky,1\n", LabelError, "a cell more than once"),
        ("image,class,score\na.jpg,sky,1\n007,no-sky,1\n", NotFiniteError, "2 score.s. are missing.*class 'no-sky'"),
        ("image,class,score\na.jpg,sky,1\n007,SKY,1\n", LabelError, "first: 'no-sky'"),
        (WIDE[:-4], (LabelError, NotFiniteError), "s.csv"),
        (b"\x00" * 40, LabelError, "zero byte"),
        (b"image,sky,no-sky\na\xff,1,1\n", LabelError, "0xff is not UTF-8"),
        ("", LabelError, "is empty"),
    ],
)
def test_damaged_scores_get_a_sentence(
    tmp_path: Path, text: str | bytes, error: type[PartlabelError], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_scores(put(tmp_path / "s.csv", text), LABELS)


def test_files_that_are_no_scores(tmp_path: Path) -> None:
    for name in ("no.csv", "."):
        with pytest.raises(UsageError):
            read_scores(tmp_path / name, LABELS)
    good = pa.table({"image": ["007", "a.jpg"], "sky": [0.1, 0.2], "no-sky": [0.1, 0.2]})
    pq.write_table(good, tmp_path / "s.parquet")
    whole = (tmp_path / "s.parquet").read_bytes()
    for damaged in (whole[:100], whole[:-20], b"", whole[:40] + b"\xff" * 60 + whole[100:]):
        (tmp_path / "s.parquet").write_bytes(damaged)
        with suppress(PartlabelError):
            read_scores(tmp_path / "s.parquet", LABELS)
