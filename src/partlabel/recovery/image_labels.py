"""What the known labels of an image say of its unknown ones.

Where a known label is a surprise, its image is not quite as its scores say: a known "beach" that the model did not
expect makes "sea" more probable. For known cells let r = (y - p) / √(p (1 - p)), y 1 or 0 and p the sigmoid of the
logit, and R = E[r rᵀ] between classes, from pairs of known cells of one image, shrunk towards 0. For a cell of class c
and the known cells O of its image, the expected surprise is u = R_cO (R_OO + λI)⁻¹ r_O, and its new logit a + b l + γ u
with a, b and γ from all known cells.

The cells of a fold are changed by labels of other folds alone, and R of a fold rests on the others too, so that known
and unknown cells of a fold stay alike. (The three numbers a, b and γ of a fold are fitted to cells of the other folds,
whose own surprises the fold informs, as its labels inform their models: a second-order effect.) The method is ours;
docs/recover.md says what it gains.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import FloatArray, ScoredCells
from partlabel.labels import IntArray
from partlabel.progress import Tick, unheard

MOST_CLASSES = 2000
"""With more classes the matrices between classes would not fit in memory."""
_PAIRS = 200.0
"""Pairs of known cells at which half of what they show counts. Ours."""
_RIDGE = 0.5
"""λ. Ours."""
_LEAST_VARIANCE = 0.0025
_LARGEST = 5.0


class _OfFold(NamedTuple):
    """What the cells outside a fold say: R of unit diagonal, and a, b, γ."""

    between: FloatArray
    line: FloatArray


class ImageLabels:
    """Logits with what the known labels of the same image say of them.

    Args:
        cells: K known cells that the models never saw, with their images.
        fold: int64 `[K]`.
        folds: one for each fold.
    """

    def __init__(self, cells: ScoredCells, fold: IntArray, folds: list[_OfFold]) -> None:
        self.folds = folds
        self._row = {name: number for number, name in enumerate(cells.images)}
        order = np.argsort(cells.image_index, kind="stable")
        bounds = np.searchsorted(cells.image_index[order], np.arange(len(cells.images) + 1))
        self._cells = [order[start:end] for start, end in pairwise(bounds)]
        self._surprise, self._column, self._fold = surprises(cells), cells.class_index, fold

    @classmethod
    def fitted(cls, cells: ScoredCells, fold: IntArray, count: int | None = None, tick: Tick = unheard) -> Self:
        """From the known cells of all folds; `tick` is called with images.

        Raises:
            UsageError: there are too many classes.
        """
        if len(cells.classes) > MOST_CLASSES:
            raise UsageError(
                f"the labels of the same image are used for up to {MOST_CLASSES:,} classes, and there are "
                f"{len(cells.classes):,}; leave --image-labels out"
            )
        count = int(fold.max()) + 1 if count is None else count
        nothing = np.zeros(3)
        between = [_between(cells, fold != number) for number in range(count)]
        found = cls(cells, fold, [_OfFold(one, nothing) for one in between])
        expected = found.of_known(cells, tick)
        present = cells.states > 0
        lines = [
            _line(cells.logits[fold != number], expected[fold != number], present[fold != number])
            for number in range(count)
        ]
        return cls(cells, fold, [_OfFold(*one) for one in zip(between, lines, strict=True)])

    def expected(self, image: str, fold: IntArray) -> FloatArray:
        """Expected surprise, float64 `[C]`, of the cells of an image, whose folds are given, int64 `[C]`."""
        found = np.zeros(fold.size)
        row = self._row.get(image)
        if row is None:
            return found
        mine = self._cells[row]
        for number, (between, _) in enumerate(self.folds):
            others, asked = mine[self._fold[mine] != number], np.flatnonzero(fold == number)
            if not others.size or not asked.size:
                continue
            known = self._column[others]
            matrix = between[np.ix_(known, known)] + _RIDGE * np.eye(known.size)
            found[asked] = between[np.ix_(asked, known)] @ np.linalg.solve(matrix, self._surprise[others])
        return found

    def of_known(self, cells: ScoredCells, tick: Tick = unheard) -> FloatArray:
        """Expected surprise, float64 `[K]`, of the known cells themselves, each by labels of other folds."""
        found, every = np.zeros(cells.logits.size), np.full(len(cells.classes), -1, np.int64)
        for done, (image, mine) in enumerate(zip(cells.images, self._cells, strict=True), 1):
            fold = every.copy()
            fold[self._column[mine]] = self._fold[mine]
            found[mine] = self.expected(image, fold)[self._column[mine]]
            tick(done, len(cells.images))
        return found

    def changed(self, logits: FloatArray, expected: FloatArray, fold: IntArray) -> FloatArray:
        """New logits, float64, from logits, expected surprises and folds of one shape."""
        a, b, gamma = (np.array([one.line[place] for one in self.folds]) for place in range(3))
        return np.asarray(a[fold] + b[fold] * logits + gamma[fold] * expected, np.float64)

    def blocks(
        self, blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32], IntArray]], names: Sequence[str]
    ) -> Iterator[tuple[NDArray[np.int64], FloatArray, IntArray]]:
        """Blocks of images (rows, logits `[n, C]`, folds `[n, C]`) with new logits."""
        for rows, logits, fold in blocks:
            expected = np.stack([self.expected(names[row], fold[place]) for place, row in enumerate(rows)])
            yield rows, self.changed(logits.astype(np.float64), expected, fold), fold


def surprises(cells: ScoredCells) -> FloatArray:
    """Surprise r of each cell, float64 `[K]`, between -5 and 5."""
    share = expit(cells.logits)
    deviation = np.sqrt(np.maximum(share * (1 - share), _LEAST_VARIANCE))
    return np.asarray(np.clip(((cells.states > 0) - share) / deviation, -_LARGEST, _LARGEST), np.float64)


def _between(cells: ScoredCells, used: NDArray[np.bool_]) -> FloatArray:
    """R, float64 `[C, C]`, from the used cells."""
    size = len(cells.images), len(cells.classes)
    values, known = np.zeros(size, np.float32), np.zeros(size, np.float32)
    where = cells.image_index[used], cells.class_index[used]
    values[where], known[where] = surprises(cells)[used], 1.0
    found = (values.T @ values).astype(np.float64) / ((known.T @ known).astype(np.float64) + _PAIRS)
    np.fill_diagonal(found, 1.0)
    return found


def _line(logits: FloatArray, expected: FloatArray, present: NDArray[np.bool_]) -> FloatArray:
    """A, b and γ of greatest likelihood, with a weak prior."""
    inputs = np.stack([np.ones_like(logits), logits, expected])

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        values = line @ inputs
        away = line - (0.0, 1.0, 0.0)
        total = np.logaddexp(0, np.where(present, -values, values)).sum() + 0.5e-3 * (away**2).sum()
        return float(total), inputs @ (expit(values) - present) + 1e-3 * away

    return np.asarray(minimize(loss, np.array([0.0, 1.0, 0.0]), jac=True, method="BFGS").x, np.float64)
