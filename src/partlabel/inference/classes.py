"""Labels in the class order of a run."""

from partlabel.errors import RunError
from partlabel.labels import LabelTable
from partlabel.names import alike_across
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.wording import amount


def same_classes(labels: LabelTable, run: RunFolder, reporter: Reporter) -> LabelTable:
    """The labels with the classes in the run's order. Classes that the run does not know and of which no cell is known
    either, as the training may have left them out, are left out and reported.

    Raises:
        RunError: they lack classes of the run, or have others.
    """
    classes = run.labels().classes
    labels = _without_empty(labels, classes, reporter)
    missing = [name for name in classes if name not in labels.class_positions]
    _check(run, missing, labels, classes)
    return labels.select_classes(list(classes))


def covered_classes(labels: LabelTable, run: RunFolder, reporter: Reporter) -> LabelTable:
    """The labels in the run's order, which may lack some classes of the run; those are reported.

    Raises:
        RunError: the labels have classes that the run does not know.
    """
    classes = run.labels().classes
    missing = [name for name in classes if name not in labels.class_positions]
    if set(labels.classes) <= set(classes) and len(missing) < len(classes):
        if missing:
            reporter.say(
                f"{len(classes) - len(missing)} of the run's {len(classes)} classes are judged; the labels lack "
                + _listed(missing)
            )
    else:
        _check(run, missing, labels, classes)
    return labels.select_classes([name for name in classes if name in labels.class_positions])


def _without_empty(labels: LabelTable, classes: tuple[str, ...], reporter: Reporter) -> LabelTable:
    """The labels without classes that have no known cell and are none of `classes`."""
    counts = labels.counts_by_class()
    known = counts.present + counts.absent
    empty = [name for name, count in zip(labels.classes, known, strict=True) if not count and name not in classes]
    if not empty:
        return labels
    reporter.say(
        f"{amount(len(empty), 'class', 'classes')} without a known cell, which the run did not learn, left out: "
        + _listed(empty)
    )
    return labels.select_classes([name for name in labels.classes if name not in set(empty)])


def _check(run: RunFolder, missing: list[str], labels: LabelTable, classes: tuple[str, ...]) -> None:
    extra = [name for name in labels.classes if name not in set(classes)]
    if missing or extra:
        parts = [
            f"{what} {len(names)} ({_listed(names)})"
            for what, names in (("the labels lack", missing), ("the run does not know", extra))
            if names
        ]
        pairs = [f"{mine!r} and {theirs!r}" for mine, theirs in alike_across(classes, labels.classes)]
        hint = f" ({', '.join(pairs[:3])} look alike: make the names equal)" if pairs else ""
        advice = "give labels with the classes of the run"
        if extra and not missing:
            advice = "leave the others out: --classes for a one-hot file or a data set, else delete their rows"
        raise RunError(f"{run.path} was trained on another class list: {' and '.join(parts)}; {advice}{hint}")


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
