"""From SOURCE, the argument of `review`, to what is reviewed.

| SOURCE | images | asked |
|---|---|---|
| a file of suggestions (columns image, class, probability) | those of --table, then those of the file | its lines |
| a label table | its own | every unknown cell |
| a text file, .txt, one class name per line | all pictures below --images | every cell |
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import LabelError, UsageError
from partlabel.formats.options import ReadOptions
from partlabel.formats.relations_file import read_relations
from partlabel.formats.text import as_table, cell_name, even_records, examine, records
from partlabel.images.kinds import image_files
from partlabel.labels import LabelTable, State
from partlabel.merging import merge
from partlabel.opening import ReadArguments, Table, open_table
from partlabel.progress import Reporter
from partlabel.relations import Relations
from partlabel.reviewing.subject import KINDS, Listed, Subject
from partlabel.wording import amount

if TYPE_CHECKING:  # it brings scipy, which would make every start slower
    from partlabel.recovery.audit_file import AuditPlan

_STATES = {state.name.lower(): int(state) for state in State}
_KINDS = {kind: number for number, kind in enumerate(KINDS)}
_SUGGESTED = {"image", "class", "probability"}
_READ = (*sorted(_SUGGESTED), "state", "kind")


def open_subject(
    source: Table, table: Table | None, root: Path, reporter: Reporter, read: ReadArguments
) -> tuple[Subject, LabelTable | None]:
    """What is reviewed, and the label table that verdicts complete; None where there is none.

    Args:
        source: SOURCE.
        table: known states beside it.
        root: the image folder.
        reporter: where findings go.
        read: how to read label files.

    Raises:
        LabelError: a file cannot be read, has no image or no class, or contradicts the relations between classes.
        UsageError: there are options of reading, and no label file.
    """
    if (file := read.get("relations")) is None:
        return _opened(source, table, root, reporter, read, lambda labels: labels)
    relations, conflicts = read_relations(file), ReadOptions.of(read).conflicts
    subject, known = _opened(
        source, table, root, reporter, read, lambda labels: completed_by(relations, labels, conflicts)
    )
    if not any(name in subject.known.class_positions for name in relations.names):
        reporter.say(f"{file} relates none of the classes here; its first one is {relations.names[0]!r}")
    return replace(subject, relations=relations, conflicts=conflicts), known


def completed_by(relations: Relations, labels: LabelTable, conflicts: Literal["fail", "unknown"]) -> LabelTable:
    """A table with what follows from its known cells.

    Raises:
        LabelError: known cells contradict each other, and `conflicts` is "fail".
    """
    done = relations.completed(labels)
    if done.contradictions and conflicts == "fail":
        raise LabelError(
            f"{amount(len(done.contradictions), 'pair')} of known cells or verdicts contradict the relations between "
            f"classes: {'; '.join(map(str, done.contradictions[:3]))}; change one of each pair (a verdict on the page "
            f"of review), or make both unknown with --conflicts unknown"
        )
    return done.table


def _opened(
    source: Table,
    table: Table | None,
    root: Path,
    reporter: Reporter,
    read: ReadArguments,
    completed: Callable[[LabelTable], LabelTable],
) -> tuple[Subject, LabelTable | None]:
    path = None if isinstance(source, LabelTable) else Path(source)
    if path is not None and path.suffix.casefold() == ".txt":
        known = _beside(table, path, reporter, read)
        files = _pictures(root, reporter)
        return _every_cell(
            path.name, LabelTable.from_cells(files, _class_names(path), [], [], []), known, completed
        ), known
    if path is not None and set(_header(path)) >= _SUGGESTED:
        known = _beside(table, path, reporter, read)
        return _suggested(path, known, reporter, completed), known
    labels = open_table(source, reporter, read, shared=table is not None)[0]
    known = None if table is None else open_table(table, reporter, read, shared=True)[0]
    if strange := [name for name in (*labels.images, *labels.classes) if not _is_text(name)]:
        raise LabelError(f"the name {strange[0]!r} cannot be written as Unicode text; rename it")
    title = "labels in memory" if path is None else path.name
    return _every_cell(title, labels, known, completed), labels if known is None else known


def refuse_empty(source: Table) -> None:
    """Refuse a file of suggestions without any, which would open an empty page.

    Raises:
        LabelError: it is one.
    """
    if isinstance(source, LabelTable) or not set(_header(Path(source))) >= _SUGGESTED:
        return
    if next(_lines(Path(source), None), None) is None:
        raise _nothing(Path(source))


def _nothing(path: Path) -> LabelError:
    """What the summary beside a file without suggestions says, and what to do."""
    said = ""
    with suppress(OSError, ValueError, TypeError, KeyError, IndexError):
        summary = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        if summary["kind"] == "promise":
            said = f", because nothing could be promised at precision {summary['target_precision']:g}"
            said += f" ({summary['left_out'][0]['why']})"
    return LabelError(
        f"{path} holds no suggestion{said}; label cells of your table itself (partlabel review TABLE), or have recover "
        f"write an audit (--audit) or suggestions of a lower precision (--precision)"
    )


def _beside(table: Table | None, source: Path, reporter: Reporter, read: ReadArguments) -> LabelTable | None:
    """The table beside a source that is none itself; the options of reading are the table's alone.

    Raises:
        UsageError: there are such options and no table; relations hold for verdicts too.
    """
    if table is not None:
        return open_table(table, reporter, read)[0]
    options = ReadOptions.of(read).without(("relations", "conflicts") if read.get("relations") else ())
    given = [name for name, field in ReadOptions.model_fields.items() if getattr(options, name) != field.default]
    if given:
        raise UsageError(f"{source} is read without --{given[0]}; leave it out, or give a label file with --table")
    return None


def _pictures(root: Path, reporter: Reporter) -> list[str]:
    files = image_files(root).files
    found = [name for name in files if _is_text(name)]
    if len(found) < len(files):
        reporter.say(f"{amount(len(files) - len(found), 'picture')} left out: names that are not UTF-8; rename them")
    if not found:
        raise LabelError(f"no picture below {root}; give the folder of pictures (--images)")
    return found


def _is_text(name: str) -> bool:
    """Whether a name can be written down; that of a file may hold any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _header(path: Path) -> list[str]:
    """Column names of a table in text; none where it is something else."""
    try:
        return [name.strip() for name in next(records(as_table(examine(path))), (0, []))[1]]
    except LabelError:
        return []


def _class_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as a list of class names: {error}") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names:
        raise LabelError(f"{path} lists no class; write one name per line")
    return names


def _every_cell(
    title: str, labels: LabelTable, known: LabelTable | None, completed: Callable[[LabelTable], LabelTable]
) -> Subject:
    """The images and classes of a table, what it knows and what a second one knows of them."""
    if known is not None:
        images, classes = labels.images, labels.classes
        labels = merge(labels, known, "other")[0]
        if labels.shape != (len(images), len(classes)):
            labels = labels.select_images(images).select_classes(classes)
    return Subject(title, completed(labels), None, np.full(len(labels.classes), 0.5))


class _Line(NamedTuple):
    """One line of a file of suggestions; the place is that in the file."""

    image: str
    class_name: str
    suggests: int
    probability: float
    kind: int


def _suggested(
    path: Path, known: LabelTable | None, reporter: Reporter, completed: Callable[[LabelTable], LabelTable]
) -> Subject:
    """The cells that a file suggests, without those that `known` decides already."""
    audit = _audit_plan(path)
    lines = list(_lines(path, None if audit is None else audit.state))
    images = list(dict.fromkeys(line.image for line in lines))
    classes = list(dict.fromkeys(line.class_name for line in lines))
    if not lines and known is None:
        raise _nothing(path)
    empty = LabelTable.from_cells(images, classes, [], [], [])
    labels = completed(empty if known is None else merge(known, empty)[0])
    if known is not None:
        _say_new(path, "image name", [name for name in images if name not in known.image_positions], reporter)
        _say_new(path, "class name", [name for name in classes if name not in known.class_positions], reporter)
    listed = _listed(path, lines, labels)
    rows, columns = np.divmod(listed.cells, len(labels.classes))
    asked = ~labels.decided_at(rows, columns) | (listed.kind != _KINDS["suggested"])
    if dropped := int((~asked).sum()):
        reporter.say(f"{amount(dropped, 'suggestion')} of {path} known or unsure by now: not asked again")
        listed = Listed(*(part[asked] for part in _parts(listed)))
    return Subject(path.name, labels, listed, _thresholds(path, labels), audit)


def _say_new(path: Path, what: str, names: list[str], reporter: Reporter) -> None:
    if names:
        reporter.say(f"{amount(len(names), what)} of {path} not in the table, first: {names[0]!r}")


def _parts(listed: Listed) -> tuple[NDArray[Any], ...]:
    return listed.cells, listed.suggests, listed.probability, listed.kind, listed.line


def _listed(path: Path, lines: list[_Line], labels: LabelTable) -> Listed:
    """Lines in the order of cells, each cell once.

    Raises:
        LabelError: a cell is there twice.
    """
    rows = np.array([labels.image_positions[line.image] for line in lines], np.int64)
    columns = np.array([labels.class_positions[line.class_name] for line in lines], np.int64)
    cells = rows * len(labels.classes) + columns
    order = np.argsort(cells, kind="stable")
    cells = cells[order]
    twice = np.flatnonzero(cells[1:] == cells[:-1])
    if twice.size:
        line = lines[order[twice[0]]]
        raise LabelError(f"{path}: class {line.class_name!r} of {line.image!r} is listed twice; delete one line")
    return Listed(
        cells,
        np.array([line.suggests for line in lines], np.int8)[order],
        np.array([line.probability for line in lines], np.float64)[order],
        np.array([line.kind for line in lines], np.int8)[order],
        order.astype(np.int64),
    )


def _lines(path: Path, asked: State | None) -> Iterator[_Line]:
    """Lines of a file of suggestions; columns other than image, class, state, probability and rule do not count.

    Args:
        path: the file.
        asked: the state that an audit asks about, whatever states its lines have.

    Raises:
        LabelError: it cannot be read, or a line is not as it should be.
    """
    rows = even_records(as_table(examine(path)))
    header = [name.strip() for name in next(rows)[1]]
    names = ("image", "class", "probability", "state", "rule")
    place = {name: header.index(name) for name in names if name in header}
    for line, cells in rows:
        yield _line({name: cells[position] for name, position in place.items()}, f"{path}, line {line}", asked)


def _line(cells: dict[str, str], where: str, asked: State | None) -> _Line:
    word, rule = cells.get("state", "present"), cells.get("rule")
    kind = rule if rule in KINDS else "suggested"
    if word not in _STATES:
        raise LabelError(f"{where}: state {word!r} is not present, absent or unknown")
    state = int(_STATES[word]) if asked is None else int(asked)
    suggests = -state if kind == "doubtful" else state
    text = cells["probability"].strip()
    try:
        probability = float(text) if text else float("nan")
    except ValueError:
        raise LabelError(f"{where}: probability {text!r} is no number") from None
    if not (0 <= probability <= 1 or not text):
        raise LabelError(f"{where}: probability {text} is not between 0 and 1")
    image, name = cell_name(cells["image"]), cell_name(cells["class"])
    if not image or not name:
        raise LabelError(f"{where}: the name of the {'class' if image else 'image'} is empty")
    return _Line(image, name, suggests, 1 - probability if suggests < 0 else probability, _KINDS[kind])


def _audit_plan(path: Path) -> "AuditPlan | None":
    """How the cells were drawn, where the summary beside the file is that of an audit."""
    try:
        if json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))["kind"] != "audit":
            return None
    except (OSError, ValueError, TypeError, KeyError):
        return None
    from partlabel.recovery.audit_file import read_audit_plan

    return read_audit_plan(path)


def _thresholds(path: Path, labels: LabelTable) -> NDArray[np.float64]:
    """float64 `[C]`: the threshold of each class by the summary that `recover` wrote beside its file, else 0.5."""
    found = np.full(len(labels.classes), 0.5)
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        for entry in json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))["classes"]:
            column, threshold = labels.class_positions.get(entry["class"]), entry["threshold"]
            if column is not None and isinstance(threshold, float) and 0 <= threshold <= 1:
                found[column] = threshold
    return found
