"""`recover`: suggestions for the unknown cells of a table, chosen by cells that training never saw."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.evaluation.histogram import Histogram, added, probability_histogram
from partlabel.inference.classes import same_classes
from partlabel.inference.images import image_limits
from partlabel.inference.scores import run_blocks
from partlabel.labels import LabelTable
from partlabel.opening import ReadArguments, Table, image_folder, open_table, open_truth, refuse_input
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.calibrate import calibrate
from partlabel.recovery.judge import states_by_name
from partlabel.recovery.suggest import Suggestions, refuse_checked, suggest
from partlabel.recovery.thresholds import precision_thresholds
from partlabel.report import write_report
from partlabel.report.folder import training_images
from partlabel.report.histograms import keep_histogram
from partlabel.report.recovered import keep_recovered, recovered_section
from partlabel.runs.folder import RunFolder
from partlabel.runs.side_files import courtesy
from partlabel.training.scoring import Block


def recover(
    run: Path | str | RunFolder,
    table: Table,
    *,
    images: Path | str | None = None,
    out: Path | str | None = None,
    truth: Table | None = None,
    min_precision: float = 0.95,
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Suggestions:
    """Suggest present labels for unknown cells.

    Probabilities and thresholds come from the run's held-out known cells. After a refit these are the cells of the
    first training, whose model never saw them; the logits of the cells to fill are the refitted model's.

    Args:
        run: a finished run.
        table: label table, or the path of a label file, with the classes of the run; it is not changed.
        images: folder that the image names are relative to; a published data set (`NAME:DIR`) as table or truth brings
            its own.
        out: CSV file to write; `out` + ".json" says what each class's threshold rests on, and the run's report.html
            shows examples, unless the run may only be read.
        truth: label table, or the path of a label file, by which the report marks suggestions as right or wrong; it
            chooses nothing.
        min_precision: precision that the suggestions should reach.
        max_image_mb: most memory, in MB, that decoding one image may take; None: as in the run's training.
        reporter: where progress goes.
        read: how to read the label file.

    Raises:
        LabelError: the held-out cells hold no present or no absent cell, so that no precision can be measured; or the
            truth has none of the images or classes.
        RunError: the table has other classes than the run.
        ImageError: an image cannot be read.
        UsageError: `out` is a file that is read, or it exists and was changed since it was written.
    """
    root = Path(image_folder(images, table, truth))
    if out is not None:
        refuse_input(out, table, *(() if truth is None else (truth,)))
        refuse_checked(out)
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    labels, _ = open_table(table, reporter, read or {}, shared=truth is not None)
    labels = same_classes(labels, folder)
    true = None if truth is None else open_truth(truth, reporter, read or {}, shared=True)
    if true is not None:
        _check_truth(true, labels)
    held_out = folder.held_out(labels.classes)
    calibrated = calibrate(held_out)
    if not calibrated.applied:
        reporter.say(str(calibrated))
    thresholds = precision_thresholds(held_out, calibrated.probability, min_precision)
    blocks, info = run_blocks(folder, labels.images, root.resolve(), reporter, max_image_mb)
    seen = int(folder.info.get("init_knew", 0))
    counted = _Counted(blocks, labels.select_classes(info.classes), true)
    found = replace(suggest(labels, counted, calibrated.calibration, thresholds), seen_before=seen)
    reporter.say(_said(found, min_precision))
    if seen:
        reporter.say(
            f"the run that this one started from was trained on {seen} of the held-out cells: expect less precision"
        )
    if out is not None:
        found.write(out)
        with courtesy(reporter):
            keep_histogram(folder, counted.histogram)
            keep_recovered(folder, recovered_section(found, true, root, image_limits(folder, max_image_mb)))
            write_report(folder, images=training_images(folder, root), evaluation=folder.evaluation(), truth=true)
    return found


class _Counted:
    """Blocks of logits, passed on, whose cells are counted by their probabilities on the way.

    Args:
        blocks: row numbers and logits.
        labels: the table, with the classes of the logits.
        truth: true labels of some of its images and classes.
    """

    def __init__(self, blocks: Iterable[Block], labels: LabelTable, truth: LabelTable | None) -> None:
        self.blocks, self.labels, self.truth = blocks, labels, truth
        self.histogram: Histogram = {}

    def __iter__(self) -> Iterator[Block]:
        for rows, logits in self.blocks:
            truths = None if self.truth is None else states_by_name(self.truth, self.labels, rows)
            self.histogram = added(self.histogram, probability_histogram(logits, self.labels.rows(rows), truths))
            yield rows, logits


def _check_truth(truth: LabelTable, labels: LabelTable) -> None:
    for what, theirs, ours in (("images", truth.images, labels.images), ("classes", truth.classes, labels.classes)):
        if not set(theirs) & set(ours):
            raise LabelError(
                f"the truth has none of the table's {what}; the first one of the table is {ours[0]!r}, that of the "
                f"truth {theirs[0]!r}; give labels of the same {what}, or leave --truth out"
            )


def _said(found: Suggestions, target: float) -> str:
    """How many suggestions there are, what their precision rests on, and why classes are without."""
    thresholds = found.thresholds
    parts = [f"{len(found)} suggestions of present labels for precision {target:g}"]
    measured = {(e.rule, e.accepted, e.correct, e.lower_bound) for e in thresholds.classes if e.reached}
    for rule, accepted, correct, bound in sorted(measured)[-3:]:
        whose = "classes pooled" if rule == "pooled" else "a class of its own"
        parts.append(
            f"{whose}: {correct} of {accepted} held-out cells right (90 % lower bound of that count: "
            f"{100 * bound:.0f} %; the "
            "threshold was chosen on these cells, so it is no promise)"
        )
    without = [
        reason for column in range(len(thresholds.classes)) if (reason := thresholds.why_not(column)) is not None
    ]
    if without:
        parts.append(
            f"{len(without)} classes get none, first reason: {without[0]}; a better model or more held-out cells "
            f"help (longer training, more labels, train --holdout)"
        )
    return "; ".join(parts)
