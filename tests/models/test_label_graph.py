"""Co-occurrence of known labels and ML-GCN's adjacency, against loops over cells."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partlabel.labels import LabelTable
from partlabel.models.graphs.label_graph import co_occurrence, ml_gcn_adjacency


@st.composite
def tables(draw: st.DrawFn) -> LabelTable:
    """Tables with listed unknown cells, and some classes that are absent where not listed."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, columns = np.nonzero(random.random((images, classes)) < draw(st.sampled_from([0.2, 0.6, 1.0])))
    return LabelTable.from_cells(
        [f"{row}.png" for row in range(images)],
        [f"c{column}" for column in range(classes)],
        rows,
        columns,
        random.integers(-1, 2, rows.size),
        background=-random.integers(0, 2, classes),
    )


def _naive_shares(states: NDArray[np.int8]) -> NDArray[np.float64]:
    classes = states.shape[1]
    shares = np.zeros((classes, classes))
    for i in range(classes):
        for j in range(classes):
            seen = [row[j] for row in states if row[i] == 1 and row[j] != 0]
            if seen:
                shares[i, j] = sum(state == 1 for state in seen) / len(seen)
    return shares


@given(tables())
def test_shares_are_counted_from_known_cells(table: LabelTable) -> None:
    shares = co_occurrence(table)
    assert shares.dtype == torch.float32
    np.testing.assert_allclose(shares.numpy(), _naive_shares(table.dense()), rtol=1e-6)


@given(tables())
def test_shares_with_unknown_taken_as_absent_are_those_of_the_completed_table(table: LabelTable) -> None:
    states = table.dense()
    completed = LabelTable.from_dense(table.images, table.classes, np.where(states == 1, 1, -1).astype(np.int8))
    assert torch.equal(co_occurrence(table, "absent"), co_occurrence(completed))
    np.testing.assert_allclose(
        co_occurrence(table, "absent").numpy(), _naive_shares(np.where(states == 0, -1, states)), rtol=1e-6
    )


def test_unknown_does_not_dilute() -> None:
    """i and j always together: hiding half of j's cells leaves the share 1, where counting unknown as absent would give
    1/2.
    """
    states = np.array([[1, 1], [1, 0], [1, 1], [1, 0], [-1, -1]], np.int8)
    table = LabelTable.from_dense([str(row) for row in range(5)], ["i", "j"], states)
    torch.testing.assert_close(co_occurrence(table), torch.ones(2, 2))


def test_no_evidence_is_zero_not_nan() -> None:
    table = LabelTable.from_dense(["x", "y"], ["never", "once", "unknown"], [[-1, 1, 0], [0, 0, 0]])
    torch.testing.assert_close(co_occurrence(table), torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]))
    nothing = LabelTable.from_dense(["x"], ["a", "b"], [[0, 0]])
    assert torch.equal(co_occurrence(nothing), torch.zeros(2, 2))


def test_large_tables_need_no_dense_one() -> None:
    """200,000 × 3,000 cells would be 600 MB of bytes alone; three cells are listed an image."""
    images, classes = 200_000, 3_000
    rows = np.repeat(np.arange(images), 3)
    columns = (np.arange(3 * images) * 7) % classes
    table = LabelTable.from_cells(
        map(str, range(images)), map(str, range(classes)), rows, columns, np.ones(rows.size, np.int8)
    )
    shares = co_occurrence(table)
    assert shares[0, 7] == shares[7, 0] == 1
    assert (shares > 0).sum(1).eq(3).all()


def test_adjacency_against_loops() -> None:
    random = np.random.default_rng(0)
    conditional = random.random((6, 6)) * (random.random((6, 6)) < 0.7)
    conditional[2] = 0
    conditional[1, 3] = 0.4
    p, expected = 0.2, np.zeros((6, 6))
    for i in range(6):
        linked = [j for j in range(6) if j != i and conditional[i, j] >= 0.4]
        expected[i, i] = 1 - p
        for j in linked:
            expected[i, j] = p / len(linked)
    degree = [sum(expected[i]) for i in range(6)]
    for i in range(6):
        for j in range(6):
            expected[i, j] /= degree[i] ** 0.5 * degree[j] ** 0.5
    assert expected[1, 3] > 0
    np.testing.assert_allclose(ml_gcn_adjacency(torch.from_numpy(conditional)).numpy(), expected, rtol=1e-12)


def test_without_links_a_label_keeps_to_itself() -> None:
    torch.testing.assert_close(ml_gcn_adjacency(torch.eye(3)), torch.eye(3))
    torch.testing.assert_close(ml_gcn_adjacency(torch.ones(3, 3), reweight=0.0), torch.eye(3))
