"""RUN/label_graph.csv: the weights between classes that a training began with, and those that it learned."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.files import write_text

_COLUMNS = ("from", "to", "weight", "start")


class Edge(NamedTuple):
    """What the class `source` gives to the class `target`: after training, and at its start."""

    source: str
    target: str
    weight: float
    start: float


def learned_graph_path(run: Path) -> Path:
    """Where a run keeps it."""
    return run / "label_graph.csv"


def write_learned_graph(
    path: Path, classes: tuple[str, ...], start: NDArray[np.float32], end: NDArray[np.float32]
) -> None:
    """Write each weight that is not 0 at the start or the end; `[C, C]`, row "from", column "to".

    The columns are those of a label graph that `interactive` reads, and the start.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row, column in zip(*np.nonzero((start != 0) | (end != 0)), strict=True):
        weights = (f"{matrix[row, column]:.9g}" for matrix in (end, start))
        writer.writerow([classes[row], classes[column], *weights])
    write_text(path, text.getvalue())


def read_learned_graph(path: Path) -> list[Edge]:
    """The weights between two classes; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [Edge(r["from"], r["to"], float(r["weight"]), float(r["start"])) for r in csv.DictReader(stream)]
    return [edge for edge in rows if edge.source != edge.target]


def strongest(edges: Iterable[Edge], most: int) -> list[Edge]:
    """The edges of largest weight, whatever its sign."""
    return sorted(edges, key=lambda edge: (-abs(edge.weight), edge.source, edge.target))[:most]
