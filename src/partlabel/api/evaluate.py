"""`evaluate`: a run, or scores from any tool, against tri-state truth."""

from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from partlabel.errors import LabelError, RunError, UsageError
from partlabel.evaluation import Evaluation
from partlabel.evaluation import evaluate as judge
from partlabel.files import write_json
from partlabel.formats.opening import ReadArguments, Table, open_truth
from partlabel.inference.scores import run_logits
from partlabel.labels import LabelTable
from partlabel.models.heads.twin import Network
from partlabel.progress import SILENT, Reporter
from partlabel.report import write_report
from partlabel.runs.folder import RunFolder


def evaluate(
    run: Path | str | RunFolder,
    truth: Table,
    *,
    images: Path | str,
    thresholds: Literal["held_out"] | float = "held_out",
    json: Path | str | None = None,
    report: bool = True,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Evaluation:
    """Judge a run by labels that it was not trained on. The result stays in the run folder too, as evaluation.json.

    Of a method with two networks, evaluation.json also holds the mAP and AUC of each and of their mean, under
    `networks`.

    Args:
        run: a finished run.
        truth: label table, or the path of a label file, with the classes of the run in any order.
        images: folder that the image names are relative to.
        thresholds: "held_out": those that were set on the run's held-out training cells; or one probability for all
            classes.
        json: where to write the result as well.
        report: show the result in the run's report.html.
        reporter: where progress goes.
        read: how to read the label file.

    Raises:
        RunError: the truth lacks classes of the run, or has others.
        ImageError: an image cannot be read.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    labels = same_classes(open_truth(truth, reporter, read or {}), folder)
    fixed = None if thresholds == "held_out" else _logit(float(thresholds))
    seen = _used_in_training(folder, labels, Path(images).resolve())
    if seen:
        reporter.say(f"{seen} of {len(labels)} images were used in training: these are no test numbers")
    logits, info = run_logits(folder, labels.images, Path(images).resolve(), reporter)
    values: NDArray[np.float64] | float
    if fixed is None:
        if info.thresholds is None:
            reporter.say("the run has no held-out cells of both signs; F1 measures use probability 0.5")
        values = np.asarray(info.thresholds) if info.thresholds is not None else 0.0
    else:
        values = fixed
    counts = folder.labels().counts_by_class()
    result = judge(
        logits, labels.dense(), info.classes, thresholds=values, training_annotations=counts.present + counts.absent
    )
    written = {**result.to_json(), "images_used_in_training": seen}
    if info.head.kind == "twin":
        written["networks"] = {
            network: _mean_ap(run_logits(folder, labels.images, Path(images).resolve(), reporter, network)[0], labels)
            for network in get_args(Network)
        }
    folder.write_evaluation(written)
    if json is not None:
        write_json(json, written)
    if report:
        trained_in = Path(folder.info["inputs"]["images"])
        write_report(folder, images=trained_in if trained_in.is_dir() else None, evaluation=folder.evaluation())
    return result


def _used_in_training(run: RunFolder, labels: LabelTable, root: Path) -> int:
    """How many images the run was trained on: the same files, not only the same names."""
    trained_on = Path(run.info["inputs"]["images"])
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
    """Judge scores from any tool: a CSV or Parquet file with a column `image` and one column of numbers a class.

    Args:
        scores: the file; higher means more likely present. Images that the truth does not have are ignored.
        truth: label table, or the path of a label file.
        threshold: from which score on a class counts as predicted: 0.5 suits probabilities, 0 suits logits.
        json: where to write the result as well.
        reporter: where findings go.
        read: how to read the label file.

    Raises:
        LabelError: an image or class of the truth has no score.
    """
    labels = open_truth(truth, reporter, read or {})
    result = judge(_read_scores(Path(scores), labels), labels.dense(), labels.classes, thresholds=threshold)
    if json is not None:
        write_json(json, result.to_json())
    return result


def same_classes(labels: LabelTable, run: RunFolder) -> LabelTable:
    """The truth with the classes in the run's order."""
    classes = run.labels().classes
    missing = [name for name in classes if name not in labels.class_positions]
    extra = [name for name in labels.classes if name not in set(classes)]
    if missing or extra:
        parts = [
            f"{what} {len(names)} ({', '.join(map(repr, names[:3]))}{', ...' if len(names) > 3 else ''})"
            for what, names in (("the labels lack", missing), ("the run does not know", extra))
            if names
        ]
        raise RunError(
            f"{run.path} was trained on another class list: {' and '.join(parts)}; give labels with the "
            "classes of the run, no more and no fewer"
        )
    return labels.select_classes(list(classes))


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        raise UsageError(f"threshold {probability} is not a probability between 0 and 1")
    return float(np.log(probability / (1 - probability)))


def _read_csv(path: Path) -> pyarrow.Table:
    """Image names stay text: an image called 007 is not number 7."""
    return pyarrow.csv.read_csv(
        path, convert_options=pyarrow.csv.ConvertOptions(column_types={"image": pyarrow.string()})
    )


def _read_scores(path: Path, labels: LabelTable) -> NDArray[np.float64]:
    if not path.is_file():
        raise UsageError(f"{path} does not exist")
    try:
        table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else _read_csv(path)
    except pyarrow.ArrowException as error:
        raise LabelError(f"{path} cannot be read as a table of scores: {error}") from error
    twice = [name for name in ("image", *labels.classes) if table.column_names.count(name) > 1]
    if twice:
        raise LabelError(f"{path} has the column {twice[0]!r} more than once; give one column of scores a class")
    missing = [name for name in ("image", *labels.classes) if name not in table.column_names]
    if missing:
        raise LabelError(f"{path} has no column {missing[0]!r}; it needs `image` and one column of scores a class")
    names = [str(name) for name in table["image"].to_pylist()]
    position = {name: row for row, name in enumerate(names)}
    if len(position) < len(names):
        raise LabelError(f"{path} lists an image more than once; give one row of scores an image")
    absent = [name for name in labels.images if name not in position]
    if absent:
        raise LabelError(f"{path} has no scores for {len(absent)} of {len(labels)} images, first: {absent[0]!r}")
    try:
        columns = [table[name].cast(pyarrow.float64()).to_numpy() for name in labels.classes]
    except pyarrow.ArrowException as error:
        raise LabelError(f"{path} holds something that is no number: {error}") from error
    return np.stack(columns, 1)[[position[name] for name in labels.images]]
