"""A prior matrix: what a file of scores says of a table, and what it leaves open."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats.prior import read_prior
from partlabel.names import words_key

IMAGES, CLASSES = ("a.jpg", "b.jpg", "c.jpg"), ("diningtable", "cat", "traffic light", "zebra")
NAN = float("nan")
EXPECTED = [[0.1, 0.2, 0.3, NAN], [NAN] * 4, [0.4, NAN, -5, NAN]]
WIDE = "image,Dining Table,dog,cat,traffic_light\nc.jpg,0.4,9,,-5\nx.jpg,9,9,9,9\na.jpg,0.1,9,0.2,0.3\n"
LONG = (
    "image,class,score,more\na.jpg,Dining Table,0.1,9\nc.jpg,traffic_light,-5,9\na.jpg,cat,.2,9\nx.jpg,cat,9,9\n"
    "a.jpg,traffic_light,.3,9\nc.jpg,Dining Table,0.4,9\nc.jpg,dog,9,9\nc.jpg,cat,,9\n"
)


def _put(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [WIDE, LONG, WIDE.replace("a.jpg", "./a.jpg")])
def test_what_the_file_lacks_is_nan(tmp_path: Path, text: str) -> None:
    found = read_prior(_put(tmp_path / "p.csv", text), IMAGES, CLASSES)
    assert found.scores.dtype == np.float32
    np.testing.assert_array_equal(found.scores, np.float32(EXPECTED))
    assert found.told.endswith(
        "scores for 2 of 3 images and 3 of 4 classes; nothing of 'zebra'; 'diningtable' from 'Dining Table', 'traffic "
        "light' from 'traffic_light'"
    )


def test_whole_file_in_the_names_of_the_table_says_nothing_more(tmp_path: Path) -> None:
    table = pa.table({"image": ["photos/b.jpg", "photos/a.jpg"], "cat": [0, 1]})
    pq.write_table(table, tmp_path / "p.parquet")
    found = read_prior(tmp_path / "p.parquet", IMAGES[:2], ["cat"])
    assert found.scores.tolist() == [[1], [0]]
    assert found.told.endswith("p.parquet: scores for 2 of 2 images and 1 of 1 class")


def test_a_column_named_class_is_no_long_file_where_all_classes_have_columns(tmp_path: Path) -> None:
    text = "image,class,score,cat\na.jpg,1,2,3\n"
    found = read_prior(_put(tmp_path / "p.csv", text), ["a.jpg"], ["cat", "score"])
    assert found.scores.tolist() == [[3, 2]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WIDE.replace("0.4", "inf"), "image 'c.jpg' and class 'diningtable' an infinite score"),
        (WIDE.replace("0.4", "1e300"), "an infinite score"),
        (WIDE.replace("0.4", "high"), "no number"),
        (WIDE + "a.jpg,1,1,1,1\n", "an image more than once"),
        (LONG + "a.jpg,cat,1,1\n", "a cell more than once"),
        ("image,cat,cat\na.jpg,1,1\n", "column 'cat' more than once"),
        ("image,dining_table,Dining Table\na.jpg,1,1\n", "'dining_table', 'Dining Table'. is 'diningtable'"),
        ("image,dog\na.jpg,1\n", "none of the 4 classes: its names are such as 'dog', those of the labels such as"),
        ("image,cat\ny.jpg,1\n", "none of the 3 images: its names are such as 'y.jpg', those of the labels such as"),
        ("image,cat\n", "none of the 3 images: it has no row"),
        ("image,cat\na.jpg,\n", "a score for none of the cells"),
        ("image,cat\nx/a.jpg,1\ny/a.jpg,1\n", "may be those in 'x/' or those in 'y/'"),
        ("id,cat\na.jpg,1\n", "no column 'image'"),
    ],
)
def test_damaged_files_get_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(LabelError, match=says):
        read_prior(_put(tmp_path / "p.csv", text), IMAGES, CLASSES)


def test_two_classes_are_not_given_one_column(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="'CAT'"):
        read_prior(_put(tmp_path / "p.csv", "image,CAT\na.jpg,1\n"), ["a.jpg"], ["cat", "Cat"])
    with pytest.raises(UsageError, match="does not exist"):
        read_prior(tmp_path / "none.csv", IMAGES, CLASSES)


def test_words_key() -> None:
    assert {words_key(name) for name in ("diningtable", "Dining Table", "dining_table", "dining-table")} == {
        "diningtable"
    }
    assert words_key("_") == "_"
    assert words_key("cat") != words_key("cats")
