"""`train`: from a table of incomplete labels and a folder of images to a run.

What imports torch is imported where it is needed, so that a bad label file is refused before that takes its seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partlabel.api.training_settings import checked_settings, choice_for, settings_of_steps, settings_taken
from partlabel.errors import Interrupted, RunError, StagesError, StorageError, UsageError
from partlabel.files import remove_leftovers
from partlabel.formats import read_written
from partlabel.images.limits import limits_of
from partlabel.images.paths import image_root
from partlabel.labels import Cells, LabelTable
from partlabel.methods.auto import AUTO
from partlabel.methods.catalogue import check_fit, check_prior, check_start, entry, notice
from partlabel.methods.catalogue.entry import Needs
from partlabel.opening import ReadArguments, Table, image_folder, open_table, open_truth, origin
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import images_without_label
from partlabel.runs.origin import sealed
from partlabel.runs.owning import earlier_run, new_run
from partlabel.runs.processes import check_group, process_rank
from partlabel.runs.settings import TrainSettings
from partlabel.stopping import way_on
from partlabel.training.learning_rates import candidate_rates
from partlabel.training.threads import free_threads
from partlabel.training.usable import usable_classes, usable_images

if TYPE_CHECKING:
    from partlabel.training.prepared import Prepared


def train(
    table: Table,
    *,
    images: Path | str | None = None,
    out: Path | str,
    broken: str = "fail",
    drop_empty_classes: bool = False,
    find_lr: bool | Sequence[float] = False,
    init: Path | str | None = None,
    refine: str | None = None,
    truth: Table | None = None,
    log_test: LabelTable | None = None,
    report: bool = True,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
    **settings: Any,
) -> RunFolder:
    """Train a tagger on what is known.

    Args:
        table: label table, the path of a label file, or `NAME:DIR` of a published data set.
        images: folder that the image names are relative to; a published data set brings its own.
        out: the run folder, new or empty.
        broken: what to do about missing or unreadable images: "fail" names them, "skip" trains without them.
        drop_empty_classes: leave out classes without a known cell instead of refusing.
        find_lr: search the learning rate first, by the mAP of the held-out known cells; True for the built-in
            candidates.
        init: a run to start from: its weights, where names and shapes agree; class weights go to the class of that
            name.
        refine: a method of steps that goes on from the fit of `method` (which is "auto" unless given) on the same
            cells; the settings are those of the steps. The fit is kept as a run of its own in the folder `start`.
        truth: complete labels of the same images and classes, or the path of a label file: log.csv counts against them
            the cells that the method sets aside (`Method.set_aside`). The training never sees them.
        log_test: labels of test images, in the same folder: their mAP after each epoch that is judged goes to
            test_log.csv, which nothing reads that chooses. The run is the same without it.
        report: write report.html at the end.
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
    if not process_rank():
        RunFolder(out).check_new()
    folder = image_folder(images, table, truth)
    labels, _ = open_table(table, reporter, read or {}, shared=truth is not None)
    unlabelled = _reads_no_label(settings.get("method"))
    labels = labels if unlabelled else usable_classes(labels, drop_empty_classes)
    true = None if truth is None else open_truth(truth, reporter, read or {}, shared=True)
    checked = checked_settings(settings, bool(find_lr), refine)
    stages_given = "stages" in checked.model_fields_set
    facts: dict[str, Any] = {}
    if refine is not None:
        if init is not None:
            raise UsageError("refine starts from a fit and init from an earlier run; leave one of them out")
        checked = settings_of_steps(str(settings.get("method", AUTO)), checked, labels, facts, reporter)
    elif checked.method == AUTO:
        checked, find_lr = settings_taken(choice_for(labels, checked, init), checked, find_lr, facts, reporter)
    root, start_from = Path(folder).resolve(), Path(init).resolve() if init else None
    check_start(checked.method, start_from if refine is None else "start")
    check_prior(checked.method, checked.method_settings)
    checked = _as_started(checked, start_from, reporter)
    check_fit(checked.method, labels, checked.method_settings)
    if told := notice(checked.method, checked.method_settings):
        reporter.say(told)
    true = _aligned(true, labels, checked.method, reporter)
    rates = candidate_rates(find_lr, checked)
    facts |= {"find_lr": rates} if rates else {}
    checked, prepared = _first_prepared(checked, labels, root, start_from, facts, reporter, fixed=stages_given)
    with free_threads():
        mapped = prepared.mapped_images(checked, reporter)
    usable = usable_images(labels, root, broken, reporter, mapped, limits_of(checked.max_image_mb))
    if usable is not labels:  # classes or a sign may have gone with the images
        labels = usable if unlabelled else usable_classes(usable, drop_empty_classes)
        check_fit(checked.method, labels, checked.method_settings)
        prepared = _prepared(checked, labels, root, start_from, facts, SILENT)
    if true is not None:
        prepared.truth = true.select_classes(labels.classes).select_images(labels.images)
    prepared.test = None if log_test is None else log_test.select_classes(labels.classes)
    cells = prepared.split.held_out
    _check_held_out(cells, checked, bool(rates))
    facts |= _told_of_held_out(prepared, checked, reporter)
    if start_from:
        facts["init_knew"] = _known_to_start(start_from, cells, labels, reporter)
    inputs = {
        "table": origin(table),
        "images": str(root),
        "labels_hash": labels.hash,
        "init": str(start_from) if start_from else None,
        **({"truth_hash": prepared.truth.hash} if prepared.truth is not None else {}),
    }
    assets = {name: tensor.numpy() for name, tensor in prepared.assets.items()}
    with new_run(out):
        run = RunFolder.create(out, checked, inputs, labels, assets, prepared.truth, **facts)
        _finish(run, prepared, root, report, reporter)
    return run


def resume(
    out: Path | str,
    *,
    images: Path | str | None = None,
    log_test: LabelTable | None = None,
    report: bool = True,
    reporter: Reporter = SILENT,
) -> RunFolder:
    """Go on with a run that was interrupted, from its last checkpoint.

    Args:
        out: the run folder.
        images: where the image folder is now, if it was moved.
        log_test: as in `train`.
        report: write report.html at the end.
        reporter: where progress goes.

    Raises:
        RunError: no run there, or its labels are not those it started with.
        ImageError: the image folder is not where it was.
    """
    import torch

    from partlabel.training.build import compute_device
    from partlabel.training.prepared import Prepared

    run = RunFolder.open(out)
    if run.info["status"] == "done" and (run.model.is_dir() or not run.checkpoints.is_dir()):
        reporter.say(f"{run.path} is finished already")
        if report and run.labels_path.is_file() and not (run.path / "report.html").is_file():
            _report(run, None if images is None else image_root(images), reporter)
        return run
    check_group(run.settings.devices, on_cpu=compute_device(run.settings).type == "cpu")
    with earlier_run(run):
        if not process_rank():
            remove_leftovers(run.path)
        labels, inputs = run.labels(), run.inputs
        if labels.hash != inputs["labels_hash"]:
            raise RunError(f"{run.labels_path} is not what this run started with; restore the file or train anew")
        root = image_root(images or inputs["images"]).resolve()
        if images is not None and not process_rank():
            run.update(inputs=sealed({**inputs, "images": str(root)}))
        init = Path(inputs["init"]) if inputs.get("init") else None
        begun = run.checkpoints.is_dir() and (not run.settings.refit or run.checkpoint("refit").is_file())
        if init and begun and not (init / "run.json").is_file():
            init = None  # a checkpoint holds what came of it, but for frozen weights, whose digest is checked
        assets = {name: torch.from_numpy(value) for name, value in run.assets().items()}
        named = None if images is None else root
        prepared = Prepared.of(run.settings, labels, root, assets, init)
        prepared.truth = _truth_of(run)
        prepared.test = None if log_test is None else log_test.select_classes(labels.classes)
        _finish(run, prepared, named, report, reporter)
    return run


def _reads_no_label(method: object) -> bool:
    """Whether a method wants images and class names alone."""
    return isinstance(method, str) and method != AUTO and entry(method).needs is Needs.NOTHING


def _aligned(truth: LabelTable | None, labels: LabelTable, method: str, reporter: Reporter) -> LabelTable | None:
    """The truth of what is trained on."""
    if truth is None:
        return None
    from partlabel.methods.build import method_class
    from partlabel.training.truth import aligned, sets_aside

    if not sets_aside(method_class(method)):
        reporter.say(f"{method} sets no cells aside, so there is nothing to count against the truth")
    return aligned(truth, labels)


def _truth_of(run: RunFolder) -> LabelTable | None:
    """The truth that a run was given, for its log.

    Raises:
        RunError: it is another one now.
    """
    if (known := run.inputs.get("truth_hash")) is None:
        return None
    truth = read_written(run.truth_path)
    if truth.hash != known:
        raise RunError(f"{run.truth_path} is not what this run started with; restore the file or train anew")
    return truth


def _prepared(
    settings: TrainSettings,
    labels: LabelTable,
    root: Path,
    init: Path | None,
    facts: dict[str, Any],
    reporter: Reporter,
) -> "Prepared":
    """What the phases share, tried out."""
    from partlabel.training.generators import own_generators
    from partlabel.training.prepared import Prepared, gathered_assets

    assets, origin = gathered_assets(settings, labels, reporter)
    facts |= origin
    prepared = Prepared.of(settings, labels, root, assets, init)
    with own_generators(), free_threads():
        prepared.try_out(settings, reporter)
    return prepared


def _first_prepared(settings: TrainSettings, *shared: Any, fixed: bool) -> tuple[TrainSettings, "Prepared"]:
    """`_prepared`, and the settings that it is of: where the stages are a rule's and the backbone gives but one, one.

    Args:
        settings: of the training.
        *shared: further arguments of `_prepared`.
        fixed: the stages are as the user says.
    """
    *_, facts, reporter = shared
    try:
        return settings, _prepared(settings, *shared)
    except StagesError as error:
        if fixed or "auto" not in facts:
            raise
        reporter.say(f"features of the last stage alone ({error})")
        alone = settings.model_copy(update={"stages": 1})
        if "start" in facts:
            facts["start"]["stages"] = 1
        return alone, _prepared(alone, *shared)


def _finish(run: RunFolder, prepared: "Prepared", named: Path | None, report: bool, reporter: Reporter) -> None:
    """Train a run to its end."""
    from partlabel.training.first_fit import fit_first, tell_beside_fit
    from partlabel.training.generators import own_generators
    from partlabel.training.phases import run_phases

    again = f"go on with: {run.resume_command}"
    try:
        with way_on(again), own_generators(), free_threads():
            if "start" in run.info:
                fit_first(run, prepared, reporter)
            run_phases(run, prepared, reporter)
            if "start" in run.info:
                tell_beside_fit(run, reporter)
            if report and not process_rank():
                _report(run, named, reporter)
    except KeyboardInterrupt as error:  # outside the steps: computing maps, scoring
        raise Interrupted(f"stopped; {again}") from error


def _report(run: RunFolder, named: Path | None, reporter: Reporter) -> None:
    """The report, without which a finished run is finished all the same; `named` is the folder that the user gave."""
    from partlabel.report import write_report
    from partlabel.report.folder import training_images

    try:
        reporter.say(f"{write_report(run, images=named or training_images(run))} shows how it went")
    except StorageError as error:
        reporter.say(f"the run is finished but has no report: {error}")


def _as_started(settings: TrainSettings, init: Path | None, reporter: Reporter) -> TrainSettings:
    """The settings, with what follows from the run to start from."""
    if init is None:
        return settings
    from partlabel.training.init_weights import with_features_of

    return with_features_of(init, settings, reporter)


def _known_to_start(init: Path, cells: Cells, labels: LabelTable, reporter: Reporter) -> int:
    """How many held-out cells the run to start from was trained on, for run.json."""
    from partlabel.training.init_weights import seen_before

    known = seen_before(init, cells, labels)
    if known:
        reporter.say(
            f"{init} was trained on {known} of the {cells.states.size} held-out cells; their numbers are too good"
        )
    return known


def _told_of_held_out(prepared: "Prepared", settings: TrainSettings, reporter: Reporter) -> dict[str, int]:
    """For run.json, what holding out does to the training."""
    labels, split = prepared.labels, prepared.split
    present = int((split.held_out.states > 0).sum())
    if split.rows is not None:
        images = len(labels) - split.rows.size
        reporter.say(
            f"{images} of {len(labels)} images are held out whole, chosen among those with a known label, with "
            f"{present} known present cells; all labels of the others are trained on"
        )
        return {"held_out_images": images}
    if not present or not entry(settings.method, settings.method_settings).takes_absence_from_unknown:
        return {}
    lost = images_without_label(labels, split)
    reporter.say(
        f"{present} held-out present cells are read in the same way, and {lost} images lose their only present label; "
        "for a published protocol set holdout to 0 or holdout_by to images"
    )
    return {"held_out_present_misread": present, "images_without_label": lost}


def _check_held_out(cells: Cells, settings: TrainSettings, searches: bool) -> None:
    """Refuse what rests on held-out cells where there are none."""
    follows = settings.refit or settings.select == "best" or settings.schedule == "plateau"
    if not cells.states.size and (searches or follows):
        raise UsageError(
            "a search of the learning rate, refit, select='best' and schedule='plateau' rest on held-out cells, and so "
            f"few cells are known that none is held out at holdout {settings.holdout:g}; raise it"
        )
