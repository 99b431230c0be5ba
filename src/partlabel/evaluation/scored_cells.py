"""Held-out known cells: what calibration and thresholds rest on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError, NotFiniteError
from partlabel.labels import IntArray, State

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class HeldOut(NamedTuple):
    """Checked held-out cells, K of them.

    Args:
        logits: float64 `[K]`.
        present: bool `[K]`; False is known absent.
        class_index: int64 `[K]`.
        measurable: bool `[C]`; True where at least one cell of the class is known absent. The cells of the other
            classes cannot show an error, so they count nowhere.
    """

    logits: FloatArray
    present: BoolArray
    class_index: IntArray
    measurable: BoolArray


def check_held_out(logits: ArrayLike, states: ArrayLike, class_index: ArrayLike, classes: Sequence[str]) -> HeldOut:
    """Held-out cells in one form, or the reason why no precision can be measured with them.

    Args:
        logits: floating `[K]`, of a model that never saw these cells.
        states: `[K]` of -1 (absent) and +1 (present).
        class_index: integers `[K]` in 0..C-1.
        classes: names of the C classes.

    Raises:
        LabelError: lengths or indices do not fit, a state is unknown, or present or absent cells are missing.
        NotFiniteError: a logit is NaN or infinite.
    """
    scores, values = np.asarray(logits, np.float64).ravel(), np.asarray(states).ravel()
    columns = np.asarray(class_index, np.int64).ravel()
    if not scores.size == values.size == columns.size:
        raise LabelError(
            f"held-out cells differ in length: {scores.size} logits, {values.size} states, {columns.size} class indices"
        )
    if not np.isin(values, (State.ABSENT, State.PRESENT)).all():
        raise LabelError("a held-out cell is neither present (+1) nor absent (-1); give known cells only")
    if columns.size and (columns.min() < 0 or columns.max() >= len(classes)):
        raise LabelError(
            f"class numbers of held-out cells run from {columns.min()} to {columns.max()}, outside "
            f"0..{len(classes) - 1}"
        )
    wrong = ~np.isfinite(scores)
    if wrong.any():
        raise NotFiniteError(
            f"{wrong.sum()} held-out logit(s) are NaN or infinite, first in class {classes[columns[wrong][0]]!r}; "
            "the training went wrong, train again with a lower learning rate"
        )
    present = values == State.PRESENT
    measurable = np.bincount(columns[~present], minlength=len(classes)) > 0
    _check_both_states(present, measurable[columns])
    return HeldOut(scores, present, columns, measurable)


def _check_both_states(present: BoolArray, counts: BoolArray) -> None:
    if not present.size:
        raise LabelError(
            "no known cell was held out of training, so precision cannot be measured; hold some out; `predict` gives "
            "scores without a promise"
        )
    if present.all():
        raise LabelError(
            f"these labels hold no known absent cell ({present.size} held-out cells, all present), so precision "
            f"cannot be measured; mark some cells absent; `predict` gives scores without a promise"
        )
    if not present.any():
        raise LabelError(
            f"these labels hold no known present cell ({present.size} held-out cells, all absent), so precision "
            f"cannot be measured; mark some cells present; `predict` gives scores without a promise"
        )
    if not (present & counts).any():
        raise LabelError(
            f"each of the {present.sum()} known present held-out cells is of a class without a known absent one, so "
            f"precision cannot be measured; mark some cells of these classes absent; `predict` gives scores without a "
            f"promise"
        )
