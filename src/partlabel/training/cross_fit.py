"""Cross-fitting over cells: a model for each fold of cells, trained as the run was with that fold unknown.

Each is a run of its own in the folder `folds` of the run, and is gone on with where it stopped.
"""

from pathlib import Path

import torch

from partlabel.errors import Interrupted, RunError
from partlabel.files import remove_leftovers
from partlabel.images.paths import image_root
from partlabel.labels import LabelTable
from partlabel.methods.catalogue import entry
from partlabel.progress import BarsOnly, Reporter
from partlabel.runs.cell_folds import CellFolds, without_fold
from partlabel.runs.folder import RunFolder
from partlabel.runs.origin import sealed
from partlabel.runs.owning import earlier_run
from partlabel.training.first_fit import fit_first
from partlabel.training.generators import own_generators
from partlabel.training.phases import run_phases
from partlabel.training.prepared import Prepared
from partlabel.training.threads import free_threads


def cross_fit(run: RunFolder, count: int, reporter: Reporter, images: Path | None = None) -> list[RunFolder]:
    """The models of all folds, trained where they are not yet.

    A method of steps is trained as the run was, its learning rate as found, with a part of the remaining cells held
    out. A fitted method needs none held out.

    Args:
        run: a finished run.
        count: number of folds.
        reporter: where progress goes.
        images: the image folder of the training, if it was moved.

    Returns:
        A finished run for each fold.

    Raises:
        RunError: the run is not finished.
        Interrupted: given again, it goes on.
    """
    if run.info["status"] != "done":
        raise RunError(f"the training of {run.path} has not finished; go on with: {run.resume_command}")
    models = [RunFolder(run.fold(count, number)) for number in range(count)]
    if all((model.path / "run.json").is_file() and model.info["status"] == "done" for model in models):
        return models
    reporter.say(_cost(run, count))
    labels = run.labels()
    folds = CellFolds(labels.images, labels.classes, count, run.settings.seed)
    root = image_root(images or run.inputs["images"]).resolve()
    with earlier_run(run), own_generators(), free_threads():
        for number, model in enumerate(models):
            try:
                reporter.say(f"fold {number + 1} of {count}")
                _train(model, run, without_fold(labels, folds, number), root, BarsOnly(reporter))
            except (KeyboardInterrupt, Interrupted) as error:
                raise Interrupted(f"stopped in fold {number + 1} of {count}; the same command goes on") from error
    return models


def _train(model: RunFolder, run: RunFolder, labels: LabelTable, root: Path, reporter: Reporter) -> None:
    if not (model.path / "run.json").is_file():
        settings = run.settings
        if entry(settings.method).fitted:
            settings = settings.model_copy(update={"holdout": 0.0, "refit": False})
        facts = {"start": run.info["start"]} if "start" in run.info else {}
        inputs = {**run.inputs, "labels_hash": labels.hash}
        RunFolder.create(model.path, settings, inputs, labels, run.assets(), None, **facts)
    if model.info["status"] == "done":
        return
    if model.inputs["images"] != str(root):
        model.update(inputs=sealed({**model.inputs, "images": str(root)}))
    remove_leftovers(model.path)
    assets = {name: torch.from_numpy(value) for name, value in model.assets().items()}
    init = Path(run.inputs["init"]) if run.inputs.get("init") else None
    prepared = Prepared.of(model.settings, model.labels(), root, assets, init)
    if "start" in model.info:
        fit_first(model, prepared, reporter)
    run_phases(model, prepared, reporter)


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
