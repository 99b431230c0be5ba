"""Logits to probabilities: one logistic line shared by all classes, and for each class one that is shrunk towards it.

After Platt, "Probabilistic outputs for support vector machines" (1999), with normal priors in place of his smoothed
targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from partlabel.errors import LabelError, NotFiniteError, RunError
from partlabel.evaluation.calibration import expected_calibration_error
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells, check_held_out, require_precision
from partlabel.labels import IntArray
from partlabel.recovery.logistic import fit_lines

# How far a class may leave the shared line, in log-odds and in log slope. Ours, from a search on Corel5k.
_CLASS_DEVIATION = (0.5, 0.25)
_SHARED_DEVIATION = (10.0, 2.0)
_SMALLEST_SPREAD = 1e-6
_FOLDS = 5
ERROR_BINS = 10
"""Bins of the expected calibration error by which a calibration is judged."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probability that a cell is present, from its logit: `sigmoid(intercept[c] + slope[c] * logit)`.

    It is fitted on known cells and used on unknown ones. That is right only if *being known does not depend on the
    state, given the logit*. Labels that come from tagging what catches the eye break it: presents become known more
    often than absents, and the probabilities, with every precision derived from them, come out too high. No number
    computed from known cells alone can reveal that; looking at a random sample of unknown cells can.

    Args:
        classes: class names, C of them.
        intercept: float64 `[C]`, log-odds at logit 0.
        slope: float64 `[C]`, above 0; log-odds per unit of logit.
    """

    classes: tuple[str, ...]
    intercept: FloatArray
    slope: FloatArray

    def __post_init__(self) -> None:
        self.intercept.setflags(write=False)
        self.slope.setflags(write=False)

    @classmethod
    def none(cls, classes: tuple[str, ...]) -> Self:
        """The sigmoid of the logit, for every class."""
        return cls(classes, np.zeros(len(classes)), np.ones(len(classes)))

    def probability(self, logits: ArrayLike) -> FloatArray:
        """Probabilities, float64 `[..., C]`, of logits `[..., C]`; within a class never lower where the logit is
        higher.

        Raises:
            LabelError: the last axis is not the classes.
            NotFiniteError: a logit is NaN.
        """
        values = np.asarray(logits, np.float64)
        if values.shape[-1:] != (len(self.classes),):
            raise LabelError(f"logits have shape {values.shape}, but the calibration has {len(self.classes)} classes")
        missing = np.isnan(values)
        if missing.any():
            name = self.classes[int(np.argwhere(missing)[0][-1])]
            raise NotFiniteError(
                f"{missing.sum()} logit(s) are NaN, first in class {name!r}; the model is broken, train it again"
            )
        return np.asarray(expit(self.intercept + self.slope * values), np.float64)

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` gives back the same numbers bit for bit."""
        return {"classes": list(self.classes), "intercept": self.intercept.tolist(), "slope": self.slope.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The calibration that `to_json` described.

        Raises:
            RunError: the value is not what `to_json` writes.
        """
        try:
            classes = tuple(str(name) for name in value["classes"])
            lines = np.array([value["intercept"], value["slope"]], np.float64).reshape(2, len(classes))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the calibration of this model bundle cannot be read ({error!r}); make it again from the run"
            ) from error
        if not np.isfinite(lines).all() or (lines[1] <= 0).any():
            raise RunError(
                "the calibration of this model bundle has a slope that is not above 0, or a number that is not finite"
            )
        return cls(classes, lines[0], lines[1])


def fit_calibration(
    logits: ArrayLike, states: ArrayLike, class_index: ArrayLike, classes: Sequence[str]
) -> Calibration:
    """Calibration from held-out known cells.

    The shared line has weak priors (standard deviations of 10 for the intercept and 2 for the log slope, on
    standardised logits). A class's line differs from it by an intercept with prior N(0, 0.5²), measured at the logit
    where the shared probability is one half, and by a log slope with prior N(0, 0.25²): few cells leave a class on the
    shared line, many cells speak for themselves. A class without a known absent cell has the shared line.

    Args:
        logits: floating `[K]`, of a model that never saw these cells.
        states: `[K]` of -1 (absent) and +1 (present).
        class_index: integers `[K]` in 0..C-1.
        classes: names of the C classes.

    Raises:
        LabelError: the arrays do not fit, or present or absent cells are missing; says what to do.
        NotFiniteError: a logit is NaN or infinite.
    """
    cells = check_held_out(logits, states, class_index, classes)
    return Calibration(cells.classes, *_fit(cells, cells.measurable[cells.class_index]))


class Calibrated(NamedTuple):
    """Probabilities of held-out cells, and whether a calibration makes them better.

    Args:
        calibrations: to be used, one for all cells or one for each fold of cells; they leave the sigmoid of the logit
            as it is where the fitted ones did not help.
        probability: float64 `[K]`, of the held-out cells, each without its own help.
        before: expected calibration error of the sigmoid of the logit on these cells.
        after: the same of calibrations that were fitted without the cell.
    """

    calibrations: tuple[Calibration, ...]
    probability: FloatArray
    before: float
    after: float

    @property
    def calibration(self) -> Calibration:
        """The one for all cells, or of the first fold."""
        return self.calibrations[0]

    @property
    def applied(self) -> bool:
        """False where the fitted calibration is worse than none on cells that it was not fitted on."""
        return self.after <= self.before

    def __str__(self) -> str:
        """What was found, as a sentence without a full stop."""
        found = (
            f"on held-out cells that it was not fitted on, the expected calibration error is {self.after:.4f} with "
            f"calibration and {self.before:.4f} without"
        )
        return found if self.applied else f"no calibration is applied: {found}"


def calibrate(cells: ScoredCells, fold: IntArray | None = None) -> Calibrated:
    """The calibration of held-out cells, used only where it makes probabilities better.

    Args:
        cells: K known cells, with logits of a model that never saw them.
        fold: int64 `[K]`, the fold of each, where each fold has a model of its own. Then each has a calibration of its
            own too, from the cells of the other folds, for its known and its unknown cells alike.

    Raises:
        LabelError: present or absent cells are missing; says what to do.
        NotFiniteError: a logit is NaN or infinite.
    """
    require_precision(cells)
    count = 1 if fold is None else int(fold.max()) + 1
    parts = _random_parts(cells.logits.size) if fold is None else fold
    lines = _lines_without(cells, parts)
    plain, crossed = np.asarray(expit(cells.logits), np.float64), _of_parts(cells, parts, lines)
    before, after = (
        expected_calibration_error(one[:, None], cells.states[:, None], ERROR_BINS) for one in (plain, crossed)
    )
    if after > before:
        return Calibrated((Calibration.none(cells.classes),) * count, plain, before, after)
    if fold is None:
        lines = [_fit(cells, cells.measurable[cells.class_index])]
    return Calibrated(tuple(Calibration(cells.classes, *line) for line in lines), crossed, before, after)


def cross_fit(cells: ScoredCells) -> FloatArray:
    """Probabilities, float64 `[K]`, of the held-out cells, each from a calibration that was fitted without it.

    A class's own line follows the few presents of the class, so thresholds set on the probabilities that these same
    cells produced accept too much. The five parts are drawn without regard to state, class or logit: parts that share
    the presents of each class evenly would let the luck of the draw through again (see `thresholds` for the size of
    both effects).
    """
    parts = _random_parts(cells.logits.size)
    return _of_parts(cells, parts, _lines_without(cells, parts))


def _random_parts(size: int) -> IntArray:
    return np.random.default_rng(0).permutation(size) % _FOLDS


def _lines_without(cells: ScoredCells, parts: IntArray) -> list[tuple[FloatArray, FloatArray]]:
    """Intercepts and slopes of the classes without the cells of each part."""
    counts = cells.measurable[cells.class_index]
    return [_fit(cells, counts & (parts != number)) for number in range(int(parts.max(initial=0)) + 1)]


def _of_parts(cells: ScoredCells, parts: IntArray, lines: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Probabilities `[K]`, each by the lines without its part."""
    intercept, slope = (np.stack(one) for one in zip(*lines, strict=True))
    where = parts, cells.class_index
    return np.asarray(expit(intercept[where] + slope[where] * cells.logits), np.float64)


def _fit(cells: ScoredCells, used: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope of each class, float64 `[C]`, from the used cells."""
    logits, present, columns = cells.logits[used], cells.present[used], cells.class_index[used]
    centre = logits.mean() if logits.size else 0.0
    spread = logits.std() if logits.size else 0.0
    # Equal logits have a spread of rounding errors.
    scale = spread if spread > _SMALLEST_SPREAD * (1 + abs(centre)) else 1.0
    values = (logits - centre) / scale
    shared = fit_lines(values, present, np.zeros(values.size, np.int64), np.zeros((1, 2)), _SHARED_DEVIATION)[0]
    half = -shared[0] / np.exp(shared[1])
    start = np.tile([0.0, shared[1]], (cells.measurable.size, 1))
    lines = fit_lines(values - half, present, columns, start, _CLASS_DEVIATION)
    slope = np.exp(lines[:, 1]) / scale
    return lines[:, 0] - slope * (half * scale + centre), slope
