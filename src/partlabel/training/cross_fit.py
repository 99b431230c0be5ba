"""Cross-fitting over cells: a model for each fold of cells, trained as the run was with that fold unknown.

Each is a run of its own in the folder `folds` of the run, and is gone on with where it stopped.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from partlabel.errors import Interrupted, RunError
from partlabel.files import remove_leftovers
from partlabel.images.paths import image_root
from partlabel.labels import LabelTable
from partlabel.methods.base import IMAGE_ASSETS
from partlabel.methods.catalogue import entry
from partlabel.progress import BarsOnly, Reporter
from partlabel.runs.cell_folds import CellFolds, without_fold
from partlabel.runs.folder import RunFolder
from partlabel.runs.origin import sealed
from partlabel.runs.owning import earlier_run
from partlabel.runs.settings import TrainSettings
from partlabel.training.first_fit import fit_first
from partlabel.training.generators import own_generators
from partlabel.training.phases import run_phases
from partlabel.training.prepared import Prepared
from partlabel.training.threads import free_threads


class _Fold(NamedTuple):
    """The model of a fold as it should be.

    Args:
        model: its run, begun or not.
        settings: to train with.
        inputs: of its run.
        facts: of its run: of one that refines a fit, this, and the settings before they follow its features.
    """

    model: RunFolder
    settings: TrainSettings
    inputs: dict[str, Any]
    facts: dict[str, Any]

    @property
    def begun(self) -> bool:
        """Whether anything was begun in its folder."""
        return (self.model.path / "run.json").is_file()

    @property
    def fits(self) -> bool:
        """Whether what was begun is of these labels and settings, wherever its images were."""
        kept, wanted = (
            {name: value for name, value in inputs.items() if name not in {"images", "seal"}}
            for inputs in (self.model.inputs, self.inputs)
        )
        begun = self.model.info
        same = kept == wanted and all(begun.get(name) == value for name, value in self.facts.items())
        return same and (bool(self.facts) or self.model.settings == self.settings)

    @property
    def done(self) -> bool:
        """Whether it is trained, as it should be."""
        return self.begun and self.model.info["status"] == "done" and self.fits


def is_cross_fitted(run: RunFolder, count: int, labels: LabelTable) -> bool:
    """Whether the models of all folds are trained on these labels, and all stated cells are scored: then no image is
    needed any more.
    """
    return run.has_crossed(count) and all(fold.done for fold in _folds(run, count, labels))


def cross_fit(
    run: RunFolder, count: int, reporter: Reporter, images: Path | None = None, labels: LabelTable | None = None
) -> list[RunFolder]:
    """The models of all folds, trained where they are not yet, or are of other labels or settings.

    A method of steps is trained as the run was, its learning rate as found, with a part of the remaining cells held
    out. A fitted method needs none held out.

    Args:
        run: a finished run.
        count: number of folds.
        reporter: where progress goes.
        images: the image folder of the training, if it was moved.
        labels: those of the run, or of some of its images; None: of all.

    Returns:
        A finished run for each fold.

    Raises:
        RunError: the run is not finished.
        Interrupted: given again, it goes on.
    """
    if run.info["status"] != "done":
        raise RunError(f"the training of {run.path} has not finished; go on with: {run.resume_command}")
    labels = run.labels() if labels is None else labels
    folds = _folds(run, count, labels)
    models = [fold.model for fold in folds]
    if all(fold.done for fold in folds):
        return models
    reporter.say(_cost(run, count))
    root = image_root(images or run.inputs["images"]).resolve()
    cells = CellFolds(labels.images, labels.classes, count, run.settings.seed)
    with earlier_run(run), own_generators(), free_threads():
        run.forget_crossed(count)
        for number, fold in enumerate(folds):
            try:
                reporter.say(f"fold {number + 1} of {count}")
                _begin(fold, run, without_fold(labels, cells, number), reporter)
                _train(fold, root, BarsOnly(reporter))
            except (KeyboardInterrupt, Interrupted) as error:
                raise Interrupted(f"stopped in fold {number + 1} of {count}; the same command goes on") from error
    return models


def _folds(run: RunFolder, count: int, labels: LabelTable) -> list[_Fold]:
    """What the model of each fold is to be, by the run as it is now."""
    settings, inputs = run.settings, run.inputs
    folds = CellFolds(labels.images, labels.classes, count, settings.seed)
    if entry(settings.method).fitted:
        settings = settings.model_copy(update={"holdout": 0.0, "refit": False})
    facts: dict[str, Any] = {}
    if "start" in run.info:
        facts = {"start": run.info["start"], "settings_asked": settings.model_dump(mode="json")}
    return [
        _Fold(
            RunFolder(run.fold(count, number)),
            settings,
            {**inputs, "labels_hash": without_fold(labels, folds, number).hash},
            facts,
        )
        for number in range(count)
    ]


def _begin(fold: _Fold, run: RunFolder, labels: LabelTable, reporter: Reporter) -> None:
    """Make the run of a fold, unless it is there as it should be."""
    if fold.begun and not fold.fits:
        reporter.say("its model is of other labels or settings than the run has now; it is trained anew")
        fold.model.begin_anew()
    if not fold.begun:
        assets = _assets(run, labels)
        RunFolder.create(fold.model.path, fold.settings, fold.inputs, labels, assets, None, **fold.facts)


def _train(fold: _Fold, root: Path, reporter: Reporter) -> None:
    model = fold.model
    if model.info["status"] == "done":
        return
    if model.inputs["images"] != str(root):
        model.update(inputs=sealed({**model.inputs, "images": str(root)}))
    remove_leftovers(model.path)
    assets = {name: torch.from_numpy(value) for name, value in model.assets().items()}
    init = Path(fold.inputs["init"]) if fold.inputs.get("init") else None
    prepared = Prepared.of(model.settings, model.labels(), root, assets, init)
    if "start" in model.info:
        fit_first(model, prepared, reporter)
    run_phases(model, prepared, reporter)


def _assets(run: RunFolder, labels: LabelTable) -> dict[str, NDArray[np.float32]]:
    """What the method of a run took from outside the labels, of the images of these labels."""
    found, places = run.assets(), run.labels().image_positions
    rows = [places[name] for name in labels.images]
    return {name: value[rows] if name in IMAGE_ASSETS else value for name, value in found.items()}


def _cost(run: RunFolder, count: int) -> str:
    """What the folds cost, by the seconds of the run."""
    seconds = sum(float(row.get("seconds") or 0) for row in run.log())
    if "start" in run.info:
        seconds += sum(float(row.get("seconds") or 0) for row in run.start.log())
    each = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return (
        f"cross-fitting: {count} more trainings like that of this run, which took {each} beside its features; each is "
        "kept in the run, and gone on with where it stopped"
    )
