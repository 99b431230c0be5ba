"""What one phase of a run trains on, and how its held-out cells are scored and judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import NotFiniteError
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import Cells, LabelTable, State
from partlabel.models.tagger import Tagger
from partlabel.training.data import Source
from partlabel.training.epoch_log import EpochLog
from partlabel.training.scoring import score_blocks


class Apart(NamedTuple):
    """Images that are held out whole: their ascending numbers in the table that the held-out cells are of, int64, their
    names, and a source of their plain views.
    """

    rows: NDArray[np.int64]
    images: Sequence[str]
    scoring: Source


@dataclass
class Phase:
    """What one phase of a run trains on.

    Args:
        name: "selection" (without what is held out) or "refit" (all known cells).
        table: the labels to train on.
        held_out: cells to judge by; empty in "refit".
        ranked: cells by which to choose a model: the held-out ones, with unknown ones where they have but one sign.
        training: source of the method's views.
        scoring: source of the plain view.
        truth: complete labels of the images of the table, for the log alone.
        test: judges epochs by test labels, for a log of its own.
        apart: the images that the held-out cells are of, where whole images are held out; None: those of the table.
    """

    name: str
    table: LabelTable
    held_out: Cells
    ranked: Cells
    training: Source
    scoring: Source
    truth: LabelTable | None = None
    test: EpochLog | None = None
    apart: Apart | None = None

    @property
    def judged(self) -> Apart:
        """The images that the held-out cells are of."""
        return self.apart or Apart(np.arange(len(self.table)), self.table.images, self.scoring)

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
    rows, images, source = phase.judged
    for some, block in score_blocks(tagger, source, len(rows), **scoring):
        _check_finite(block, [images[number] for number in some])
        here = rows[some]
        first, end = np.searchsorted(cells.image_index, (here[0], here[-1] + 1))
        logits[first:end] = block[np.searchsorted(here, cells.image_index[first:end]), cells.class_index[first:end]]
    return logits


def check_logits(tagger: Tagger, phase: Phase, **scoring: Any) -> None:
    """Refuse a model that gives no numbers for the first images.

    Raises:
        NotFiniteError: an image has a NaN or infinity among its logits.
    """
    for rows, block in score_blocks(tagger, phase.scoring, min(len(phase.table), 16), **scoring):
        _check_finite(block, [phase.table.images[row] for row in rows])


def _check_finite(logits: NDArray[np.float32], images: Sequence[str]) -> None:
    finite = np.isfinite(logits).all(1)
    if not finite.all():
        raise NotFiniteError(
            f"the model's logits of image {images[int(np.argmin(finite))]} are not finite; lower the learning rate or "
            "clip gradients (clip_norm), or take another backbone where nothing is trained by steps"
        )


def map_of_cells(logits: NDArray[np.float32], cells: Cells, classes: int) -> tuple[float, int]:
    """MAP (raw) over the classes that have both sides among these cells, and how many they are; NaN if none has.

    Present cells are ranked among absent ones; where no absent cell is given, among the unknown ones (see
    `with_contrast`).
    """
    scored = ScoredCells.of(cells, logits, (), [""] * classes)
    return (scored if (cells.states == State.ABSENT).any() else scored.among_unknown()).mean_average_precision
