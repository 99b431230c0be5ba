"""Class names of one source as those of another: a file with a line for each name that changes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from partlabel.errors import LabelError
from partlabel.formats.header import closest, listed
from partlabel.formats.reading import Reading
from partlabel.formats.suggested import Suggested, Suggestion
from partlabel.formats.text import as_table, cell_name, even_records, examine
from partlabel.labels import Int8Array, LabelTable, Source, State
from partlabel.wording import amount

_BLOCK = 1 << 12


def read_renaming(path: Path | str) -> dict[str, str]:
    """The new name of each class that has one; an empty one drops the class.

    Args:
        path: a CSV with the columns `from` and `to`.

    Raises:
        LabelError: it cannot be read, has other columns, or gives a class two names.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} does not exist")
    rows = even_records(as_table(examine(path)))
    header = [name.strip().casefold() for name in next(rows)[1]]
    if sorted(header) != ["from", "to"]:
        raise LabelError(f"{path} has the columns {listed(header)}; a file of new names has the columns from and to")
    old, new = header.index("from"), header.index("to")
    names: dict[str, str] = {}
    for line, cells in rows:
        name, other = cell_name(cells[old].strip()), cell_name(cells[new].strip())
        if not name:
            raise LabelError(f"{path}, line {line}: the column 'from' is empty; name the class")
        if names.setdefault(name, other) != other:
            raise LabelError(f"{path}, line {line}: class {name!r} becomes both {names[name]!r} and {other!r}")
    return names


def renamed(reading: Reading, names: Mapping[str, str], path: Path, wanted: Iterable[str] | None) -> Reading:
    """The reading with other class names.

    Several classes that become one are taken as parts of it: it is present where any of them is, absent where all of
    them are, else unknown; and unsure where it is unknown and one of them is unsure.

    Args:
        reading: what was read.
        names: new names by old; an empty one drops the class.
        path: the label file, for messages.
        wanted: classes, by their new names, to keep in this order; None keeps all.

    Raises:
        LabelError: no class is left, or a wanted one is not there.
    """
    table = reading.table
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(table.classes):
        if new := names.get(name, name):
            groups.setdefault(new, []).append(column)
    if not groups:
        raise LabelError(f"{path}: every class is dropped by the new names")
    for name in wanted or ():
        if name not in groups:
            raise LabelError(f"{path} has no class {name!r}; {closest(name, groups)}")
    if wanted is not None:
        groups = {name: groups[name] for name in wanted}
    changed = sum(1 for name in table.classes if names.get(name, name) != name)
    dropped = len(table.classes) - sum(map(len, groups.values()))
    notes = [f"new names for {changed:,} of {len(table.classes):,} classes" + f", {dropped:,} dropped" * bool(dropped)]
    if unused := [name for name in names if name not in table.class_positions]:
        near = closest(unused[0], table.classes)
        notes.append(f"{amount(len(unused), 'old name')} not in the labels, first {unused[0]!r}; {near}")
    report = replace(
        reading.report,
        notes=(*reading.report.notes, *notes),
        suggested=_renamed_suggestions(reading.report.suggested, names, groups),
    )
    return Reading(_joined(table, groups), report)


def _joined(table: LabelTable, groups: Mapping[str, list[int]]) -> LabelTable:
    """One class for each group of columns."""
    alone = {columns[0]: place for place, columns in enumerate(groups.values()) if len(columns) == 1}
    place_of = np.array([alone.get(column, -1) for column in range(len(table.classes))], np.int64)
    cells = table.cells()
    kept = place_of[cells.class_index] >= 0
    rows, columns = [cells.image_index[kept]], [place_of[cells.class_index[kept]]]
    states, sources = [cells.states[kept]], [cells.sources[kept]]
    background = np.array([table.background[some].max() for some in groups.values()], np.int8)
    for place, several in enumerate(groups.values()):
        if len(several) == 1:
            continue
        together = table.select_classes(several)
        state = _of_parts(together)
        source = _sources(together, state)
        listed_rows = np.flatnonzero((state != background[place]) | (source == Source.UNSURE))
        rows.append(listed_rows)
        columns.append(np.full(listed_rows.size, place))
        states.append(state[listed_rows])
        sources.append(source[listed_rows])
    return LabelTable.from_cells(
        table.images,
        tuple(groups),
        np.concatenate(rows),
        np.concatenate(columns),
        np.concatenate(states),
        np.concatenate(sources),
        background,
    )


def _of_parts(parts: LabelTable) -> Int8Array:
    """Int8 `[N]`: present where any part is, absent where all are, else unknown."""
    found = np.zeros(len(parts), np.int8)
    for start in range(0, len(parts), _BLOCK):
        dense = parts.rows(np.arange(start, min(start + _BLOCK, len(parts))))
        present, absent = (dense == State.PRESENT).any(1), (dense == State.ABSENT).all(1)
        found[start : start + len(dense)] = np.where(present, State.PRESENT, np.where(absent, State.ABSENT, 0))
    return found


def _sources(parts: LabelTable, state: Int8Array) -> Int8Array:
    """Source `[N]` of each state: that of the first part that has it, or of an unsure one."""
    found = np.full(len(parts), Source.IMPORT, np.int8)
    cells = parts.cells()
    fits = cells.states == state[cells.image_index]
    same = np.flatnonzero(fits)[::-1]
    found[cells.image_index[same]] = cells.sources[same]
    found[cells.image_index[fits & (cells.sources == Source.UNSURE)]] = Source.UNSURE
    return found


def _renamed_suggestions(suggested: Suggested, names: Mapping[str, str], kept: Iterable[str]) -> Suggested:
    """With new names; of several that become one cell, the most probable."""
    there = {*kept}
    best: dict[tuple[str, str], Suggestion] = {}
    for one in suggested:
        new = one._replace(class_name=names.get(one.class_name, one.class_name))
        cell = new.image, new.class_name
        if new.class_name in there and (cell not in best or best[cell].probability < new.probability):
            best[cell] = new
    return Suggested.of(best.values())
