"""Side information: one category an image, from CSV and Parquet."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

from partlabel.errors import LabelError, UsageError
from partlabel.methods.tools.side_information import one_hot, read_categories, told_of_missing

IMAGES = ("a.png", "b.png", "c.png", "d.png")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_categories_in_the_order_of_the_images(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"species.{kind}"
    rows = [("d.png", "wren"), ("a.png", "wren"), ("b.png", "auk"), ("c.png", ""), ("a.png", "wren"), ("z.png", "emu")]
    if kind == "csv":
        path.write_text("image,category\n" + "".join(f"{image},{category}\n" for image, category in rows))
    else:
        images, categories = zip(*rows, strict=True)
        table = pyarrow.table({"category": [c or None for c in categories], "image": images})
        pyarrow.parquet.write_table(table, path)
    assert read_categories(path, IMAGES).tolist() == [1, 0, -1, 1]


def test_one_hot_vectors_have_zeros_elsewhere() -> None:
    found = one_hot(torch.tensor([1, -1, 0]), 2, 10.0)
    assert found.tolist() == [[0, 10], [0, 0], [10, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,species\na.png,wren\n", "lacks the column 'category'"),
        ("image,category\na.png,wren\na.png,auk\n", "gives a.png two categories, 'wren' and 'auk'"),
        (
            "image,category\ny.png,\nz.png,wren\n",
            "none of the 4 images: its names are such as 'z.png', those of the labels such as 'a.png'; write",
        ),
        ("image,category\na.png,\n", "none of the 4 images: it has no category at all, those of the labels"),
    ],
)
def test_files_that_say_nothing_clear_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "side.csv").write_text(text)
    with pytest.raises(LabelError, match=message):
        read_categories(tmp_path / "side.csv", IMAGES)
    with pytest.raises(UsageError, match=r"'.*gone.csv' is no file"):
        read_categories(tmp_path / "gone.csv", IMAGES)


def test_a_file_that_knows_few_of_the_images_is_told_of() -> None:
    path = Path("species.csv")
    assert told_of_missing(path, torch.tensor([0.0, -1, 0, -1]), IMAGES) is None
    assert told_of_missing(path, torch.tensor([-1.0, 0, -1, -1]), IMAGES) == (
        "species.csv has no category for 3 of the 4 images, such as a.png and c.png; images similar to these are found "
        "without it"
    )


@pytest.mark.parametrize("length", [3, 140_000])
def test_a_quotation_mark_that_is_not_closed_is_named(length: int, tmp_path: Path) -> None:
    path = tmp_path / "side.csv"
    path.write_text('image,category\na.jpg,"' + "x" * length)
    with pytest.raises(LabelError, match=r"side\.csv: after line [12]: .* a quotation mark may not be closed"):
        read_categories(path, ["a.jpg"])
