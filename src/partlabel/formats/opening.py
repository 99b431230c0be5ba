"""Label tables as arguments: a table, or the path of a file and how to read it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypedDict

from partlabel.errors import UsageError
from partlabel.formats import Reading, read_table
from partlabel.labels import LabelTable, Source, names_alike
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


def refuse_input(out: Path | str, *tables: Table) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UsageError: `out`, or the record beside it, is one of the tables.
    """
    written = {Path(out).resolve(), Path(f"{out}.json").resolve()}
    for table in tables:
        if not isinstance(table, LabelTable) and Path(table).resolve() in written:
            raise UsageError(f"{table} is read and would be overwritten; give another file to write")


def open_truth(table: Table, reporter: Reporter, read: ReadArguments) -> LabelTable:
    """Labels to judge by. Recovered cells are unknown in them: a model said them."""
    labels, _ = open_table(table, reporter, read)
    known = labels.without_recovered()
    if known is not labels:
        count = int((labels.sources == Source.RECOVERED).sum())
        reporter.say(f"{count:,} recovered cells of the truth are left out: a model said them, nobody looked")
    return known


def open_table(table: Table, reporter: Reporter, read: ReadArguments) -> tuple[LabelTable, Reading | None]:
    """The table itself, or what a file holds, with its reading report; findings are said aloud."""
    if isinstance(table, LabelTable):
        return table, None
    strange = sorted(set(read) - set(ReadArguments.__annotations__))
    if strange:
        raise UsageError(f"read has no {strange[0]!r}; it takes {', '.join(ReadArguments.__annotations__)}")
    reading = read_table(table, **read)
    report = reading.report
    for count, what in (
        (report.rows_skipped, "row(s) skipped"),
        (report.duplicate_count, "duplicate(s) kept once"),
        (report.conflict_count, "conflicting cell(s) made unknown"),
    ):
        if count:
            reporter.say(f"{table}: {count} {what}; `partlabel look` names them")
    if report.ignored_columns and report.format == "tag_lists":  # elsewhere a column is either needed or harmless
        reporter.say(f"{table}: nothing is read from {', '.join(map(repr, report.ignored_columns))}")
    for alike in names_alike(reading.table.classes):
        reporter.say(
            f"{table}: {' and '.join(map(repr, alike))} are different classes; rename one if they are the same"
        )
    return reading.table, reading
