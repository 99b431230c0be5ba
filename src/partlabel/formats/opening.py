"""Label tables as arguments: a table, or the path of a file and how to read it."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from partlabel.errors import UsageError
from partlabel.formats import ReadArguments, Reading, label_source, read_table, unused_options
from partlabel.formats.options import ReadOptions
from partlabel.labels import LabelTable, Source
from partlabel.names import names_alike
from partlabel.progress import Reporter

__all__ = ["ReadArguments", "Table", "header_of", "open_table", "open_truth", "refuse_input", "refuse_to_overwrite"]

Table = LabelTable | Path | str


def refuse_input(out: Path | str, *tables: Table) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UsageError: `out`, or the record beside it, is one of the tables.
    """
    refuse_to_overwrite([Path(out), Path(f"{out}.json")], *tables)


def refuse_to_overwrite(written: Iterable[Path], *tables: Table) -> None:
    """Refuse to write over a file that is read.

    Raises:
        UsageError: a file to write is one of the tables.
    """
    targets = {path.resolve() for path in written}
    for table in tables:
        if not isinstance(table, LabelTable) and Path(table).resolve() in targets:
            raise UsageError(f"{table} is read and would be overwritten; give another file to write")


def open_truth(table: Table, reporter: Reporter, read: ReadArguments, *, shared: bool = False) -> LabelTable:
    """Labels to judge by. Recovered cells are unknown in them: they come from a model."""
    labels, _ = open_table(table, reporter, read, shared=shared)
    known = labels.without_recovered()
    if known is not labels:
        count = int((labels.sources == Source.RECOVERED).sum())
        reporter.say(f"{count:,} recovered cells of the truth are left out: they come from a model, nobody looked")
    return known


def open_table(
    table: Table, reporter: Reporter, read: ReadArguments, *, shared: bool = False
) -> tuple[LabelTable, Reading | None]:
    """The table itself, or what a file holds, with its reading report; findings are reported.

    Args:
        table: label table, or the path of a label file.
        reporter: where findings go.
        read: how to read the file.
        shared: the same options hold for another file as well, so that this one need not use all of them.

    Raises:
        LabelError: the file cannot be read.
        UsageError: an option cannot be used.
    """
    if isinstance(table, LabelTable):
        return table, None
    if shared and (unused := unused_options(table, read)):
        reporter.say(
            f"{table} is read without {', '.join(f'--{name}' for name in unused)}, which its format does not use"
        )
        read = cast(ReadArguments, {name: value for name, value in read.items() if name not in unused})
    reading = read_table(table, **read)
    for sentence in _findings(table, reading):
        reporter.say(sentence)
    return reading.table, reading


def header_of(path: Path | str) -> tuple[str, ...] | None:
    """The column names of a CSV; None where the file has none."""
    source = label_source(path)
    if source.is_folder or source.suffix != ".csv":
        return None
    return source.columns(ReadOptions()).names


def _findings(path: Path | str, reading: Reading) -> Iterator[str]:
    report = reading.report
    for count, what in (
        (report.rows_skipped, "row(s) skipped"),
        (report.duplicate_count, "duplicate(s) kept once"),
        (report.conflict_count, "conflicting cell(s) made unknown"),
    ):
        if count:
            yield f"{path}: {count} {what}; `partlabel look` names them"
    if report.ignored_columns and report.format == "tag_lists":  # elsewhere a column is either needed or harmless
        yield f"{path}: nothing is read from {', '.join(map(repr, report.ignored_columns))}"
    for alike in names_alike(reading.table.classes):
        yield f"{path}: {' and '.join(map(repr, alike))} are different classes; rename one if they are the same"
