"""Logits to probabilities: one curve for all classes, and class curves that are shrunk towards it.

Annotators miss labels that are there, so even where a model is sure only a share of the cells is marked present. A
sigmoid cannot say that: it takes a middle slope, and is wrong on both sides. So the log-odds rise by one slope for
cells that are probably absent and by a smaller one for cells that are probably present (`bend`), and the probability
ends at a `ceiling`. Both are needed: a ceiling alone is too low for the very first cells of the list, which are then
kept from a promise that they would fulfil, and the bend alone is worse where few labels are missed. How far classes
may leave the shared curve is chosen by log loss on cells apart. `benchmarks/calibration.py` shows what this brings on
real photographs.

After Platt, "Probabilistic outputs for support vector machines" (1999), with normal priors in place of his smoothed
targets; the two slopes are the beta calibration of Kull, Silva Filho and Flach (AISTATS 2017), the ceiling is that of
item response theory (Barton and Lord, 1981).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from partlabel.errors import LabelError, NotFiniteError, RunError
from partlabel.evaluation.calibration import brier_score, expected_calibration_error, log_loss
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells, check_held_out, require_precision
from partlabel.labels import IntArray
from partlabel.progress import Tick, unheard
from partlabel.recovery.logistic import Prior, bent, fit_curves, log_losses

_CLASS_DEVIATIONS = ((0.0, 0.0), (0.15, 0.075), (0.3, 0.15), (0.6, 0.3))
"""How far a class may leave the shared curve, in log-odds and in log slope, on standardised logits."""
_SHARED_MEAN = (0.0, 0.0, -2.0, -4.0)
_SHARED_DEVIATION = (10.0, 2.0, 1.5, 1.5)
"""Prior of intercept, log slope, the log-odds of the bend and those of what is missing to 1 under the ceiling."""
_SMALLEST_SPREAD = 1e-6
_FAR = 1e5
_LEAST_PROBABILITY = 1e-15
_FOLDS = 5
_INNER_PARTS = 3
"""Parts of the cells of one fit by which its deviation of classes is chosen."""
ERROR_BINS = 10
"""Bins of the expected calibration error that is reported."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Probability that a cell is present, from its logit.

    `ceiling * sigmoid(m - bend * log(1 + exp(m)))`, where `m = intercept[c] + slope[c] * logit`. With a ceiling of 1
    and without a bend that is the sigmoid of a line.

    It is fitted on known cells and used on unknown ones. That is right only if *being known does not depend on the
    state, given the logit*. Labels that come from tagging what catches the eye break it: presents become known more
    often than absents, and the probabilities, with every precision derived from them, come out too high. No number
    computed from known cells alone can reveal that; looking at a random sample of unknown cells can.

    Args:
        classes: class names, C of them.
        intercept: float64 `[C]`.
        slope: float64 `[C]`, above 0; log-odds per unit of logit where presents are rare.
        ceiling: share of the cells that are present however high the logit, above 0 and at most 1.
        bend: by which share the slope is less where presents are frequent, at least 0 and below 1.
        plain: how many classes, the last ones, have neither ceiling nor bend: those that were added later.
    """

    classes: tuple[str, ...]
    intercept: FloatArray
    slope: FloatArray
    ceiling: float = 1.0
    bend: float = 0.0
    plain: int = 0

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
        return self._raised(self.intercept + self.slope * values, np.arange(len(self.classes)))

    def of(self, logits: FloatArray, class_index: IntArray) -> FloatArray:
        """Probabilities, float64 `[K]`, of single cells, from their logits `[K]` and class numbers `[K]`."""
        return self._raised(self.intercept[class_index] + self.slope[class_index] * logits, class_index)

    def _raised(self, margin: FloatArray, class_index: IntArray) -> FloatArray:
        # Far out the two terms of `bent` are infinite and infinite.
        limited = np.clip(margin, -_FAR, _FAR)
        raised = self.ceiling * expit(bent(limited, self.bend))
        return np.asarray(np.where(class_index < len(self.classes) - self.plain, raised, expit(limited)), np.float64)

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` gives back the same numbers bit for bit."""
        return {
            "classes": list(self.classes),
            "intercept": self.intercept.tolist(),
            "slope": self.slope.tolist(),
            "ceiling": self.ceiling,
            "bend": self.bend,
            **({"plain": self.plain} if self.plain else {}),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The calibration that `to_json` described; one of an earlier version has no ceiling and no bend.

        Raises:
            RunError: the value is not what `to_json` writes.
        """
        try:
            classes = tuple(str(name) for name in value["classes"])
            lines = np.array([value["intercept"], value["slope"]], np.float64).reshape(2, len(classes))
            ceiling, bend = float(value.get("ceiling", 1.0)), float(value.get("bend", 0.0))
            plain = int(value.get("plain", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the calibration of this model bundle cannot be read ({error!r}); make it again from the run"
            ) from error
        if not np.isfinite(lines).all() or (lines[1] <= 0).any():
            raise RunError(
                "the calibration of this model bundle has a slope that is not above 0, or a number that is not finite"
            )
        if not (0 < ceiling <= 1 and 0 <= bend < 1):
            raise RunError(
                f"the calibration of this model bundle has a ceiling of {ceiling}, which should be above 0 and at most "
                f"1, and a bend of {bend}, which should be at least 0 and below 1"
            )
        if not 0 <= plain <= len(classes):
            raise RunError(f"the calibration of this model bundle has {len(classes)} classes, and {plain} plain ones")
        return cls(classes, lines[0], lines[1], ceiling, bend, plain)


def fit_calibration(
    logits: ArrayLike, states: ArrayLike, class_index: ArrayLike, classes: Sequence[str]
) -> Calibration:
    """Calibration from held-out known cells.

    The shared curve has priors on standardised logits: N(0, 10²) for the intercept, N(0, 2²) for the log slope,
    N(-2, 1.5²) for the log-odds of the bend (0.12; 0.01 to 0.73 at two deviations) and N(-4, 1.5²) for those of what
    is missing to 1 under the ceiling (0.98; 0.73 to 0.999). A class's curve has the same bend and ceiling; it differs
    by an intercept with prior N(0, d²), measured where the shared margin is 0, and by a log slope with prior
    N(0, (d/2)²): few cells leave a class on the shared curve, many cells speak for themselves. The d is 0, 0.15, 0.3
    or 0.6: the one of the least log loss on cells that the curves were not fitted on, in three parts. A class without
    a known absent cell has the shared curve.

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
    return _fit(cells, cells.measurable[cells.class_index])


class Quality(NamedTuple):
    """How good probabilities of K cells are; less is better.

    Args:
        log_loss: mean of minus the logarithm of the probability of the state.
        brier: mean squared difference of probability and state.
        error: expected calibration error in ten bins.
    """

    log_loss: float
    brier: float
    error: float

    @classmethod
    def of(cls, probability: FloatArray, cells: ScoredCells) -> Self:
        """That of probabilities `[K]` of being present."""
        values, states = probability[:, None], cells.states[:, None]
        error = expected_calibration_error(values, states, ERROR_BINS)
        return cls(log_loss(values, states), brier_score(values, states), error)


class Calibrated(NamedTuple):
    """Probabilities of held-out cells, and whether a calibration makes them better.

    Args:
        calibrations: to be used, one for all cells or one for each fold of cells; they leave the sigmoid of the logit
            as it is where the fitted ones did not help.
        probability: float64 `[K]`, of the held-out cells, each without its own help.
        before: how good the sigmoid of the logit is on these cells.
        after: the same of calibrations that were fitted without the cell.
        doubt: standard error of the difference of their log losses.
    """

    calibrations: tuple[Calibration, ...]
    probability: FloatArray
    before: Quality
    after: Quality
    doubt: float

    @property
    def calibration(self) -> Calibration:
        """The one for all cells, or of the first fold."""
        return self.calibrations[0]

    @property
    def applied(self) -> bool:
        """False where the fitted calibration has more log loss than none, on cells that it was not fitted on, by more
        than the standard error of the difference.

        Log loss, because it is least at the true probabilities; the calibration error is as small for probabilities
        that are all alike. And beyond its error, because of few known cells the sign of the difference is luck.
        """
        return self.after.log_loss - self.before.log_loss <= self.doubt

    def __str__(self) -> str:
        """What was found, as a sentence without a full stop."""
        after, before = self.after, self.before
        found = (
            f"on held-out cells that it was not fitted on, the log loss is {after.log_loss:.4f} with calibration and "
            f"{before.log_loss:.4f} without (standard error of the difference: {self.doubt:.4f}), the Brier score "
            f"{after.brier:.4f} and {before.brier:.4f}, the expected calibration error {after.error:.4f} and "
            f"{before.error:.4f}"
        )
        return found if self.applied else f"no calibration is applied: {found}"


def calibrate(
    cells: ScoredCells, fold: IntArray | None = None, folds: int | None = None, tick: Tick = unheard
) -> Calibrated:
    """The calibration of held-out cells, used only where it makes probabilities better.

    Args:
        cells: K known cells, with logits of a model that never saw them.
        fold: int64 `[K]`, the fold of each, where each fold has a model of its own. Then each has a calibration of its
            own too, from the cells of the other folds, for its known and its unknown cells alike.
        folds: how many there are; None: up to the last that has a cell.
        tick: called after each fit but the last one of a single model.

    Raises:
        LabelError: present or absent cells are missing; says what to do.
        NotFiniteError: a logit is NaN or infinite.
    """
    require_precision(cells)
    parts = _random_parts(cells.logits.size, _FOLDS) if fold is None else fold
    fitted = _without_each(cells, parts, folds or int(parts.max()) + 1, tick)
    count = 1 if fold is None else len(fitted)
    plain, crossed = np.asarray(expit(cells.logits), np.float64), _of_parts(cells, parts, fitted)
    before, after = Quality.of(plain, cells), Quality.of(crossed, cells)
    if fold is None:
        fitted = [_fit(cells, cells.measurable[cells.class_index])]
    difference = _surprise(crossed, cells.present) - _surprise(plain, cells.present)
    doubt = float(difference.std() / np.sqrt(difference.size))
    found = Calibrated(tuple(fitted), crossed, before, after, doubt)
    if found.applied:
        return found
    return found._replace(calibrations=(Calibration.none(cells.classes),) * count, probability=plain)


def cross_fit(cells: ScoredCells) -> FloatArray:
    """Probabilities, float64 `[K]`, of the held-out cells, each from a calibration that was fitted without it.

    A class's own curve follows the few presents of the class, so thresholds set on the probabilities that these same
    cells produced accept too much. The five parts are drawn without regard to state, class or logit: parts that share
    the presents of each class evenly would let the luck of the draw through again (see `thresholds` for the size of
    both effects).
    """
    parts = _random_parts(cells.logits.size, _FOLDS)
    return _of_parts(cells, parts, _without_each(cells, parts, _FOLDS))


def _surprise(probability: FloatArray, present: BoolArray) -> FloatArray:
    return np.asarray(-np.log(np.maximum(np.where(present, probability, 1 - probability), _LEAST_PROBABILITY)))


def _random_parts(size: int, count: int) -> IntArray:
    return np.random.default_rng(0).permutation(size) % count


def _without_each(cells: ScoredCells, parts: IntArray, count: int, tick: Tick = unheard) -> list[Calibration]:
    """The calibration without the cells of each part."""
    counts, fitted = cells.measurable[cells.class_index], []
    for number in range(count):
        fitted.append(_fit(cells, counts & (parts != number)))
        tick(number + 1, count)
    return fitted


def _of_parts(cells: ScoredCells, parts: IntArray, calibrations: list[Calibration]) -> FloatArray:
    """Probabilities `[K]`, each by the calibration without its part."""
    each = np.stack([calibration.of(cells.logits, cells.class_index) for calibration in calibrations])
    return np.asarray(np.take_along_axis(each, parts[None], 0)[0], np.float64)


def _fit(cells: ScoredCells, used: BoolArray) -> Calibration:
    """Calibration from the used cells."""
    logits, present, columns = cells.logits[used], cells.present[used], cells.class_index[used]
    centre = logits.mean() if logits.size else 0.0
    spread = logits.std() if logits.size else 0.0
    # Equal logits have a spread of rounding errors.
    scale = spread if spread > _SMALLEST_SPREAD * (1 + abs(centre)) else 1.0
    fitted = _Standardised((logits - centre) / scale, present, columns, cells.measurable.size).curves()
    slope = np.exp(fitted.curves[:, 1]) / scale
    intercept = fitted.curves[:, 0] - slope * (fitted.zero * scale + centre)
    bend, missing = fitted.curves[0, 2:]
    return Calibration(cells.classes, intercept, slope, float(expit(-missing)), float(expit(bend)))


class _Curves(NamedTuple):
    """Curves of classes, `[C, 4]`, over the distance of a value from where the shared margin is 0."""

    zero: float
    curves: FloatArray


class _Standardised(NamedTuple):
    """Cells of one fit: values and present `[K]`, class numbers `[K]`, and how many classes there are."""

    values: FloatArray
    present: BoolArray
    columns: IntArray
    classes: int

    def curves(self) -> _Curves:
        """Curves with the smallest deviation of classes whose log loss on cells apart is the least, or above it by no
        more than the standard error of the difference: one that luck could have chosen is not worth having.
        """
        shared = self._shared(np.array([_SHARED_MEAN]))
        parts = _random_parts(self.values.size, _INNER_PARTS)
        losses = np.zeros((len(_CLASS_DEVIATIONS), self.values.size))
        for number in range(_INNER_PARTS):
            rest, apart = self._some(parts != number), self._some(parts == number)
            for place, found in enumerate(rest._by_deviation(rest._shared(shared), len(losses))):
                distance = apart.values - found.zero
                losses[place, parts == number] = log_losses(distance, apart.present, apart.columns, found.curves)
        more = losses - losses[np.argmin(losses.sum(axis=1))]
        enough = more.sum(axis=1) <= more.std(axis=1) * np.sqrt(self.values.size)
        return self._by_deviation(shared, int(np.argmax(enough)) + 1)[-1]

    def _some(self, kept: BoolArray) -> Self:
        return self._replace(values=self.values[kept], present=self.present[kept], columns=self.columns[kept])

    def _shared(self, start: FloatArray) -> FloatArray:
        """The curve `[1, 4]` of all classes together."""
        prior = Prior(np.array([_SHARED_MEAN]), _SHARED_DEVIATION)
        return fit_curves(self.values, self.present, np.zeros(self.values.size, np.int64), prior, start)

    def _by_deviation(self, shared: FloatArray, count: int) -> list[_Curves]:
        """Curves for each of the first deviations, the search for one starting from the one before."""
        zero = float(-shared[0, 0] / np.exp(shared[0, 1]))
        mean = np.tile([0.0, *shared[0, 1:]], (self.classes, 1))
        curves, found = mean, []
        for deviation in _CLASS_DEVIATIONS[:count]:
            prior = Prior(mean, (*deviation, 0.0, 0.0))
            curves = fit_curves(self.values - zero, self.present, self.columns, prior, curves)
            found.append(_Curves(zero, curves))
        return found
