"""Label graphs that mix the predictions of related classes: column c says what goes into class c, and sums to 1.

Source: Huynh, Elhamifar: Interactive Multi-Label CNN Learning with Partial Labels, CVPR 2020.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from partlabel.errors import LabelError, UsageError
from partlabel.formats.text import examine
from partlabel.labels import LabelTable
from partlabel.models.graphs.label_graph import co_occurrence

Graph = Float[Tensor, "classes classes"]


COUNTED = ("co_occurrence", "identity", "label_vectors")
"""Graphs that need no file of edges."""


def smoothing_graph(
    source: str, table: LabelTable, top: int, vectors: Float[Tensor, "classes text_features"] | None = None
) -> Graph:
    """The graph of a source: "co_occurrence" of known labels, "identity", "label_vectors", or the path of an edge list.

    Args:
        source: which.
        table: the training labels.
        top: classes that go into each class, of the two sources that rank them.
        vectors: vectors of the class names, for "label_vectors".

    Raises:
        UsageError: the source is none of these, or there are no vectors.
        LabelError: see `read_edges`.
    """
    if source == "label_vectors":
        if vectors is None:
            raise UsageError(
                "graph label_vectors needs vectors of the class names; set label_vectors to a text encoder or a file "
                "of word vectors"
            )
        return normalized_columns(strongest(similar_names(vectors), top))
    if source == "identity":
        return torch.eye(len(table.classes))
    if source == "co_occurrence":
        return normalized_columns(strongest(co_occurrence(table).T, top))
    return graph_of_file(source, table.classes)


def graph_of_file(source: str, classes: Sequence[str]) -> Graph:
    """The graph of an edge list.

    Raises:
        UsageError: there is no such file.
        LabelError: see `read_edges`.
    """
    if not Path(source).is_file():
        raise UsageError(f"label graph {source!r} is none of {', '.join(COUNTED)} nor a file of edges")
    return normalized_columns(read_edges(Path(source), classes))


def similar_names(vectors: Float[Tensor, "classes text_features"]) -> Graph:
    """Cosine of the vectors of each two classes; 0 where it is negative, or a vector is 0."""
    unit = functional.normalize(vectors.float(), dim=1)
    return (unit @ unit.T).clamp(min=0)


def strongest(weights: Graph, top: int) -> Graph:
    """The `top` largest weights of each column off the diagonal; the others are 0."""
    others = weights.clone().fill_diagonal_(0)
    kept = others.topk(min(top, len(others)), dim=0).indices
    return torch.zeros_like(others).scatter_(0, kept, others.gather(0, kept))


def normalized_columns(weights: Graph) -> Graph:
    """1 on the diagonal, then each column divided by its sum."""
    graph = weights.clone().fill_diagonal_(1)
    return graph / graph.sum(0, keepdim=True)


def read_edges(path: Path, classes: Sequence[str]) -> Graph:
    """Weights `[C, C]` from a CSV file with the columns from, to, weight; row "from", column "to".

    Edges of classes that are not in the table are left out, since graphs of general knowledge know more.

    Raises:
        LabelError: the file cannot be read, lacks a column, repeats an edge, holds a weight that is no positive number,
        or
            has no edge between two classes of the table.
    """
    place = {name: number for number, name in enumerate(classes)}
    weights = torch.zeros(len(classes), len(classes))
    with path.open(encoding=examine(path).codec, newline="") as stream:
        reader = csv.DictReader(stream)
        missing = {"from", "to", "weight"} - set(reader.fieldnames or ())
        if missing:
            raise LabelError(
                f"{path} lacks the column {sorted(missing)[0]!r}; a label graph has the columns from, to, weight"
            )
        for row in reader:
            weight = _positive(row["weight"], path, reader.line_num)
            start, end = place.get(row["from"]), place.get(row["to"])
            if start is None or end is None:
                continue
            if weights[start, end]:
                raise LabelError(
                    f"{path}, line {reader.line_num}: the edge {row['from']} to {row['to']} is listed twice"
                )
            weights[start, end] = weight
    if not weights.any():
        raise LabelError(
            f"{path} holds no edge between two classes of the table; names must agree, {classes[0]!r} is one"
        )
    return weights


def _positive(text: str | None, path: Path, line: int) -> float:
    try:
        weight = float(text or "")
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise LabelError(f"{path}, line {line}: weight {text!r} is not a positive number")
    return weight
