"""The group of each image, such as its patient, its camera or its film, from a CSV."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partlabel.errors import LabelError
from partlabel.formats.header import columns_of, listed
from partlabel.formats.text import as_table, cell_name, even_records, examine
from partlabel.labels import IntArray


def read_groups(path: Path | str, images: Sequence[str]) -> IntArray:
    """Group numbers of images.

    Args:
        path: a CSV with an image column and one more; an image that it leaves out, or whose group is empty, is alone.
        images: names of the images.

    Returns:
        int64 `[N]`, -1 where an image is alone.

    Raises:
        LabelError: the file cannot be read, has other columns, names an image twice, or none of the images.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} does not exist")
    rows = even_records(as_table(examine(path)))
    header = next(rows)[1]
    columns = columns_of(path, [cell_name(name) for name in header])
    image = columns.required("image")
    if len(header) != 2:
        raise LabelError(
            f"{path} has the columns {listed(columns.names)}; a file of groups has an image column and one more"
        )
    numbers: dict[str, int] = {}
    found: dict[str, int] = {}
    for line, cells in rows:
        name, group = cell_name(cells[image]), cells[1 - image].strip()
        if name in found:
            raise LabelError(f"{path}, line {line}: image {name!r} is listed twice; keep one line")
        found[name] = numbers.setdefault(group, len(numbers)) if group else -1
    if not any(name in found for name in images):
        raise LabelError(f"{path} lists none of the images; its first one is {next(iter(found), None)!r}")
    return np.array([found.get(name, -1) for name in images], np.int64)
