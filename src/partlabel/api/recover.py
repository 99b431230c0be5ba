"""`recover`: suggestions for the unknown cells of a table, with a promise on their precision."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from partlabel.api.asked import Asked, reading_of
from partlabel.api.auditing import audit_of
from partlabel.api.basis import Basis, basis_of
from partlabel.errors import LabelError, UsageError
from partlabel.evaluation.histogram import Histogram, added, probability_histogram
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.formats.relations_file import read_relations
from partlabel.inference.classes import same_classes
from partlabel.inference.images import image_limits
from partlabel.inference.judging_cells import JudgingCells
from partlabel.labels import LabelTable, State
from partlabel.opening import ReadArguments, Table, image_folder, open_table, open_truth, refuse_input
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.audit_file import drawn_audit, write_audit
from partlabel.recovery.consistent import without_exclusions
from partlabel.recovery.design import design_of
from partlabel.recovery.doubtful import doubtful as doubtful_cells
from partlabel.recovery.doubtful import write_doubtful
from partlabel.recovery.judge import states_by_name
from partlabel.recovery.promise import LOWEST, GroupPromise, Promise, promise_precision
from partlabel.recovery.sample import Unknown
from partlabel.recovery.suggest import Candidates, Suggestions, Thresholds, find_candidates, refuse_checked
from partlabel.recovery.thresholds import PrecisionThresholds, precision_thresholds
from partlabel.report import write_report
from partlabel.report.folder import training_images
from partlabel.report.histograms import keep_histogram
from partlabel.report.recovered import keep_recovered, recovered_section
from partlabel.runs.cell_folds import stated_in
from partlabel.runs.folder import RunFolder
from partlabel.runs.side_files import courtesy
from partlabel.wording import amount

Groups = Mapping[str, Sequence[str]]


def recover(
    run: Path | str | RunFolder,
    table: Table,
    *,
    images: Path | str | None = None,
    out: Path | str | None = None,
    truth: Table | None = None,
    precision: float | None = None,
    confidence: float | None = None,
    estimate: bool = False,
    state: Literal["present", "absent"] | None = None,
    each: Literal["class"] | Groups | None = None,
    folds: int | None = None,
    image_labels: bool | None = None,
    audit: int | None = None,
    audited: Path | str | None = None,
    doubtful: Path | str | None = None,
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Suggestions:
    """Suggest labels for unknown cells, so that their precision keeps a promise.

    The promise is tested on known cells that the models never saw, and holds where cells are known by chance; see
    `recovery.promise`. Of a run of a fitted method these are all known cells, each scored by the model of a fold that
    was fitted without it (`cross-fitting`); the unknown cells of the fold are scored by the same model. Otherwise they
    are the cells that the training held out. After a refit the logits of the cells to fill are then the refitted
    model's.

    Args:
        run: a finished run.
        table: label table, or the path of a label file, with the classes of the run; it is not changed.
        images: folder that the image names are relative to; a published data set (`NAME:DIR`) as table or truth brings
            its own.
        out: CSV file to write; `out` + ".json" says what the thresholds rest on, and the run's report.html shows
            examples, unless the run may only be read.
        truth: label table, or the path of a label file, by which the report marks suggestions as right or wrong; it
            chooses nothing.
        precision: share of the suggestions that are right, at least; 0.9 by default.
        confidence: with which that is promised, over repetitions of which cells are known; 0.9 by default.
        estimate: aim at the precision, without a promise: for exploring, and where known cells are too few.
        state: that is suggested; present by default.
        each: what keeps the promise by itself: all suggestions together (None), those of each class, or those of each
            group of classes. A class or group that cannot gets no suggestions.
        folds: number of folds of cells to cross-fit, each a training; 0: use the held-out cells; None: 5 for a fitted
            method, whose folds take seconds, 0 for others.
        image_labels: let the known labels of an image inform its unknown ones (`recovery.image_labels`); needs folds.
        audit: draw so many suggestions at random for a person to judge, and write these; 0: as many as the promise is
            expected to need. Needs no known absent cell, and holds however labels came to be known.
        audited: file that an audit wrote, with verdicts in it or in the journal of its review: what they allow is
            released. With `audit`, so many more are drawn in place of that. Options that say what is suggested are
            those of the audit, and so is how a label file of the same name is read; others are refused.
        doubtful: CSV file to write of known labels that the models contradict, the most doubtful first, as many as are
            expected to be wrong. None is changed.
        max_image_mb: most memory, in MB, that decoding one image may take; None: as in the run's training.
        reporter: where progress goes.
        read: how to read the label file.

    Raises:
        LabelError: the known cells hold no present or no absent cell, so that no precision can be measured; an earlier
            run knew them; or the truth has none of the images or classes.
        RunError: the table has other classes than the run.
        ImageError: an image cannot be read.
        UsageError: a setting is out of range, or is not that of the audit; `out` is a file that is read, or it exists
            and was changed since it was written.
    """
    root = Path(image_folder(images, table, truth))
    asked = Asked(precision, confidence, state, folds, image_labels, read or {})
    asked = _as_drawn(asked, audited, audit, out, table)
    precision, confidence, state = asked.target
    _check(precision, confidence, state)
    if (audit is not None or audited is not None) and (estimate or each is not None):
        raise UsageError("an audit promises, and of all suggestions; leave --each and --estimate out, or --audit")
    for written in (out, doubtful):
        _check_written(written, table, truth)
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    labels, true = _opened(table, truth, folder, reporter, asked.read)
    wanted, by_audit = State[state.upper()], audit is not None or audited is not None
    ways = asked.folds, bool(asked.image_labels), by_audit, estimate
    basis = basis_of(folder, labels, *ways, root, reporter, max_image_mb)
    if doubtful is not None:
        _write_doubtful(basis, Path(doubtful), reporter)
    counted = _Counted(basis.blocks(labels.images, root.resolve(), reporter, max_image_mb), labels, true)
    limit, most = (min(LOWEST, precision), None) if basis.judging else (0.0, basis.most)
    stated = stated_in(labels, folder.labels())
    candidates = find_candidates(labels, counted, basis.calibrations, limit, wanted, most, stated)
    if basis.judging is None or by_audit:
        how = basis.evidence, basis.prior, precision, confidence
        found, drawn = audit_of(candidates, *how, audit, audited, folder, reporter)
        if drawn is not None:
            if out is not None:
                write_audit(Path(out), candidates, drawn, basis.evidence, reading_of(table, asked.read))
            return found
    else:
        probability = basis.probability if wanted is State.PRESENT else 1 - basis.probability
        if estimate:
            thresholds: Thresholds = precision_thresholds(_turned(basis.judging.cells, wanted), probability, precision)
        else:
            thresholds = _promise(basis.judging, probability, candidates, precision, confidence, each)
        found = replace(candidates.accepted(thresholds), evidence=basis.evidence)
        for line in _said(found, basis.judging):
            reporter.say(line)
    found = _without_exclusions(found, asked.read, reporter)
    if out is not None:
        found.write(out)
        with courtesy(reporter):
            keep_histogram(folder, counted.histogram)
            _keep_report(folder, found, true, root, max_image_mb)
    return found


def _without_exclusions(found: Suggestions, read: ReadArguments, reporter: Reporter) -> Suggestions:
    """What the relations between classes allow; what is known was completed by them when it was read."""
    relations = read.get("relations")
    if relations is None:
        return found
    rest, dropped = without_exclusions(found, read_relations(relations))
    if dropped:
        reporter.say(f"{dropped:,} suggestions are left out, because two of them exclude each other by {relations}")
    return rest


def _keep_report(
    run: RunFolder, found: Suggestions, truth: LabelTable | None, root: Path, max_image_mb: float | None
) -> None:
    """Show suggestions in the report of the run."""
    keep_recovered(run, recovered_section(found, truth, root, image_limits(run, max_image_mb)))
    write_report(run, images=training_images(run, root), evaluation=run.evaluation(), truth=truth)


def _as_drawn(
    asked: Asked, audited: Path | str | None, audit: int | None, out: Path | str | None, table: Table
) -> Asked:
    """What is asked for, as the audit that is read was drawn, if one is; its file is not written over."""
    if audited is None:
        return asked
    if out is not None and audit is None and Path(out).resolve() == Path(audited).resolve():
        raise UsageError(f"{out} is the audit that is read; give another file to write")
    return asked.as_drawn(Path(audited), drawn_audit(Path(audited)), table)


def _opened(
    table: Table, truth: Table | None, run: RunFolder, reporter: Reporter, read: ReadArguments
) -> tuple[LabelTable, LabelTable | None]:
    """The table in the class order of the run, and the truth."""
    labels, _ = open_table(table, reporter, read, shared=truth is not None)
    labels = same_classes(labels, run, reporter)
    true = None if truth is None else open_truth(truth, reporter, read, shared=True)
    if true is not None:
        _check_truth(true, labels)
    return labels, true


def _check_written(path: Path | str | None, table: Table, truth: Table | None) -> None:
    """Refuse to write over what is read, or over somebody's checks."""
    if path is not None:
        refuse_input(path, table, *(() if truth is None else (truth,)))
        refuse_checked(path)


def _check(precision: float, confidence: float, state: str) -> None:
    for name, value in (("precision", precision), ("confidence", confidence)):
        if not 0 < value < 1:
            raise UsageError(f"{name} {value:g} must lie between 0 and 1, such as 0.9")
    if state not in {"present", "absent"}:
        raise UsageError(f"state {state!r} is not 'present' or 'absent'")


def _write_doubtful(basis: Basis, path: Path, reporter: Reporter) -> None:
    """Write known labels that the models contradict, as many as are expected to be wrong."""
    if basis.judging is None:
        raise LabelError("no absent label is known, so that nothing can be contradicted; leave --doubtful out")
    cells = basis.judging.cells
    found = doubtful_cells(cells)
    most = math.ceil(float(found.probability.sum()))
    write_doubtful(path, cells, found, most, evidence=basis.evidence)
    reporter.say(
        f"{path}: the {most:,} most doubtful of {cells.states.size:,} known labels; {100 * found.missed:.1f} % of what "
        f"is present seems to be marked absent, and {100 * found.invented:.1f} % of what is absent to be marked present"
    )


def _promise(
    judging: JudgingCells,
    probability: Any,
    candidates: Candidates,
    precision: float,
    confidence: float,
    each: Literal["class"] | Groups | None,
) -> Promise:
    if isinstance(each, str) and each != "class":
        raise UsageError(f"each {each!r} is not 'class'; give groups as a mapping of names to classes (`read_groups`)")
    groups = {name: (name,) for name in judging.cells.classes} if each == "class" else each
    if groups is not None:
        strange = [name for members in groups.values() for name in members if name not in judging.cells.classes]
        if strange:
            raise UsageError(f"group of class {strange[0]!r}: the run has no such class")
    return promise_precision(
        judging.cells,
        probability,
        Unknown(candidates.probability, candidates.class_index, candidates.unknown, candidates.aside),
        precision,
        confidence,
        groups,
        candidates.state,
        design_of(judging.cells, judging.images),
    )


def _turned(cells: ScoredCells, state: State) -> ScoredCells:
    """Cells whose present ones are those of a state."""
    return cells if state is State.PRESENT else replace(cells, states=-cells.states)


class _Counted:
    """Blocks of logits, passed on, whose cells are counted by their probabilities on the way.

    Args:
        blocks: row numbers, logits and folds.
        labels: the table, with the classes of the logits.
        truth: true labels of some of its images and classes.
    """

    def __init__(self, blocks: Iterator[tuple[Any, ...]], labels: LabelTable, truth: LabelTable | None) -> None:
        self.blocks, self.labels, self.truth = blocks, labels, truth
        self.histogram: Histogram = {}

    def __iter__(self) -> Iterator[Any]:
        for block in self.blocks:
            rows, logits = block[:2]
            truths = None if self.truth is None else states_by_name(self.truth, self.labels, rows)
            self.histogram = added(self.histogram, probability_histogram(logits, self.labels.rows(rows), truths))
            yield block


def _check_truth(truth: LabelTable, labels: LabelTable) -> None:
    for what, theirs, ours in (("images", truth.images, labels.images), ("classes", truth.classes, labels.classes)):
        if not set(theirs) & set(ours):
            raise LabelError(
                f"the truth has none of the table's {what}; the first one of the table is {ours[0]!r}, that of the "
                f"truth {theirs[0]!r}; give labels of the same {what}, or leave --truth out"
            )


def _said(found: Suggestions, judging: JudgingCells) -> list[str]:
    """How many suggestions there are, what their precision rests on, and why classes are without."""
    thresholds = found.thresholds
    told = _of_promise(thresholds) if isinstance(thresholds, Promise) else []
    told = _of_estimate(thresholds) if isinstance(thresholds, PrecisionThresholds) else told
    state = found.state.name.lower()
    lines = [f"{len(found):,} suggestions of {state} labels, by {judging.words}", *told]
    if judging.chosen_by and isinstance(thresholds, Promise):
        lines.append("the training chose by these cells, or went on with them, so that the promise is approximate")
    if judging.seen:
        lines.append(
            f"the run that this one started from was trained on {judging.seen:,} of these cells: expect less precision"
        )
    return lines


def _of_promise(promised: Promise) -> list[str]:
    """What is promised, and what would help where nothing is."""
    wanted = f"at least {100 * promised.target_precision:g} % right, at {100 * promised.confidence:g} % confidence"
    kept = [group for group in promised.groups if group.threshold is not None]
    told = []
    if len(promised.groups) > 1:
        told.append(f"promised for {len(kept)} of {len(promised.groups)} groups, each by itself: {wanted}")
    elif kept and not kept[0].suggested:
        told.append("no unknown cell is as probable as the known ones that would keep the promise")
    elif kept:
        group = kept[0]
        told.append(
            f"promised: {wanted} ({group.correct:,} of {group.accepted:,} known cells at or above the threshold are)"
        )
    missed = [group for group in promised.groups if group.threshold is None]
    if missed:
        others = f" (and of {len(missed) - 1:,} other groups)" if len(missed) > 1 else ""
        told.append(f"nothing can be promised of {promised.missed(missed[0])}{others}")
        told.append(_advice(promised, missed[0]))
    out = int(promised.unmeasured.sum())
    if out:
        first = int(np.argmax(promised.unmeasured))
        classes = amount(out, "class", "classes")
        told.append(f"{classes} without suggestions, first {promised.names[first]!r}: {promised.why_not(first)}")
    return told


def _advice(promised: Promise, group: GroupPromise) -> str:
    """What would help where nothing can be promised."""
    less = [f"ask for less (--precision {lower:g})" for lower in (0.8, 0.7) if lower < promised.target_precision][:1]
    ways = [*less, "aim without a promise (--estimate)"]
    if group.verdicts is not None:
        ways.insert(0, f"judge some suggestions (--audit; {amount(group.verdicts, 'verdict')} may do)")
    return f"what may help: {'; '.join(ways)}; more known labels"


def _of_estimate(thresholds: PrecisionThresholds) -> list[str]:
    """The counts that an estimate rests on."""
    parts = [f"aimed at precision {thresholds.target_precision:g}, estimated and not promised"]
    measured = {(e.rule, e.accepted, e.correct, e.lower_bound) for e in thresholds.classes if e.reached}
    for rule, accepted, correct, bound in sorted(measured)[-3:]:
        whose = "classes pooled" if rule == "pooled" else "a class of its own"
        parts.append(
            f"{whose}: {correct} of {accepted} known cells right (90 % lower bound of that count: {100 * bound:.0f} %; "
            "the threshold was chosen on these cells)"
        )
    without = [
        reason for column in range(len(thresholds.classes)) if (reason := thresholds.why_not(column)) is not None
    ]
    if without:
        parts.append(f"{len(without)} classes get none, first reason: {without[0]}; a lower --precision helps")
    return parts
