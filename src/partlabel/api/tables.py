"""Label tables as arguments: a table, or the path of a file and how to read it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypedDict

from partlabel.formats import Reading, read_table
from partlabel.labels import LabelTable
from partlabel.progress import Reporter

Table = LabelTable | Path | str


class ReadArguments(TypedDict, total=False):
    """How to read a label file; see `partlabel.formats.read_table`."""

    codes: str | None
    unlisted: Literal["unknown", "absent"]
    classes: Iterable[str] | None
    where: Mapping[str, str] | None
    ignore: Iterable[str]
    conflicts: Literal["fail", "unknown"]
    format: str | None
    separator: str | None


def open_table(table: Table, reporter: Reporter, read: ReadArguments) -> tuple[LabelTable, Reading | None]:
    """The table itself, or what a file holds, with its reading report; findings are said aloud."""
    if isinstance(table, LabelTable):
        return table, None
    reading = read_table(table, **read)
    report = reading.report
    for count, what in (
        (report.rows_skipped, "row(s) skipped"),
        (report.duplicate_count, "duplicate(s) kept once"),
        (report.conflict_count, "conflicting cell(s) made unknown"),
    ):
        if count:
            reporter.say(f"{table}: {count} {what}; `partlabel look` names them")
    return reading.table, reading
