"""Label graphs that a run learned: written, read, and the largest picked."""

from pathlib import Path

import numpy as np

from partlabel.models.graphs.smoothing_graph import read_edges
from partlabel.runs.learned_graph import Edge, read_learned_graph, strongest, write_learned_graph


def test_what_is_written_is_read_with_both_weights(tmp_path: Path) -> None:
    start = np.array([[0.5, 0.25, 0], [0, 0.75, 1], [0.5, 0, 0]], np.float32)
    end = np.array([[0.5, -0.125, 0], [0, 0.75, 0], [0.625, 0, 0]], np.float32)
    path = tmp_path / "label_graph.csv"
    write_learned_graph(path, ("a, b", "c", "d"), start, end)
    edges = read_learned_graph(path)
    assert edges == [Edge("a, b", "c", -0.125, 0.25), Edge("c", "d", 0, 1), Edge("d", "a, b", 0.625, 0.5)]
    assert strongest(edges, 2) == [edges[2], edges[0]]
    assert read_learned_graph(tmp_path / "none.csv") == []


def test_a_graph_without_negative_weights_can_begin_another_training(tmp_path: Path) -> None:
    weights = np.array([[0.5, 0.25], [0.5, 0.75]], np.float32)
    write_learned_graph(tmp_path / "label_graph.csv", ("a", "b"), weights, weights)
    assert read_edges(tmp_path / "label_graph.csv", ("a", "b")).tolist() == weights.tolist()
