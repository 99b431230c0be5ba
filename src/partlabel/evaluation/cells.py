"""What every measure needs first: scores and states that fit each other, counted, in blocks of bounded memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.labels import Counts, IntArray, State

Scores = NDArray[np.floating[Any]]
States = NDArray[np.int8]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

Column = tuple[int, Scores, Scores]
"""The number of a class, and the scores of its known present and of its known absent cells, both ascending."""

BLOCK_CELLS = 1 << 20
"""Cells worked on at a time, or one whole row or column where that is more; bounds the memory of every measure."""


def check_cells(
    scores: ArrayLike,
    states: ArrayLike,
    classes: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
) -> tuple[Scores, States]:
    """Scores and states as arrays that fit each other. Floating scores and int8 states are not copied.

    Args:
        scores: `[N, C]`, higher means more likely present. What stands at unknown cells does not matter, not even NaN.
        states: `[N, C]` of -1 (absent), 0 (unknown), +1 (present).
        classes: C names, for the error sentences.
        images: N names, for the error sentences.

    Raises:
        UsageError: the shapes are not `[N, C]` or differ.
        LabelError: a state is not -1, 0 or +1, or the states are not integers (booleans cannot say unknown).
        NotFiniteError: the score of a known cell is NaN or infinite.
    """
    score_array, state_array = np.asarray(scores), np.asarray(states)
    if score_array.ndim != 2 or score_array.shape != state_array.shape:
        raise UsageError(
            f"scores have shape {score_array.shape} and states {state_array.shape}; both must be [images, classes], "
            f"and equal"
        )
    if classes is not None and len(classes) != score_array.shape[1]:
        raise UsageError(f"there are {len(classes)} class names, but the scores have {score_array.shape[1]} columns")
    if not np.issubdtype(score_array.dtype, np.floating):
        if not np.issubdtype(score_array.dtype, np.integer):
            raise UsageError(f"scores must be numbers, not {score_array.dtype}")
        score_array = score_array.astype(np.float64)
    state_array = _as_states(state_array)
    for block in row_blocks(score_array.shape):
        broken = ~np.isfinite(score_array[block]) & (state_array[block] != State.UNKNOWN)
        if broken.any():
            row, column = np.argwhere(broken)[0]
            image = f"row {block.start + row}" if images is None else repr(images[block.start + row])
            name = f"column {column}" if classes is None else repr(classes[column])
            raise NotFiniteError(
                f"the score of image {image}, class {name} is {score_array[block][row, column]}, but its label is "
                "known: every known cell needs a finite score"
            )
    return score_array, state_array


def _as_states(states: NDArray[Any]) -> States:
    if not np.issubdtype(states.dtype, np.integer):
        raise LabelError(f"states must be integers -1 (absent), 0 (unknown), +1 (present), not {states.dtype}")
    if states.size and (states.min() < State.ABSENT or states.max() > State.PRESENT):
        wrong = int(states.min() if states.min() < State.ABSENT else states.max())
        raise LabelError(f"a state is {wrong}; states are -1 (absent), 0 (unknown) and +1 (present)")
    return states.astype(np.int8, copy=False)


def count_states(states: States) -> Counts:
    """Present, absent and unknown cells of each class, int64 `[C]`."""
    present, absent = np.zeros((2, states.shape[1]), np.int64)
    for block in row_blocks(states.shape):
        present += np.count_nonzero(states[block] == State.PRESENT, axis=0)
        absent += np.count_nonzero(states[block] == State.ABSENT, axis=0)
    return Counts(present, absent, states.shape[0] - present - absent)


def scored_classes(counts: Counts) -> BoolArray:
    """Bool `[C]`: the class has a known present and a known absent cell, so that it takes part in the class means."""
    return (counts.present > 0) & (counts.absent > 0)


def mean_over(values: FloatArray, kept: BoolArray) -> float:
    """Mean of the kept values; NaN where none is kept."""
    return float(values[kept].mean()) if kept.any() else float("nan")


def known_columns(scores: Scores, states: States) -> Iterator[Column]:
    """Each column, with the scores of its known present cells and of its known absent cells, both sorted ascending.

    Memory: one block of columns of scores and states, and twice one column.
    """
    for block in _blocks(scores.shape[1], scores.shape[0]):
        # Contiguous columns: walking down a row-major array once a class would miss the cache at every cell.
        score_columns = np.ascontiguousarray(scores[:, block].T)
        state_columns = np.ascontiguousarray(states[:, block].T)
        for column, (column_scores, column_states) in enumerate(
            zip(score_columns, state_columns, strict=True), block.start
        ):
            present, absent = (column_scores[column_states == state] for state in (State.PRESENT, State.ABSENT))
            present.sort()
            absent.sort()
            yield column, present, absent


def first_of_equals(ascending: Scores) -> IntArray:
    """Position of the first of each run of equal values."""
    return np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Consecutive slices of rows of about `BLOCK_CELLS` cells each."""
    return _blocks(shape[0], shape[1])


def _blocks(length: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_CELLS // max(width, 1))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
