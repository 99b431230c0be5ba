import numpy as np
import pytest

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.evaluation import cells
from partlabel.evaluation.cells import check_cells, count_states, known_columns, row_blocks


def test_nothing_is_copied_when_the_types_fit():
    scores, states = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.int8)
    checked_scores, checked_states = check_cells(scores, states)
    assert np.shares_memory(checked_scores, scores)
    assert np.shares_memory(checked_states, states)


@pytest.mark.parametrize(("scores", "states"), [([1.0], [1]), ([[1.0]], [[1, 0]]), ([[[1.0]]], [[[1]]])])
def test_shapes_must_fit(scores, states):
    with pytest.raises(UsageError, match=r"scores have shape .* and states .*\[images, classes\]"):
        check_cells(scores, states)


def test_class_names_must_fit():
    with pytest.raises(UsageError, match="2 class names, but the scores have 1 columns"):
        check_cells([[1.0]], [[1]], ["a", "b"])


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ([[2, 0]], "a state is 2"),
        ([[0, -3]], "a state is -3"),
        ([[True, False]], "not bool"),
        ([[1.0, 0.0]], "not float64"),
    ],
)
def test_states_must_be_tri_state(states, sentence):
    with pytest.raises(LabelError, match=sentence):
        check_cells([[0.0, 1.0]], states)


def test_scores_must_be_numbers():
    with pytest.raises(UsageError, match="scores must be numbers, not bool"):
        check_cells([[True]], [[1]])
    assert check_cells([[3]], [[1]])[0].dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_known_cells_need_finite_scores(monkeypatch, value):
    monkeypatch.setattr(cells, "BLOCK_CELLS", 4)
    scores, states = np.zeros((7, 2)), np.zeros((7, 2), np.int8)
    scores[5, 1] = value
    check_cells(scores, states)
    states[5, 1] = -1
    with pytest.raises(NotFiniteError, match=f"image row 5, class 'cat' is {value}"):
        check_cells(scores, states, ["dog", "cat"])
    with pytest.raises(NotFiniteError, match="image row 5, class column 1"):
        check_cells(scores, states)


@pytest.mark.parametrize("block_cells", [1, 7, 50, 10_000])
def test_blocks_of_any_size_see_every_cell_once(monkeypatch, tagging, block_cells):
    monkeypatch.setattr(cells, "BLOCK_CELLS", block_cells)
    scores, states = tagging
    assert np.array_equal(np.concatenate([states[block] for block in row_blocks(states.shape)]), states)
    counts = count_states(states)
    for column, present, absent in known_columns(scores, states):
        assert present.tolist() == sorted(scores[states[:, column] == 1, column])
        assert absent.tolist() == sorted(scores[states[:, column] == -1, column])
        assert (counts.present[column], counts.absent[column]) == (present.size, absent.size)
        assert counts.unknown[column] == 300 - present.size - absent.size
    assert column == 11
