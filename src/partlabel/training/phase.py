"""What one phase of a run trains on, and how its held-out cells are scored and judged."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import NotFiniteError
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import Cells, LabelTable, State
from partlabel.models.tagger import Tagger
from partlabel.training.data import Source
from partlabel.training.scoring import score_blocks


@dataclass
class Phase:
    """What one phase of a run trains on.

    Args:
        name: "selection" (held-out cells are hidden) or "refit" (all known cells).
        table: the labels to train on.
        held_out: cells to judge by; empty in "refit".
        ranked: cells by which to choose a model: the held-out ones, with unknown ones where they have but one sign.
        training: source of the method's views.
        scoring: source of the plain view.
        truth: complete labels of the images of the table, for the log alone.
    """

    name: str
    table: LabelTable
    held_out: Cells
    ranked: Cells
    training: Source
    scoring: Source
    truth: LabelTable | None = None

    @property
    def measure(self) -> str:
        """What the model is chosen by: a column of log.csv."""
        return "held_out_mAP" if self.ranked is self.held_out else "held_out_mAP_among_unknown"


def cell_logits(tagger: Tagger, phase: Phase, cells: Cells, **scoring: Any) -> NDArray[np.float32]:
    """Logits of single cells, float32 `[K]`.

    Raises:
        NotFiniteError: an image has a NaN or infinity among its logits.
    """
    logits = np.empty(cells.states.size, np.float32)
    for rows, block in score_blocks(tagger, phase.scoring, len(phase.table), **scoring):
        _check_finite(block, rows, phase)
        first, end = np.searchsorted(cells.image_index, (rows[0], rows[-1] + 1))
        logits[first:end] = block[cells.image_index[first:end] - rows[0], cells.class_index[first:end]]
    return logits


def check_logits(tagger: Tagger, phase: Phase, **scoring: Any) -> None:
    """Refuse a model that gives no numbers for the first images.

    Raises:
        NotFiniteError: an image has a NaN or infinity among its logits.
    """
    for rows, block in score_blocks(tagger, phase.scoring, min(len(phase.table), 16), **scoring):
        _check_finite(block, rows, phase)


def _check_finite(logits: NDArray[np.float32], rows: NDArray[np.int64], phase: Phase) -> None:
    finite = np.isfinite(logits).all(1)
    if not finite.all():
        raise NotFiniteError(
            f"the model's logits of image {phase.table.images[rows[~finite][0]]} are not finite; lower the learning "
            "rate or clip gradients (clip_norm)"
        )


def map_of_cells(logits: NDArray[np.float32], cells: Cells, classes: int) -> tuple[float, int]:
    """MAP (raw) over the classes that have both sides among these cells, and how many they are; NaN if none has.

    Present cells are ranked among absent ones; where no absent cell is given, among the unknown ones (see
    `with_contrast`).
    """
    scored = ScoredCells.of(cells, logits, (), [""] * classes)
    return (scored if (cells.states == State.ABSENT).any() else scored.among_unknown()).mean_average_precision
