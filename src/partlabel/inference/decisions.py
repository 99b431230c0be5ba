"""From logits to probabilities and decisions, as a bundle says. Numpy only."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import NotFiniteError
from partlabel.recovery.calibrate import Calibration


class Decisions(NamedTuple):
    """What a model says of N images and C classes.

    Args:
        probability: float64 `[N, C]`, in 0..1; calibrated where the bundle holds a calibration.
        predicted: bool `[N, C]`.
    """

    probability: NDArray[np.float64]
    predicted: NDArray[np.bool_]


def decide(
    logits: NDArray[np.float32], thresholds: Sequence[float] | None, calibration: Mapping[str, Any] | None
) -> Decisions:
    """Probabilities, and which classes are predicted.

    Args:
        logits: floating `[N, C]`.
        thresholds: C logits from which on a class is predicted; 0 for each without them.
        calibration: what `Calibration.to_json` gave; the sigmoid without it.
    """
    wide = logits.astype(np.float64)
    if calibration is None:
        probability = np.exp(-np.logaddexp(0, -wide))
    else:
        probability = Calibration.from_json(dict(calibration)).probability(wide)
    return Decisions(probability, wide >= (0.0 if thresholds is None else np.asarray(thresholds)))


def refuse_not_finite(logits: NDArray[np.float32], images: Sequence[object]) -> None:
    """Refuse logits `[N, C]` with a NaN or infinity: no decision can be made from them.

    Raises:
        NotFiniteError: there are such logits; it names the first images.
    """
    bad = np.flatnonzero(~np.isfinite(logits).all(1))
    if bad.size:
        shown = ", ".join(str(images[row]) for row in bad[:3]) + (", ..." if bad.size > 3 else "")
        raise NotFiniteError(
            f"the model gives no finite logits for {bad.size} of {len(images)} images, first: {shown}; its weights are "
            "damaged, train it again"
        )
