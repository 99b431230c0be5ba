"""`evaluate`: a run, or scores from any tool, against tri-state truth."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import RunError, UsageError
from partlabel.evaluation import Evaluation
from partlabel.evaluation import evaluate as judge
from partlabel.evaluation.histogram import probability_histogram
from partlabel.files import write_json
from partlabel.formats.scores import read_scores
from partlabel.inference.classes import covered_classes
from partlabel.inference.scores import run_logits
from partlabel.labels import LabelTable
from partlabel.models.bundle import BundleInfo
from partlabel.opening import ReadArguments, Table, image_folder, open_truth, refuse_to_overwrite
from partlabel.progress import SILENT, Reporter
from partlabel.report import write_report
from partlabel.report.folder import training_images
from partlabel.report.histograms import histogram_json
from partlabel.runs.folder import RunFolder
from partlabel.runs.side_files import courtesy


def evaluate(
    run: Path | str | RunFolder,
    truth: Table,
    *,
    images: Path | str | None = None,
    thresholds: Literal["held_out"] | float = "held_out",
    json: Path | str | None = None,
    report: bool = True,
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Evaluation:
    """Judge a run by labels that it was not trained on.

    The result and the report stay in the run folder too (evaluation.json, report.html), unless that may only be read.
    evaluation.json also counts the cells of each state by their predicted probability, under `probabilities`. For a
    method with two networks, it holds the mAP and AUC of each and of their mean, under
    `networks`.

    Args:
        run: a finished run.
        truth: label table, the path of a label file, or `NAME:DIR` of a published data set, with classes of the run in
            any order; where it lacks some,
            the others are judged.
        images: folder that the image names are relative to; a published data set brings its own.
        thresholds: "held_out": those that were set on the run's held-out training cells; or one probability for all
            classes.
        json: where to write the result as well.
        report: show the result in the run's report.html.
        max_image_mb: most memory, in MB, that decoding one image may take; None: as in the run's training.
        reporter: where progress goes.
        read: how to read the label file.

    Raises:
        RunError: the truth has classes that the run does not know, or none of its classes.
        ImageError: an image cannot be read.
        UsageError: `thresholds` is no probability, or `json` is a file that is read.
        NotFiniteError: the model gives a known cell no finite logit.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    fixed = None if thresholds == "held_out" else _logit(thresholds)
    root = Path(image_folder(images, truth)).resolve()
    labels = covered_classes(open_truth(truth, reporter, read or {}), folder, reporter)
    if json is not None:
        _refuse_to_overwrite(Path(json), truth, folder, root, labels)
    if not folder.model.is_dir():
        raise RunError(f"{folder.path} is not finished and has no model; go on with: {folder.resume_command}")
    seen = _used_in_training(folder, labels, root)
    if seen:
        reporter.say(f"{seen} of {len(labels)} images were used in training: these are no test numbers")
    scores = run_logits(folder, labels.images, root, reporter, max_image_mb)
    columns = [position for position, name in enumerate(scores.info.classes) if name in labels.class_positions]
    counts = folder.labels().counts_by_class()
    states = labels.dense()
    result = judge(
        scores.logits[:, columns],
        states,
        labels.classes,
        thresholds=_thresholds(fixed, scores.info, columns, reporter),
        training_annotations=(counts.present + counts.absent)[columns],
        images=labels.images,
    )
    counted = histogram_json(probability_histogram(scores.logits[:, columns], states))
    written = {**result.to_json(), "images_used_in_training": seen, "probabilities": counted}
    if scores.networks:
        written["networks"] = {
            network: _mean_ap(logits[:, columns], labels) for network, logits in scores.networks.items()
        }
    if json is not None:
        write_json(json, written)
    with courtesy(reporter):
        folder.write_evaluation(written)
    if report:
        with courtesy(reporter):
            write_report(folder, images=training_images(folder, root), evaluation=written)
    return result


def _thresholds(
    fixed: float | None, info: BundleInfo, columns: list[int], reporter: Reporter
) -> NDArray[np.float64] | float:
    """Thresholds on the logits: the fixed one, or those that the run set on its held-out cells."""
    if fixed is not None:
        return fixed
    if info.thresholds is None:
        reporter.say("the run has no held-out cells of both signs; F1 measures use probability 0.5")
        return 0.0
    return np.asarray(info.thresholds, np.float64)[columns]


def _refuse_to_overwrite(json: Path, truth: Table, run: RunFolder, root: Path, labels: LabelTable) -> None:
    """Refuse to write the result over what is read: the truth, an image, or a file of the run."""
    refuse_to_overwrite([json], truth)
    target = json.resolve()
    if target.is_relative_to(run.path.resolve()) and target.exists():
        raise UsageError(f"{json} belongs to the run; give another file to write")
    if target.is_relative_to(root) and str(target.relative_to(root)) in labels.image_positions:
        raise UsageError(f"{json} is one of the images; give another file to write")


def _used_in_training(run: RunFolder, labels: LabelTable, root: Path) -> int:
    """How many images the run was trained on: the same files, not only the same names."""
    trained_on = Path(run.inputs["images"])
    trained = {trained_on / name for name in run.labels().images}
    return sum(root / name in trained for name in labels.images)


def _mean_ap(logits: NDArray[np.float32], labels: LabelTable) -> dict[str, float | None]:
    """Class means that need no thresholds."""
    judged = judge(logits, labels.dense(), labels.classes, thresholds=0.0).to_json()
    return {"mAP": judged["mAP"]["raw"], "AUC": judged["AUC"]}


def evaluate_scores(
    scores: Path | str,
    truth: Table,
    *,
    threshold: float,
    json: Path | str | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Evaluation:
    """Judge scores from any tool, CSV or Parquet: a column `image` and one column of numbers per class, or one row per
    cell as `predict` writes them.

    Args:
        scores: the file; higher means more likely present. Images that the truth does not have are ignored.
        truth: label table, or the path of a label file.
        threshold: from which score on a class counts as predicted: 0.5 suits probabilities, 0 suits logits.
        json: where to write the result as well.
        reporter: where findings go.
        read: how to read the label file.

    Raises:
        LabelError: an image or class of the truth has no score.
        NotFiniteError: a score is NaN or missing.
    """
    labels = open_truth(truth, reporter, read or {})
    if json is not None:
        refuse_to_overwrite([Path(json)], truth, scores)
    result = judge(
        read_scores(Path(scores), labels, reporter),
        labels.dense(),
        labels.classes,
        thresholds=threshold,
        images=labels.images,
    )
    if json is not None:
        write_json(json, result.to_json())
    return result


def _logit(probability: float | str) -> float:
    try:
        value = float(probability)
    except (TypeError, ValueError):
        value = float("nan")
    if not 0 < value < 1:
        raise UsageError(
            f"thresholds {probability!r} is neither 'held_out' nor a probability between 0 and 1; give one of these"
        )
    return float(np.log(value / (1 - value)))
