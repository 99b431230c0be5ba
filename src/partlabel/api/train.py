"""`train`: from a table of incomplete labels and a folder of images to a run."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partlabel.errors import Interrupted, LabelError, NotFiniteError, RunError, UsageError
from partlabel.evaluation.thresholds import best_f1_thresholds
from partlabel.files import write_json
from partlabel.formats.opening import ReadArguments, Table, open_table
from partlabel.images.paths import image_root
from partlabel.labels import Cells, LabelTable
from partlabel.methods.auto import AUTO, Choice, choose
from partlabel.methods.base import Context, Method
from partlabel.methods.build import method_class, method_config, setting_names
from partlabel.methods.catalogue import check_fit, entry
from partlabel.models.bundle import BundleInfo, save_bundle
from partlabel.models.encoders.lora import merge_lora
from partlabel.models.label_text import label_vectors
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.calibrate import fit_calibration
from partlabel.report import write_report
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import hold_out, with_contrast
from partlabel.runs.processes import process_rank
from partlabel.runs.settings import TrainSettings, make_settings
from partlabel.training.build import build, compute_device, sources
from partlabel.training.fit import Phase, cell_logits, fit, map_of_cells
from partlabel.training.init_weights import seen_before, take_weights
from partlabel.training.usable import usable_classes, usable_images

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""What `find_lr` tries on frozen maps; a tenth of each otherwise."""


def train(
    table: Table,
    *,
    images: Path | str,
    out: Path | str,
    broken: str = "fail",
    drop_empty_classes: bool = False,
    find_lr: bool | Sequence[float] = False,
    init: Path | str | None = None,
    report: bool = True,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
    **settings: Any,
) -> RunFolder:
    """Train a tagger on what is known.

    Args:
        table: label table, or the path of a label file.
        images: folder that the image names are relative to.
        out: the run folder, new or empty.
        broken: what to do about missing or unreadable images: "fail" names them, "skip" trains without them.
        drop_empty_classes: leave out classes without a known cell instead of refusing.
        find_lr: search the learning rate first, by the mAP of the held-out known cells; True for the built-in
            candidates.
        init: a run to start from: its weights, where names and shapes agree; class weights go to the class of that
            name.
        report: write report.html in the end.
        reporter: where progress goes.
        read: how to read the label file.
        **settings: settings of the training (`TrainSettings`) and of the method; `method="auto"` takes one by the
            labels.

    Returns:
        The finished run.

    Raises:
        PartlabelError: bad labels, images or settings; each says what and where.
    """
    if broken not in {"fail", "skip"}:
        raise UsageError(f"broken {broken!r} is not 'fail' or 'skip'")
    checked = _checked(settings, bool(find_lr))
    if not process_rank():
        RunFolder(out).check_new()
    labels, _ = open_table(table, reporter, read or {})
    labels = usable_classes(labels, drop_empty_classes)
    facts: dict[str, Any] = {}
    if checked.method == AUTO:
        choice = _choice(labels, checked, init)
        reporter.say(str(choice))
        checked = checked.model_copy(update={"method": choice.method, "method_settings": choice.settings})
        facts["auto"] = {"kind": choice.facts.kind, "reason": choice.reason}
    check_fit(checked.method, labels)
    if "absent" in (unknown := entry(checked.method).unknown):
        reporter.say(f"{checked.method}: unknown cells are {unknown}")
    rates = _candidates(find_lr, checked)
    facts |= {"find_lr": rates} if rates else {}
    vectors = _label_vectors(checked, labels.classes, reporter, facts)
    _start(
        checked, Context(labels, _assets(vectors)), init, SILENT
    )  # what cannot be built must not leave a run folder behind
    root = Path(images).resolve()
    whole, labels = labels, usable_images(labels, root, broken, reporter)
    if labels is not whole:  # classes or a sign may have gone with the images
        labels = usable_classes(labels, drop_empty_classes)
        check_fit(checked.method, labels)
        vectors = _label_vectors(checked, labels.classes, SILENT, facts)
    inputs = {
        "table": str(table) if not isinstance(table, LabelTable) else "in memory",
        "images": str(root),
        "labels_hash": labels.hash,
        "init": str(Path(init).resolve()) if init else None,
    }
    cells = _held_out(labels, checked, bool(rates))
    if init:
        facts["init_knew"] = known = seen_before(Path(init), cells, labels)
        if known:
            reporter.say(
                f"{init} was trained on {known} of the {cells.states.size} held-out cells; their numbers are too good"
            )
    run = RunFolder.create(out, checked, inputs, labels, _array(vectors), **facts)
    return _train_phases(run, labels, root, report, reporter)


def resume(
    out: Path | str, *, images: Path | str | None = None, report: bool = True, reporter: Reporter = SILENT
) -> RunFolder:
    """Go on with a run that was interrupted, from its last checkpoint.

    Args:
        out: the run folder.
        images: where the image folder is now, if it was moved.
        report: write report.html in the end.
        reporter: where progress goes.

    Raises:
        RunError: no run there, or its labels are not those it started with.
        ImageError: the image folder is not where it was.
    """
    run = RunFolder.open(out)
    if run.info["status"] == "done":
        reporter.say(f"{run.path} is finished already")
        return run
    labels = run.labels()
    if labels.hash != run.info["inputs"]["labels_hash"]:
        raise RunError(f"{run.labels_path} is not what this run started with; restore the file or train anew")
    root = image_root(images or run.info["inputs"]["images"]).resolve()
    if images is not None and not process_rank():
        run.update(inputs={**run.info["inputs"], "images": str(root)})
    return _train_phases(run, labels, root, report, reporter)


def _checked(settings: dict[str, Any], searches: bool) -> TrainSettings:
    """Settings that go together and with this machine."""
    checked = make_settings(settings, setting_names(str(settings.get("method", "bce"))))
    if searches or checked.refit:
        if checked.devices not in {"auto", "1", 1}:
            raise UsageError(
                "find_lr and refit train several times, which one group of processes cannot; use one device"
            )
        checked = checked.model_copy(update={"devices": 1})
    if not checked.holdout and (checked.refit or checked.select == "best"):
        raise UsageError("refit and select='best' rest on held-out cells; set holdout above 0")
    if checked.amp == "fp16" and compute_device(checked).type == "cpu":
        raise UsageError("amp fp16 needs a GPU; a CPU has bf16")
    return checked


def _held_out(labels: LabelTable, settings: TrainSettings, searches: bool) -> Cells:
    """The cells that training will not see; refused if there are none and something rests on them."""
    cells = hold_out(labels, settings.holdout, settings.seed).held_out
    if not cells.states.size and (searches or settings.refit or settings.select == "best"):
        raise UsageError(
            "a search of the learning rate, refit and select='best' rest on held-out cells, and of so few known "
            f"cells none is held out at holdout {settings.holdout:g}; raise it"
        )
    return cells


def _choice(labels: LabelTable, settings: TrainSettings, init: Path | str | None) -> Choice:
    """What "auto" takes; what the user set goes before the rule's settings."""
    choice = choose(labels, frozen=settings.freeze, pretrained=settings.pretrained or init is not None)
    return replace(choice, settings={**choice.settings, **settings.method_settings})


def _candidates(find_lr: bool | Sequence[float], settings: TrainSettings) -> list[float]:
    """Learning rates to try; none without a search."""
    if not find_lr:
        return []
    if not settings.holdout:
        raise UsageError("the learning rate is searched on held-out cells; set holdout above 0")
    if settings.lr is not None:
        raise UsageError(f"the learning rate is given ({settings.lr:g}) and to be searched; leave one of them out")
    if find_lr is True:
        return [rate if settings.freeze or not settings.pretrained else rate / 10 for rate in LEARNING_RATES]
    wrong = [
        rate for rate in find_lr if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < np.inf
    ]
    if wrong:
        raise UsageError(f"learning rate {wrong[0]!r} to try is not a number above 0")
    return [float(rate) for rate in find_lr]


def _train_phases(run: RunFolder, labels: LabelTable, root: Path, report: bool, reporter: Reporter) -> RunFolder:
    try:
        return _all_phases(run, labels, root, report, reporter)
    except KeyboardInterrupt as error:  # outside the steps: computing maps, scoring
        raise Interrupted(f"stopped; go on with: partlabel train --resume {run.path}") from error


def _all_phases(run: RunFolder, labels: LabelTable, root: Path, report: bool, reporter: Reporter) -> RunFolder:
    if "find_lr" in run.info and "found_lr" not in run.info:
        _search_learning_rate(run, labels, root, reporter)
    settings = run.settings
    tagger = _selection_phase(run, labels, root, reporter)
    if process_rank():
        return run
    if settings.refit:
        reporter.say("training once more on all known cells")
        nothing = hold_out(labels, 0, settings.seed).held_out
        method, phase = _prepare(run, "refit", labels, nothing, nothing, root, reporter)
        tagger = merge_lora(fit(run, phase, method, settings, reporter))
    save_bundle(run.model, tagger, _bundle_info(run, tagger))
    run.update(status="done")
    if report:
        reporter.say(f"{write_report(run, images=root)} shows how it went")
    return run


def _selection_phase(run: RunFolder, labels: LabelTable, root: Path, reporter: Reporter) -> Tagger:
    """Train without the held-out cells, then keep those cells with their logits."""
    settings = run.settings
    split = hold_out(labels, settings.holdout, settings.seed)
    cells, signs = split.held_out, _signs(split.held_out)
    ranked = with_contrast(cells, labels, settings.seed) if signs["present"] and not signs["absent"] else cells
    method, phase = _prepare(run, "selection", split.training, cells, ranked, root, reporter)
    tagger = merge_lora(fit(run, phase, method, settings, reporter))
    if cells.states.size and not process_rank():
        device = compute_device(settings)
        with reporter.track("scoring held-out cells") as tick:
            scoring = {"device": device, "workers": settings.workers}
            logits = cell_logits(tagger.to(device), phase, cells, **scoring, tick=tick)
            chosen_by = logits if ranked is cells else cell_logits(tagger, phase, ranked, **scoring)
        tagger.cpu()
        value, classes = map_of_cells(chosen_by, ranked, len(labels.classes))
        run.write_held_out(cells, logits, labels)
        name = phase.measure.removeprefix("held_out_")
        run.update(held_out={"mAP": None, name: None if np.isnan(value) else value, "classes": classes, **signs})
    return tagger


def _prepare(
    run: RunFolder, name: str, table: LabelTable, held_out: Cells, ranked: Cells, root: Path, reporter: Reporter
) -> tuple[Method[Any], Phase]:
    settings = run.settings
    vectors = run.label_vectors()
    context = Context(table, _assets(None if vectors is None else torch.from_numpy(vectors)))
    init = (
        None if run.checkpoint(name).is_file() else run.info["inputs"].get("init")
    )  # a checkpoint holds what came of it
    method = _start(settings, context, init, reporter)
    training, scoring = sources(settings, method.tagger.backbone, method.views, table.images, root, reporter)
    return method, Phase(name, table, held_out, ranked, training, scoring)


def _start(settings: TrainSettings, context: Context, init: Path | str | None, reporter: Reporter) -> Method[Any]:
    """The method before its first step."""
    method = build(settings, context)
    if init:
        take_weights(method, Path(init), reporter)
    return method


def _label_vectors(
    settings: TrainSettings, classes: tuple[str, ...], reporter: Reporter, facts: dict[str, Any]
) -> torch.Tensor | None:
    """Vectors of the class names, computed once; where they come from is said, and kept in run.json."""
    source = method_class(settings.method).label_vectors(method_config(settings.method, settings.method_settings))
    if source is None:
        return None
    found = label_vectors(source, classes)
    reporter.say(found.origin)
    facts["label_vectors"] = found.origin
    return found.vectors


def _assets(vectors: torch.Tensor | None) -> dict[str, torch.Tensor]:
    return {} if vectors is None else {"label_vectors": vectors}


def _array(vectors: torch.Tensor | None) -> NDArray[np.float32] | None:
    return None if vectors is None else vectors.numpy()


def _bundle_info(run: RunFolder, tagger: Tagger) -> BundleInfo:
    """Thresholds from the held-out cells, where these have both signs; calibration, where one class has both."""
    thresholds, calibration = None, None
    if (run.path / "held_out.parquet").is_file():
        logits, states, class_index = run.held_out(tagger.classes)
        if (states > 0).any() and (states < 0).any():
            if np.isin(class_index[states > 0], class_index[states < 0]).any():
                calibration = fit_calibration(logits, states, class_index, tagger.classes).to_json()
            thresholds = tuple(
                best_f1_thresholds(*_spread(logits, states, class_index, len(tagger.classes))).values.tolist()
            )
    return BundleInfo(
        backbone=tagger.backbone.spec,
        head=tagger.head_spec,
        classes=tagger.classes,
        method=run.settings.method,
        thresholds=thresholds,
        calibration=calibration,
    )


def _spread(
    logits: NDArray[np.float64], states: NDArray[np.int8], class_index: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Cells as sparse rows: one row a cell would be wasteful, so the n-th cell of each class goes to row n."""
    order = np.argsort(class_index, kind="stable")
    sizes = np.bincount(class_index, minlength=classes)
    row = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    scores, dense = np.zeros((int(sizes.max()), classes)), np.zeros((int(sizes.max()), classes), np.int8)
    scores[row, class_index[order]], dense[row, class_index[order]] = logits[order], states[order]
    return scores, dense


def _search_learning_rate(run: RunFolder, labels: LabelTable, root: Path, reporter: Reporter) -> None:
    """Train with each candidate, keep the one whose held-out mAP is best, and adopt its training as this run's."""
    settings, rates = run.settings, run.info["find_lr"]
    found: dict[float, float | None] = {}
    for rate in rates:
        trial = RunFolder(run.path / "find_lr" / f"{rate:g}")
        if not (trial.path / "run.json").is_file():
            shutil.rmtree(trial.path, ignore_errors=True)
            trial_settings = settings.model_copy(update={"lr": rate, "refit": False})
            trial = RunFolder.create(trial.path, trial_settings, run.info["inputs"], labels, run.label_vectors())
        if "held_out" not in trial.info:
            reporter.say(f"learning rate {rate:g}")
            try:
                _selection_phase(trial, labels, root, reporter)
            except NotFiniteError as error:
                reporter.say(f"learning rate {rate:g} is out: {error}")
                trial.update(held_out={"mAP": None})
        judged = trial.info.get("held_out", {})
        found[rate] = judged["mAP"] if judged.get("mAP") is not None else judged.get("mAP_among_unknown")
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
    write_json(run.path / "config.json", settings.model_copy(update={"lr": best}).model_dump(mode="json"))
    winner = run.path / "find_lr" / f"{best:g}"
    shutil.copytree(winner / "checkpoints", run.path / "checkpoints", dirs_exist_ok=True)
    shutil.copyfile(winner / "log.csv", run.path / "log.csv")
    run.update(found_lr={f"{rate:g}": value for rate, value in found.items()})


def _signs(cells: Cells) -> dict[str, int]:
    return {"present": int((cells.states > 0).sum()), "absent": int((cells.states < 0).sum())}
