"""What scores unknown cells for `recover`, and the known cells that speak for the scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from partlabel.errors import LabelError, RunError, StorageError
from partlabel.evaluation.scored_cells import FloatArray
from partlabel.inference.judging_cells import JudgingCells, crossed_cells, held_out_cells, usual_folds
from partlabel.inference.scores import run_blocks
from partlabel.labels import LabelTable
from partlabel.progress import Reporter
from partlabel.recovery.calibrate import Calibration, calibrate
from partlabel.recovery.strata import Prior
from partlabel.report.folder import training_images
from partlabel.runs.folder import RunFolder
from partlabel.training.cross_fit import is_cross_fitted


class Basis(NamedTuple):
    """What scores unknown cells, and the known cells that speak for the scores.

    Args:
        judging: known cells; None where an audit goes without.
        calibrations: of the scores.
        probability: float64 `[K]`, of being present, of the known cells.
        run: what scores where there are no judging cells.
        most: candidates of an audit without them: as many as present cells are known.
    """

    judging: JudgingCells | None
    calibrations: tuple[Calibration, ...]
    probability: FloatArray
    run: RunFolder
    most: int

    @property
    def evidence(self) -> dict[str, Any]:
        """JSON values."""
        return {"by": "nothing but verdicts"} if self.judging is None else self.judging.to_json()

    @property
    def prior(self) -> Prior:
        """Whether the scores are probabilities, for an audit."""
        return "uniform" if self.judging is None else "calibrated"

    def blocks(self, names: Sequence[str], root: Path, reporter: Reporter, max_image_mb: float | None) -> Any:
        """Scores of images."""
        if self.judging is None:
            return run_blocks(self.run, names, root, reporter, max_image_mb)[0]
        return self.judging.blocks(names, root, reporter, max_image_mb)


def basis_of(
    run: RunFolder,
    labels: LabelTable,
    folds: int | None,
    image_labels: bool,
    by_audit: bool,
    estimate: bool,
    root: Path,
    reporter: Reporter,
    max_image_mb: float | None,
) -> Basis:
    """The known cells to judge by, and their calibration; only an audit can do without."""
    most = max(int(run.labels().counts_by_class().present.sum()), 1)
    without = Basis(None, (Calibration.none(labels.classes),), np.empty(0), run, most)
    if by_audit and not run.labels().counts_by_class().absent.any():
        return without
    try:
        judging = _judging(run, labels, folds, root, reporter, max_image_mb)
    except RunError:
        if by_audit:  # nothing was held out
            return without
        raise
    if judging.seen and not (by_audit or estimate):
        raise LabelError(
            f"the run that this one started from was trained on {judging.seen:,} of the known cells, so that they can "
            "promise nothing; train without --init, ask for an estimate (--estimate), or audit (--audit)"
        )
    if image_labels:
        judging = judging.with_image_labels(reporter)
    with reporter.track("calibrating") as tick:
        folds = None if judging.fold is None else len(judging.models)
        calibrated = calibrate(judging.cells, judging.fold, folds, tick)
    return Basis(judging, calibrated.calibrations, calibrated.probability, run, most)


def _judging(
    run: RunFolder, labels: LabelTable, folds: int | None, root: Path, reporter: Reporter, max_image_mb: float | None
) -> JudgingCells:
    """The known cells to judge by, cross-fitted where that was asked for or costs little."""
    count = usual_folds(run) if folds is None else folds
    if not count:
        return held_out_cells(run, labels.classes)
    try:
        where, known = _trained_on(run, labels, count, root, reporter)
        return crossed_cells(run, labels.classes, count, where, reporter, max_image_mb, known)
    except StorageError as error:
        if folds is not None:
            raise
        reporter.say(f"no cross-fitting, the held-out cells are used: {error}")
        return held_out_cells(run, labels.classes)


def _trained_on(
    run: RunFolder, labels: LabelTable, count: int, root: Path, reporter: Reporter
) -> tuple[Path, LabelTable]:
    """The image folder to cross-fit a run by, and its labels.

    Where that of its training is gone, or is not opened, it is the folder that the user names now, and the labels are
    those of the images that the user's table names too; unless nothing is left to be done.

    Raises:
        StorageError: that is less than half of the images.
    """
    known, where = run.labels(), training_images(run, root)
    if isinstance(where, Path):
        return where, known
    if is_cross_fitted(run, count, known):
        return root, known
    rows = [row for row, name in enumerate(known.images) if name in labels.image_positions]
    if 2 * len(rows) < len(known):
        raise StorageError(f"{where.reason}, and the table names {len(rows):,} of its {len(known):,} images")
    reporter.say(f"{where.reason}; cross-fitting takes {len(rows):,} of {len(known):,} from {root}")
    return root, known if len(rows) == len(known) else known.select_images(rows)
