"""Known cells that are probably wrong, by scores of models that never saw them. Nothing is changed.

The states of known cells are read as true ones of which some were turned over. Where the true state is present with
probability s, the sigmoid of a line in the logit, a cell is stated present with probability `q = f + (1 - e - f) s`: f
is the share of true absents that are stated present, e that of true presents that are stated absent. Both show in the
scores, as the floor and the ceiling of q, and are fitted with it. Then by Bayes' rule a cell that is stated present is
wrong with probability `f (1 - s) / q`, and one that is stated absent with probability `e s / (1 - q)`. That puts both
polarities on one scale: where presents are easily missed and hardly ever invented, a probable present that is stated
absent comes before an improbable one that is stated present.

The calibrated probability of the other state alone knows nothing of that, and finds far fewer where only presents were
turned over (`benchmarks/doubtful_labels.py`). The rates cannot be had from it either, because it has followed the
stated states already; hence the logits.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from partlabel.errors import LabelError, NotFiniteError
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells
from partlabel.files import atomic_path, file_sha256, write_json
from partlabel.formats.text import name_cell
from partlabel.labels import IntArray, Source, State
from partlabel.recovery.suggest import COLUMNS

RULE = "doubtful"
_LEAST = 1e-12
_MEAN = np.array([0.0, 0.0, -4.0, -5.0])
_DEVIATION = np.array([10.0, 2.0, 1.5, 1.5])
"""Prior of intercept and log slope on standardised logits, and of the logarithms of e and f over what is neither."""


class Doubtful(NamedTuple):
    """Known cells, the most doubtful first; equal ones in their order.

    Args:
        order: int64 `[K]`, which of the cells.
        probability: float64 `[K]`, that its state is wrong.
        missed: share of true presents that are stated absent, as fitted.
        invented: share of true absents that are stated present, as fitted.
    """

    order: IntArray
    probability: FloatArray
    missed: float
    invented: float


def doubtful(cells: ScoredCells) -> Doubtful:
    """Rank known cells by the probability that their state is wrong.

    Args:
        cells: K known cells, each with the logit of a model that never saw it. All have a part in fitting the four
            numbers that make probabilities of their logits.

    Raises:
        LabelError: a cell is unknown, or there is none.
        NotFiniteError: a logit is NaN or infinite.
    """
    if not cells.states.size or not cells.states.all():
        raise LabelError("only known cells can be wrong, and none is given or one is unknown; give known cells only")
    if not np.isfinite(cells.logits).all():
        raise NotFiniteError("a logit is NaN or infinite; the model is broken, train it again")
    score = (cells.logits - cells.logits.mean()) / (cells.logits.std() or 1.0)
    found = minimize(_objective, _MEAN, (score, cells.present), "L-BFGS-B", jac=True).x
    missed, invented = _turned(found)
    true = expit(found[0] + np.exp(found[1]) * score)
    stated = _stated(true, missed, invented)
    wrong = np.where(cells.present, invented * (1 - true) / stated, missed * true / (1 - stated))
    order = np.argsort(-wrong, kind="stable")
    return Doubtful(order, wrong[order], missed, invented)


def _turned(parameters: FloatArray) -> tuple[float, float]:
    """The shares e and f."""
    odds = np.exp(parameters[2:])
    missed, invented = odds / (1 + odds.sum())
    return float(missed), float(invented)


def _stated(true: FloatArray, missed: float, invented: float) -> FloatArray:
    """Probability of being stated present."""
    return np.asarray(np.clip(invented + (1 - missed - invented) * true, _LEAST, 1 - _LEAST), np.float64)


def _objective(parameters: FloatArray, score: FloatArray, present: BoolArray) -> tuple[float, FloatArray]:
    """Log loss of the stated states with the prior, and its gradient `[4]`."""
    risen = np.exp(parameters[1]) * score
    true = expit(parameters[0] + risen)
    missed, invented = _turned(parameters)
    stated = _stated(true, missed, invented)
    by_line = (1 - missed - invented) * true * (1 - true)
    by = (by_line, by_line * risen, -missed * stated, invented * (1 - stated))
    excess = (stated - present) / (stated * (1 - stated))
    from_mean = (parameters - _MEAN) / _DEVIATION
    loss = -np.log(np.where(present, stated, 1 - stated)).sum() + (from_mean**2).sum() / 2
    return float(loss), np.array([(excess * one).sum() for one in by]) + from_mean / _DEVIATION


def write_doubtful(
    path: Path | str,
    cells: ScoredCells,
    found: Doubtful,
    most: int | None = None,
    sources: NDArray[np.integer[Any]] | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Write doubtful cells as a CSV with the columns of suggestions, the most doubtful first; and PATH.json.

    The state is the one that is known now, the probability that it is wrong, and the rule `doubtful`.

    Args:
        path: file to write.
        cells: with their images.
        found: by `doubtful`, of these cells.
        most: how many cells to write, at most; None: all.
        sources: integers `[K]`, the `Source` of each state; None: imported.
        evidence: JSON values of what scored them.

    Raises:
        LabelError: the cells have no images.
        StorageError: the file cannot be written.
    """
    if cells.image_index.size != cells.states.size:
        raise LabelError("the cells come without their images, so nobody could look at them; give the images too")
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(COLUMNS) + "\n")
            for cell, wrong in zip(found.order[:most], found.probability[:most], strict=True):
                names = f"{name_cell(cells.image(int(cell)))},{name_cell(cells.classes[cells.class_index[cell]])}"
                state = State(int(cells.states[cell])).name.lower()
                source = Source.IMPORT if sources is None else Source(int(sources[cell]))
                file.write(f"{names},{state},{source.name.lower()},{wrong:.6f},{cells.logits[cell]:.6g},{RULE}\n")
        summary = {
            "sha256": file_sha256(temporary),
            "kind": RULE,
            "target_precision": None,
            "evidence": dict(evidence or {}),
            "known": int(cells.states.size),
            "share_of_presents_stated_absent": found.missed,
            "share_of_absents_stated_present": found.invented,
        }
        write_json(f"{path}.json", summary)
