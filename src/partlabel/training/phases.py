"""The phases of a run: the search for a learning rate, the training to choose a model by, the refit, the bundle."""

import json
import shutil
from typing import Any

import numpy as np

from partlabel.errors import LabelError, NotFiniteError
from partlabel.files import storage_errors, write_json
from partlabel.methods.base import Method
from partlabel.methods.fitted import FittedMethod
from partlabel.models.bundle import BundleInfo, save_bundle
from partlabel.models.encoders.lora import merge_lora
from partlabel.models.tagger import Tagger
from partlabel.progress import Reporter
from partlabel.recovery.calibrate import calibrate
from partlabel.runs.folder import LOG, TEST_LOG, RunFolder
from partlabel.runs.learned_graph import learned_graph_path, write_learned_graph
from partlabel.runs.processes import process_rank
from partlabel.runs.settings import TrainSettings
from partlabel.training.build import compute_device
from partlabel.training.fit import fit
from partlabel.training.fitted import fit_features
from partlabel.training.phase import Phase, cell_logits, map_of_cells
from partlabel.training.prepared import Prepared
from partlabel.training.run_threads import threads_of_run, work_of_a_step


def run_phases(run: RunFolder, prepared: Prepared, reporter: Reporter) -> None:
    """Train a run to its bundle, going on from what is there.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
        NotFiniteError: a loss or gradient is not finite.
    """
    if "find_lr" in run.info and "found_lr" not in run.info:
        _search_learning_rate(run, prepared, reporter)
    settings = run.settings
    tagger = None if settings.refit and run.has_held_out else _select(run, prepared, reporter)
    if process_rank():
        return
    if settings.refit:
        reporter.say("training once more on all known cells")
        method, phase = prepared.phase(run, "refit", reporter)
        with threads_of_run(run, work_of_a_step(method, settings), reporter):
            tagger = _trained(run, phase, method, settings, reporter)
        _keep_graph(run, method)
    assert tagger is not None
    save_bundle(run.model, tagger, _bundle_info(run, tagger, reporter))
    run.update(status="done")


def _select(run: RunFolder, prepared: Prepared, reporter: Reporter) -> Tagger:
    """Train without the held-out cells, then keep those cells with their logits."""
    method, phase = prepared.phase(run, "selection", reporter)
    with threads_of_run(run, work_of_a_step(method, run.settings), reporter):
        tagger = _trained(run, phase, method, run.settings, reporter)
        if not process_rank():
            _keep_graph(run, method)
        if phase.held_out.states.size and not process_rank() and not run.has_held_out:
            _score_held_out(run, phase, tagger, prepared, reporter)
    return tagger


def _trained(run: RunFolder, phase: Phase, method: Method[Any], settings: TrainSettings, reporter: Reporter) -> Tagger:
    """The tagger of a phase, by steps of an optimizer or by a fit, as its method wants it."""
    if isinstance(method, FittedMethod):
        return fit_features(run, phase, method, settings, reporter)
    return merge_lora(fit(run, phase, method, settings, reporter))


def _keep_graph(run: RunFolder, method: Method[Any]) -> None:
    """Write the label graph as the last step left it, where the method learned one."""
    graph = method.learned_graph()
    if graph is not None:
        path = learned_graph_path(run.path)
        write_learned_graph(path, method.tagger.classes, graph.start.numpy(), graph.now.numpy())


def _score_held_out(run: RunFolder, phase: Phase, tagger: Tagger, prepared: Prepared, reporter: Reporter) -> None:
    settings, cells = run.settings, phase.held_out
    device = compute_device(settings)
    with reporter.track("scoring held-out cells") as tick:
        tagger.to(device)
        logits = cell_logits(tagger, phase, cells, device=device, workers=settings.workers, tick=tick)
        chosen_by = logits
        if phase.ranked is not cells:
            chosen_by = cell_logits(tagger, phase, phase.ranked, device=device, workers=settings.workers)
    tagger.cpu()
    value, classes = map_of_cells(chosen_by, phase.ranked, len(prepared.labels.classes))
    run.write_held_out(cells, logits, prepared.labels)
    name = phase.measure.removeprefix("held_out_")
    signs = {"present": int((cells.states > 0).sum()), "absent": int((cells.states < 0).sum())}
    run.update(held_out={"mAP": None, name: None if np.isnan(value) else value, "classes": classes, **signs})


def _search_learning_rate(run: RunFolder, prepared: Prepared, reporter: Reporter) -> None:
    """Train with each candidate, keep the one whose held-out mAP is best, and adopt its training as this run's."""
    found = {rate: _tried(run, rate, prepared, reporter) for rate in run.info["find_lr"]}
    scored = {rate: value for rate, value in found.items() if value is not None}
    if not scored:
        raise LabelError(
            "no learning rate can be chosen, because every training diverged or no class has held-out cells to rank; "
            "set --lr"
        )
    best = max(scored, key=lambda rate: scored[rate])
    reporter.say(
        f"learning rate {best:g} is best on the held-out cells: " + json.dumps({f"{k:g}": v for k, v in found.items()})
    )
    write_json(run.path / "config.json", run.settings.model_copy(update={"lr": best}).model_dump(mode="json"))
    _adopt(run, _trial(run, best))
    run.update(found_lr={f"{rate:g}": value for rate, value in found.items()})
    for rate in found:
        shutil.rmtree(_trial(run, rate).checkpoints, ignore_errors=True)


def _tried(run: RunFolder, rate: float, prepared: Prepared, reporter: Reporter) -> float | None:
    """Held-out mAP of the training with one learning rate; None where it diverged or nothing can be ranked."""
    trial = _trial(run, rate)
    if not (trial.path / "run.json").is_file():
        shutil.rmtree(trial.path, ignore_errors=True)
        trial.write_config(run.settings.model_copy(update={"lr": rate, "refit": False}))
        trial.update(status="training")
    if "held_out" not in trial.info:
        reporter.say(f"learning rate {rate:g}")
        try:
            _select(trial, prepared, reporter)
        except NotFiniteError as error:
            reporter.say(f"learning rate {rate:g} is out: {error}")
            trial.update(held_out={"mAP": None})
    judged = trial.info.get("held_out", {})
    value: float | None = judged.get("mAP")
    return value if value is not None else judged.get("mAP_among_unknown")


def _trial(run: RunFolder, rate: float) -> RunFolder:
    return RunFolder(run.path / "find_lr" / f"{rate:g}")


def _adopt(run: RunFolder, winner: RunFolder) -> None:
    """Make a finished trial's training the run's own: checkpoints are moved, so that this needs no room on the disk."""
    with storage_errors(run.path):
        if winner.checkpoints.is_dir():  # else an earlier attempt to adopt it came so far
            shutil.rmtree(run.checkpoints, ignore_errors=True)
            winner.checkpoints.rename(run.checkpoints)
        for name in (LOG, TEST_LOG, "held_out.parquet", learned_graph_path(run.path).name):
            if (winner.path / name).is_file():
                shutil.copyfile(winner.path / name, run.path / name)
    run.update(**{name: winner.info[name] for name in ("held_out", "threads") if name in winner.info})


def _bundle_info(run: RunFolder, tagger: Tagger, reporter: Reporter) -> BundleInfo:
    """Thresholds from the held-out cells, where these have both states; calibration, where one class has both and it
    helps.
    """
    thresholds, calibration = None, None
    if run.has_held_out and (cells := run.held_out(tagger.classes)).has_both_states:
        thresholds = tuple(cells.best_thresholds().values.tolist())
        if cells.has_class_of_both_states:
            fitted = calibrate(cells)
            calibration = fitted.calibration.to_json() if fitted.applied else None
            if not fitted.applied:
                reporter.say(str(fitted))
    return BundleInfo(
        backbone=tagger.backbone.spec,
        head=tagger.head_spec,
        classes=tagger.classes,
        method=run.settings.method,
        thresholds=thresholds,
        calibration=calibration,
    )
