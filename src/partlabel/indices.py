"""Numbers of images and classes as int64 arrays, checked."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partlabel.errors import LabelError


def integers(index: ArrayLike, kind: str) -> NDArray[np.int64]:
    """Index as int64; a boolean mask or a fraction would silently become other rows.

    Args:
        index: numbers, of any shape.
        kind: what is numbered, for messages: `image` or `class`.

    Raises:
        LabelError: it holds something other than integers.
    """
    values = np.asarray(index)
    if values.size and values.dtype.kind not in "iu":
        raise LabelError(
            f"{kind} numbers have type {values.dtype}, not an integer type (of a mask, give np.flatnonzero(mask))"
        )
    return values.astype(np.int64, copy=False)


def check_range(index: NDArray[np.int64], size: int, kind: str) -> None:
    """Refuse numbers outside `0..size - 1`.

    Raises:
        LabelError: there is one.
    """
    if index.size and (index.min() < 0 or index.max() >= size):
        raise LabelError(
            f"{kind} number {int(index.max() if index.max() >= size else index.min())} is outside 0..{size - 1}"
        )


def as_index(wanted: ArrayLike | Sequence[str], positions: Mapping[str, int], kind: str) -> NDArray[np.int64]:
    """Numbers of what is wanted by number or by name; the range is not checked.

    Args:
        wanted: numbers, or names.
        positions: number of each name.
        kind: what is numbered, for messages: `image` or `class`.

    Raises:
        LabelError: a name is not there, or there is something other than integers.
    """
    values = list(wanted) if isinstance(wanted, (list, tuple)) else np.asarray(wanted).tolist()
    if not any(isinstance(value, str) for value in values):
        return integers(values, kind)
    missing = [value for value in values if value not in positions]
    if missing:
        raise LabelError(f"{len(missing)} {kind} name(s) are not in the table, first: {missing[0]!r}")
    return np.asarray([positions[value] for value in values], np.int64)
