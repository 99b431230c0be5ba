"""Which classes of a file are read, what follows from them, and which of them are kept."""

from collections.abc import Iterable
from dataclasses import replace

from partlabel.errors import LabelError
from partlabel.formats.base import Format, Source
from partlabel.formats.header import closest
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import LISTED_AT_MOST, ConflictingCell, Reading
from partlabel.formats.renaming import read_renaming, renamed
from partlabel.labels import LabelTable
from partlabel.labels import Source as CellSource
from partlabel.relations import Relations
from partlabel.wording import amount

_STRICT = frozenset({"long", "tag_lists"})
"""Formats in which a class that is not among `classes` is an error, so that there is no choice to be made."""


def read_classes(format: Format, source: Source, options: ReadOptions, relations: Relations | None) -> Reading:
    """A file with the chosen classes by their new names, and with those that say something about them by relations,
    which `completed` leaves out again.

    Raises:
        LabelError: it cannot be read, or lacks a chosen class.
    """
    names = {} if options.rename is None else read_renaming(options.rename)
    chosen, related = options.classes, _related(relations, options.classes)
    if chosen is None or (format.name in _STRICT and options.rename is None) or not (related or options.rename):
        reading = format.read(source, options)
        return reading if options.rename is None else renamed(reading, names, source.path, None)
    if format.name == "one_hot_csv":  # other columns may be no classes at all
        there = source.columns(options).names
        wanted = [name for name in there if names.get(name, name) in {*chosen, *related}]
        reading = format.read(source, options.model_copy(update={"classes": tuple(wanted) or chosen}))
    else:
        reading = format.read(source, options.model_copy(update={"classes": None}))
    kept = (*chosen, *(name for name in related if name in _new_names(reading, names)))
    if options.rename is not None:
        return renamed(reading, names, source.path, kept)
    for name in chosen:
        if name not in reading.table.class_positions:
            raise LabelError(f"{source.path} has no class {name!r}; {closest(name, reading.table.classes)}")
    return reading._replace(table=reading.table.select_classes(kept))


def completed(reading: Reading, relations: Relations, options: ReadOptions) -> Reading:
    """The reading with the cells that follow from known ones, and then with the chosen classes alone.

    Raises:
        LabelError: known cells contradict the relations, and `conflicts` is "fail".
    """
    report = reading.report
    done = relations.completed(reading.table)
    told = "; ".join(map(str, done.contradictions[:3]))
    if done.contradictions and options.conflicts == "fail":
        raise LabelError(
            f"{report.path}: {len(done.contradictions):,} pair(s) of known cells contradict {options.relations}: "
            f"{told}; correct them, or use --conflicts unknown to make such cells unknown"
        )
    table, before = (_of_chosen(one, options.classes) for one in (done.table, reading.table))
    notes = [f"{amount(_implied(table) - _implied(before), 'cell')} known as well, by {options.relations}"]
    about = relations.names
    if options.classes is not None:
        about = tuple(name for name in about if name in {*options.classes, *_related(relations, options.classes)})
    if strange := [name for name in about if name not in reading.table.class_positions]:
        named = f"{amount(len(strange), 'class', 'classes')} of {options.relations}"
        notes.append(f"{named} not in the labels, first {strange[0]!r}; {closest(strange[0], reading.table.classes)}")
    if done.contradictions:
        notes.append(f"{len(done.contradictions):,} pair(s) of known cells contradict it and are unknown: {told}")
    conflicts = tuple(
        dict.fromkeys(
            ConflictingCell(one.image, name, ()) for one in done.contradictions for name in (one.class_name, one.other)
        )
    )
    found = replace(
        report,
        notes=(*report.notes, *notes),
        conflict_count=report.conflict_count + len(conflicts),
        conflicts=(*report.conflicts, *conflicts)[:LISTED_AT_MOST],
    )
    return Reading(table, found)


def _related(relations: Relations | None, chosen: tuple[str, ...] | None) -> list[str]:
    """Other classes whose cells settle some of the chosen ones."""
    if relations is None or chosen is None:
        return []
    wanted = {*chosen}
    return [
        name
        for name in relations.names
        if name not in wanted and (relations.above[name] | relations.below[name] | relations.excluded[name]) & wanted
    ]


def _new_names(reading: Reading, names: dict[str, str]) -> set[str]:
    return {names.get(name, name) for name in reading.table.classes}


def _of_chosen(table: LabelTable, chosen: Iterable[str] | None) -> LabelTable:
    wanted = table.classes if chosen is None else tuple(chosen)
    return table if wanted == table.classes else table.select_classes(wanted)


def _implied(table: LabelTable) -> int:
    return int((table.sources == CellSource.IMPLIED).sum())
