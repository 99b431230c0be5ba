"""Label graphs: which classes mix, with what weight, and files that are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable
from partlabel.models.graphs.smoothing_graph import read_edges, smoothing_graph, strongest

CLASSES = ("cat", "dog", "sofa", "boat")


def _table() -> LabelTable:
    """Cat with sofa on 2 of 3 images where sofa is known, with dog on 1 of 4; boat is alone."""
    states = [[1, -1, 1, -1], [1, -1, 1, 0], [1, 1, -1, -1], [1, -1, 0, 0], [-1, -1, -1, 1]]
    return LabelTable.from_dense([f"{row}.png" for row in range(5)], CLASSES, np.asarray(states, np.int8))


def test_neighbours_by_vectors_of_names_are_the_closest_by_cosine() -> None:
    vectors = torch.tensor([[1.0, 0], [2, 2], [0, 3], [-1, 0.1]])
    graph = smoothing_graph("label_vectors", _table(), 1, vectors)
    near = {0: (1, 0.5**0.5), 1: (2, 0.5**0.5), 2: (1, 0.5**0.5), 3: (2, 0.1 / 1.01**0.5)}
    for column in range(4):
        neighbour, cosine = near[column]
        if column == 1:  # the first and the third are as close to the second
            neighbour = 0 if graph[0, 1] > 0 else 2
        expected = torch.zeros(4)
        expected[neighbour], expected[column] = cosine / (1 + cosine), 1 / (1 + cosine)
        torch.testing.assert_close(graph[:, column], expected)
    with pytest.raises(UsageError, match="set label_vectors to a text encoder"):
        smoothing_graph("label_vectors", _table(), 1)


def test_co_occurrence_says_what_is_present_where_the_class_is() -> None:
    graph = smoothing_graph("co_occurrence", _table(), 50)
    weights = torch.tensor([1, 1 / 4, 2 / 3, 0])
    torch.testing.assert_close(graph[:, 0], weights / weights.sum())
    assert graph[:, 3].tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(graph.sum(0), torch.ones(4))


def test_only_the_strongest_stay() -> None:
    graph = smoothing_graph("co_occurrence", _table(), 1)
    assert (graph != 0)[:, 0].tolist() == [True, False, True, False]
    weights = torch.rand(20, 20)
    kept = strongest(weights, 3)
    for column in range(20):
        others = [weights[row, column].item() for row in range(20) if row != column]
        assert sorted(kept[kept[:, column] > 0, column].tolist()) == sorted(others)[-3:]
        assert kept[column, column] == 0


def test_identity() -> None:
    assert smoothing_graph("identity", _table(), 50).equal(torch.eye(4))


def test_edges_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "graph.csv"
    path.write_text('weight,from,to,note\n3,cat,dog,x\n0.5,"sofa",dog,\n7,moon,cat,unknown class\n')
    expected = torch.zeros(4, 4)
    expected[0, 1], expected[2, 1] = 3, 0.5
    assert read_edges(path, CLASSES).equal(expected)
    graph = smoothing_graph(str(path), _table(), 50)
    torch.testing.assert_close(graph[:, 1], torch.tensor([3, 1, 0.5, 0]) / 4.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from,to\ncat,dog\n", "lacks the column 'weight'"),
        ("from,to,weight\ncat,dog,1\ncat,dog,2\n", "line 3: the edge cat to dog is listed twice"),
        ("from,to,weight\ncat,dog,much\n", "line 2: weight 'much' is not a positive number"),
        ("from,to,weight\ncat,dog,-1\n", "line 2: weight '-1' is not a positive number"),
        ("from,to,weight\ncat,dog,nan\n", "line 2: weight 'nan' is not a positive number"),
        ("from,to,weight\ncat,dog\n", "line 2: weight None is not a positive number"),
        ("from,to,weight\nsun,moon,1\n", "no edge between two classes of the table"),
    ],
)
def test_unusable_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_edges(path, CLASSES)
    with pytest.raises(LabelError, match=r"missing\.csv cannot be read"):
        read_edges(tmp_path / "missing.csv", CLASSES)


def test_a_source_that_is_none_is_told_from_an_unusable_file() -> None:
    with pytest.raises(
        UsageError, match="label graph 'cooccurrence' is none of co_occurrence, identity, label_vectors nor a"
    ):
        smoothing_graph("cooccurrence", _table(), 2)
