"""What is known of images beside their labels: one category each, such as the species of a bird."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from partlabel.errors import LabelError, UsageError
from partlabel.formats.long.files import parquet_errors
from partlabel.formats.text import examine

_COLUMNS = ("image", "category")


def read_categories(path: Path, images: Sequence[str]) -> Float[Tensor, "images"]:
    """A number for the category of each image, float32, -1 where the file says nothing of an image.

    Args:
        path: a CSV or Parquet file with the columns image and category; rows of other images are left out.
        images: names as in the label table.

    Raises:
        UsageError: there is no such file.
        LabelError: it cannot be read, lacks a column, gives an image two categories, or has none for any of the images.
    """
    if not path.is_file():
        raise UsageError(f"side information {str(path)!r} is no file; it has the columns image and category")
    place = {name: row for row, name in enumerate(images)}
    found: dict[int, str] = {}
    elsewhere: str | None = None
    for image, category in _rows(path):
        if not category:
            continue
        row = place.get(image)
        if row is None:
            elsewhere = elsewhere or image
            continue
        if found.setdefault(row, category) != category:
            raise LabelError(f"{path} gives {image} two categories, {found[row]!r} and {category!r}; leave one of them")
    if not found:
        theirs = "it has no category at all" if elsewhere is None else f"its names are such as {elsewhere!r}"
        raise LabelError(
            f"{path} has a category for none of the {len(images)} images: {theirs}, those of the labels such as "
            f"{images[0]!r}; write the names as in the labels"
        )
    numbers = {category: number for number, category in enumerate(sorted(set(found.values())))}
    return torch.tensor([numbers[found[row]] if row in found else -1 for row in range(len(images))]).float()


def told_of_missing(path: Path, categories: Float[Tensor, "images"], images: Sequence[str]) -> str | None:
    """What a user should know where most of the images have no category; None elsewhere."""
    missing = torch.nonzero(categories < 0).flatten().tolist()
    if 2 * len(missing) <= len(images):
        return None
    return (
        f"{path} has no category for {len(missing)} of the {len(images)} images, such as "
        f"{' and '.join(images[row] for row in missing[:2])}; images similar to these are found without it"
    )


def one_hot(categories: Int64[Tensor, "images"], count: int, magnitude: float) -> Float[Tensor, "images categories"]:
    """`magnitude` at the category of each image and 0 elsewhere; zeros for a category of -1."""
    known = (categories >= 0)[:, None]
    return magnitude * functional.one_hot(categories.clamp(min=0), count).float() * known


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix.casefold() == ".parquet":
        with parquet_errors(path):
            table = pyarrow.parquet.read_table(path)
        _check_columns(path, table.column_names)
        yield from zip(*([_text(value) for value in table[name].to_pylist()] for name in _COLUMNS), strict=True)
        return
    with path.open(encoding=examine(path).codec, newline="") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                yield row["image"] or "", row["category"] or ""
        except csv.Error as error:
            raise LabelError(
                f"{path}: after line {reader.line_num}: {error}; a quotation mark may not be closed"
            ) from error


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise LabelError(f"{path} lacks the column {missing[0]!r}; side information has the columns image and category")


def _text(value: object) -> str:
    return "" if value is None else str(value)
