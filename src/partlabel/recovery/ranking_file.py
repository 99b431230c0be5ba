"""Unknown cells in an order that says nothing about how probable they are: a file that `review` opens."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.files import atomic_path
from partlabel.formats.text import name_cell
from partlabel.labels import LabelTable

COLUMNS = ("image", "class", "state", "probability", "score")


class Ranking(NamedTuple):
    """The unknown images of a class, those that are most likely to show it first.

    Args:
        name: of the class.
        images: names of K images.
        scores: float64 `[K]`, never rising.
    """

    name: str
    images: tuple[str, ...]
    scores: NDArray[np.float64]


def ranking(table: LabelTable, name: str, scores: NDArray[np.float64], top: int) -> Ranking:
    """The first `top` images whose cell of a class may be asked, by scores `[N]`; equal ones in the order of the
    table.
    """
    column = np.full(len(table), table.class_positions[name])
    may_be_asked = np.flatnonzero(~table.decided_at(np.arange(len(table)), column))
    order = may_be_asked[np.argsort(-scores[may_be_asked], kind="stable")][:top]
    return Ranking(name, tuple(table.images[row] for row in order), scores[order])


def write_rankings(path: Path | str, rankings: Iterable[Ranking]) -> None:
    """Write a CSV, class after class, in the order of the scores. The state is unknown and the probability is empty:
    nothing is suggested, and a score is none.

    Raises:
        StorageError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        for one in rankings:
            for image, score in zip(one.images, one.scores, strict=True):
                file.write(f"{name_cell(image)},{name_cell(one.name)},unknown,,{score:.6g}\n")
