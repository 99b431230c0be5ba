"""The known cells that suggestions are judged by, and scores of unknown cells that these speak for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import ScoredCells, require_precision
from partlabel.inference.crossed import crossed_blocks
from partlabel.inference.scores import run_blocks
from partlabel.labels import Cells, IntArray, LabelTable
from partlabel.methods.catalogue import entry
from partlabel.progress import Reporter
from partlabel.recovery.image_labels import ImageLabels
from partlabel.runs.cell_folds import CellFolds, stated_cells
from partlabel.runs.folder import RunFolder
from partlabel.training.cross_fit import cross_fit
from partlabel.training.init_weights import seen_before

FOLDS = 5
"""Folds where cross-fitting is cheap."""
Scores = Iterator[tuple[NDArray[Any], ...]]
"""Row numbers, logits `[n, C]` and, of folds, folds `[n, C]`."""


class JudgingCells(NamedTuple):
    """Known cells, scored by models that never saw them.

    Args:
        cells: K of them, with their images.
        fold: int64 `[K]`, the fold of each; None where they were held out of one training.
        models: what scores the unknown cells: a run for each fold, or the run itself.
        seed: of the folds.
        images: how many images the known cells might have been of.
        seen: how many of them an earlier run knew that this one started from.
        image_labels: what known labels say of the other cells of their image, where that is asked for.
    """

    cells: ScoredCells
    fold: IntArray | None
    models: Sequence[RunFolder]
    seed: int
    images: int
    seen: int
    image_labels: ImageLabels | None = None

    @property
    def chosen_by(self) -> bool:
        """Whether the training chose by these cells, or went on with them: then they are not quite unseen."""
        settings = self.models[0].settings
        chose = settings.select == "best" or settings.schedule == "plateau" or "found_lr" in self.models[0].info
        return self.fold is None and (chose or settings.refit)

    @property
    def words(self) -> str:
        """What they are, for a sentence."""
        way = "held out of the training" if self.fold is None else f"cross-fitted in {len(self.models)} folds"
        present, absent, _ = (int(part.sum()) for part in self.cells.counts)
        return f"{present:,} present and {absent:,} absent known cells, {way}"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        present, absent, _ = (int(part.sum()) for part in self.cells.counts)
        return {
            "by": "held-out cells" if self.fold is None else "cross-fitting",
            "folds": None if self.fold is None else len(self.models),
            "present": present,
            "absent": absent,
            "seen_by_start": self.seen,
            "chosen_by": self.chosen_by,
            "image_labels": self.image_labels is not None,
        }

    def with_image_labels(self, reporter: Reporter) -> "JudgingCells":
        """With the logits that follow when the known labels of an image inform its other cells.

        Args:
            reporter: where progress goes.

        Raises:
            UsageError: the cells are not cross-fitted, or there are too many classes.
        """
        if self.fold is None:
            raise UsageError("the labels of the same image need cross-fitted scores; add --folds 5")
        with reporter.track("learning from labels of the same image") as tick:
            found = ImageLabels.fitted(self.cells, self.fold, len(self.models), tick)
        with reporter.track("changing scores by labels of the same image") as tick:
            logits = found.changed(self.cells.logits, found.of_known(self.cells, tick), self.fold)
        return self._replace(cells=replace(self.cells, logits=logits), image_labels=found)

    def blocks(self, names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None) -> Scores:
        """Scores of images, by the models that these cells speak for."""
        if self.fold is None:
            yield from run_blocks(self.models[0], names, root, reporter, max_image_mb)[0]
            return
        folds = CellFolds(names, self.cells.classes, len(self.models), self.seed)
        blocks = crossed_blocks(self.models, folds, names, root, reporter, max_image_mb)
        yield from blocks if self.image_labels is None else self.image_labels.blocks(blocks, names)


def held_out_cells(run: RunFolder, classes: tuple[str, ...]) -> JudgingCells:
    """The cells that the training of a run held out."""
    cells = run.held_out(classes)
    return JudgingCells(cells, None, [run], run.settings.seed, len(run.labels()), int(run.info.get("init_knew", 0)))


def crossed_cells(
    run: RunFolder,
    classes: tuple[str, ...],
    count: int,
    root: Path,
    reporter: Reporter,
    max_image_mb: float | None = None,
    labels: LabelTable | None = None,
) -> JudgingCells:
    """All known cells that somebody stated, each scored by the model of its fold; trained and scored where they are
    not yet.

    Args:
        run: a finished run.
        classes: of the run, in the order wanted.
        count: number of folds.
        root: the image folder of the training.
        reporter: where progress goes.
        max_image_mb: most memory, in MB, that decoding one image may take.
        labels: those of the run, or of some of its images; None: of all.

    Raises:
        LabelError: present or absent cells are missing, so that no precision can be measured.
    """
    labels, seed = run.labels() if labels is None else labels, run.settings.seed
    cells = stated_cells(labels)
    start = run.inputs.get("init")
    seen = 0
    if start:
        there = (Path(start) / "run.json").is_file()
        seen = seen_before(Path(start), cells, labels) if there else cells.states.size
    require_precision(ScoredCells.of(cells, np.zeros(cells.states.size), labels.images, labels.classes))
    models = cross_fit(run, count, reporter, root, labels)
    if not run.has_crossed(count):
        folds = CellFolds(labels.images, labels.classes, count, seed)
        logits = _logits(cells, crossed_blocks(models, folds, labels.images, root, reporter, max_image_mb))
        run.write_held_out(cells, logits, labels, count)
    scored = run.held_out(classes, count)
    fold = CellFolds(scored.images, classes, count, seed).at(scored.image_index, scored.class_index)
    return JudgingCells(scored, fold, models, seed, len(labels), seen)


def usual_folds(run: RunFolder) -> int:
    """Folds that cost seconds: those of a fitted method; 0 for a method of steps."""
    return FOLDS if entry(run.settings.method).fitted else 0


def _logits(cells: Cells, blocks: Scores) -> NDArray[np.float32]:
    found = np.empty(cells.states.size, np.float32)
    for rows, logits, _ in blocks:
        first, end = np.searchsorted(cells.image_index, (rows[0], rows[-1] + 1))
        found[first:end] = logits[cells.image_index[first:end] - rows[0], cells.class_index[first:end]]
    return found
