"""What every reader answers: a table and a report of how the file was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from partlabel.errors import EmptyTableError, LabelError
from partlabel.formats.codes import CodeMap
from partlabel.formats.suggested import NO_SUGGESTIONS, Suggested
from partlabel.labels import LabelTable

LISTED_AT_MOST = (
    1000  # of each kind of finding in a report; a wrong export can hold millions, and the counts stay exact
)


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How to write a label file; `partlabel.formats.write_table` explains each."""

    codes: CodeMap = field(default_factory=CodeMap)
    separator: str | None = None
    suggested: Suggested = NO_SUGGESTIONS
    prefix: str = ""


class SkippedRow(NamedTuple):
    """A row that says nothing. Lines count from 1, the header included; in Parquet they are row numbers."""

    line: int
    reason: str


class Duplicate(NamedTuple):
    """An image (class_name is None) or a cell that the file lists on several lines without contradiction."""

    image: str
    class_name: str | None
    lines: tuple[int, ...]


class ConflictingCell(NamedTuple):
    """A cell that the file calls present on one line and absent on another."""

    image: str
    class_name: str
    lines: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ReadingReport:
    """How a file was read. `skipped`, `duplicates` and `conflicts` list the first 1,000 of each; the counts are
    complete.

    Args:
        path: the file.
        format: key of `partlabel.formats.FORMATS`.
        encoding: text encoding, or Parquet.
        rows_read: rows below the header; blank lines do not count.
        rows_used: rows that went into the table, identical duplicates included.
        rows_filtered: rows left out by `where`.
        rows_skipped: rows that say nothing.
        skipped: those rows and the reason.
        duplicate_count: images (one-hot, tag lists) or cells (long) that are listed more than once.
        duplicates: those images or cells and their lines.
        conflict_count: cells that are present on one line and absent on another; they are unknown in the table.
        conflicts: those cells and their lines.
        ignored_columns: columns that were not read.
        notes: what else its owner should know, a part of a sentence each.
        suggested: what the file suggests of cells that nobody has decided; no labels.
    """

    path: str
    format: str
    encoding: str
    rows_read: int
    rows_used: int
    rows_filtered: int
    rows_skipped: int
    skipped: tuple[SkippedRow, ...]
    duplicate_count: int
    duplicates: tuple[Duplicate, ...]
    conflict_count: int
    conflicts: tuple[ConflictingCell, ...]
    ignored_columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    suggested: Suggested = NO_SUGGESTIONS


class Reading(NamedTuple):
    """A table and how it was read."""

    table: LabelTable
    report: ReadingReport


@dataclass(kw_only=True)
class Tally:
    """Running counts of one reading, from which the report is made."""

    path: Path
    format: str
    encoding: str
    where: Mapping[str, str]
    ignored_columns: tuple[str, ...] = ()
    rows_read: int = 0
    rows_filtered: int = 0
    rows_skipped: int = 0
    skipped: list[SkippedRow] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def skip(self, line: int, reason: str) -> None:
        """Count a row that says nothing."""
        self.rows_skipped += 1
        if len(self.skipped) < LISTED_AT_MOST:
            self.skipped.append(SkippedRow(line, reason))

    def keeps(self, values: Mapping[str, str]) -> bool:
        """Whether a row with these values in the columns of `where` is kept; counts it where it is not."""
        for column, value in values.items():
            self.see(column, (value.strip(),))
        if all(values[column].strip() == wanted for column, wanted in self.where.items()):
            return True
        self.rows_filtered += 1
        return False

    def see(self, column: str, values: tuple[str, ...]) -> None:
        """Remember a few values of a column of `where`, for the message when no row is kept."""
        seen = self.seen.setdefault(column, set())
        for value in values:
            if len(seen) < 10:
                seen.add(value)

    def check_any(self, images: int, classes: int) -> None:
        """Refuse a file that leaves nothing.

        Raises:
            LabelError: no image or no class was listed, or `where` kept no row.
        """
        if not images and self.rows_filtered:
            columns = "; ".join(
                f"{column!r} is never {wanted!r} together with the other conditions (values: {self._values(column)})"
                if len(self.where) > 1
                else f"column {column!r} is never {wanted!r} (values: {self._values(column)})"
                for column, wanted in self.where.items()
            )
            raise LabelError(f"{self.path}: --where keeps none of the {self.rows_filtered} rows: {columns}")
        if not images:
            raise EmptyTableError(
                f"{self.path} lists no image, only a header or declarations; add one row per image or cell"
            )
        if not classes:
            raise LabelError(f"{self.path} names no class; add a column or a row for each class")

    def _values(self, column: str) -> str:
        return ", ".join(repr(value) for value in sorted(self.seen.get(column, ())))

    def report(
        self,
        duplicates: "tuple[int, list[Duplicate]]",
        conflicts: "tuple[int, list[ConflictingCell]]",
        suggested: Suggested = NO_SUGGESTIONS,
    ) -> ReadingReport:
        """The finished report; each finding is its full count and the first cases."""
        return ReadingReport(
            path=str(self.path),
            format=self.format,
            encoding=self.encoding,
            rows_read=self.rows_read,
            rows_used=self.rows_read - self.rows_filtered - self.rows_skipped,
            rows_filtered=self.rows_filtered,
            rows_skipped=self.rows_skipped,
            skipped=tuple(self.skipped),
            duplicate_count=duplicates[0],
            duplicates=tuple(duplicates[1]),
            conflict_count=conflicts[0],
            conflicts=tuple(conflicts[1]),
            ignored_columns=self.ignored_columns,
            notes=tuple(self.notes),
            suggested=suggested,
        )
