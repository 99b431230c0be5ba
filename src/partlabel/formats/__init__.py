"""Label files: one format per module, each a `Format` that reads and writes.

The format of a file follows from the ending of its name; where an ending belongs to several formats, from its content:

| name ends in | header (in any case; columns of `where` and `ignore` aside) | format |
|---|---|---|
| .parquet | | long |
| .jsonl, .ndjson | | tag_lists |
| .csv | an image column, class and state | long |
| .csv | an image column, present and absent | tag_lists |
| .csv | an image column, and none of class, state, present, absent | one_hot_csv |

The image column is the first one named image, file, filename or path. Whatever else is refused until `format` is given.
"""

from pathlib import Path
from typing import Unpack

from partlabel.errors import LabelError, UsageError
from partlabel.formats.base import Format, Source
from partlabel.formats.codes import CodeMap
from partlabel.formats.header import unclear
from partlabel.formats.long import Long
from partlabel.formats.one_hot import OneHotCsv
from partlabel.formats.options import ReadOptions, check_separator, one_of
from partlabel.formats.reading import (
    ConflictingCell,
    Duplicate,
    Reading,
    ReadingReport,
    SkippedRow,
    WriteOptions,
)
from partlabel.formats.tags import TagLists
from partlabel.formats.unread import refuse_unread
from partlabel.labels import LabelTable
from partlabel.read_arguments import ReadArguments

__all__ = [
    "FORMATS",
    "CodeMap",
    "ConflictingCell",
    "Duplicate",
    "Format",
    "ReadArguments",
    "ReadOptions",
    "Reading",
    "ReadingReport",
    "SkippedRow",
    "WriteOptions",
    "label_source",
    "read_table",
    "read_written",
    "suffixes",
    "unused_options",
    "write_table",
]

FORMATS: dict[str, Format] = {format.name: format for format in (OneHotCsv(), Long(), TagLists())}
_WRITTEN_BY_DEFAULT = "long"


def suffixes(takes: str = "file") -> str:
    """The endings of label files, in words."""
    names = list(
        dict.fromkeys(suffix for format in FORMATS.values() if format.takes == takes for suffix in format.suffixes)
    )
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def label_source(path: Path | str) -> Source:
    """A label file, or a folder of labels, that is there.

    Raises:
        LabelError: it is not, or no format reads such a file or folder.
    """
    path = Path(path)
    if path.is_dir():
        if not any(format.takes == "folder" for format in FORMATS.values()):
            raise LabelError(f"{path} is a folder, not a label file; give the file in it that lists the labels")
    elif not path.exists():
        raise LabelError(f"{path} does not exist")
    elif not path.is_file():
        raise LabelError(
            f"{path} is a pipe or a device; labels are read more than once, so write them to a file that ends in "
            f"{suffixes()} first"
        )
    return Source(path)


def read_table(path: Path | str, **options: Unpack[ReadArguments]) -> Reading:
    """Read a label file.

    Args:
        path: the file; it is never changed.
        **options: the fields of `ReadOptions`: codes, unlisted, classes, where, ignore, conflicts, format, separator.

    Raises:
        LabelError: the file cannot be read as labels; names file, line and column.
        UsageError: an option cannot be used, or the format of the file does not use it.
    """
    source = label_source(path)
    checked = ReadOptions.of(options)
    format = _format_of(source, checked)
    if unused := checked.unused(format.options):
        raise UsageError(f"{path}: {format.name} does not use --{unused[0]}; leave it out")
    return format.read(source, checked)


def read_written(path: Path | str) -> LabelTable:
    """A table as `write_table` wrote it to Parquet. Its names were accepted before, and are not doubted again.

    Raises:
        LabelError: the file cannot be read.
    """
    return Long().read(label_source(path), ReadOptions(), trusted=True).table


def unused_options(path: Path | str, options: ReadArguments) -> list[str]:
    """Options that are given, but that the format of this file does not use.

    Raises:
        LabelError: the file has no format.
        UsageError: an option cannot be used.
    """
    checked = ReadOptions.of(options)
    return checked.unused(_format_of(label_source(path), checked).options)


def write_table(
    table: LabelTable,
    path: Path | str,
    *,
    codes: str | None = None,
    format: str | None = None,
    separator: str | None = None,
) -> None:
    """Write a label file, whole or not at all. All states and orders survive; a format that would change any refuses.

    The long format keeps everything. One-hot files and tag lists do not keep the sources of cells. A one-hot file
    spells out every cell, and so keeps the states that a background implies, not the background itself.

    Args:
        table: what to write; it has at least one image and one class.
        path: the file; .jsonl and .ndjson are tag lists, .parquet and .csv are long.
        codes: the values of the states, as in `read_table`; without it the words present, absent and unknown.
        format: key of `FORMATS`, for a .csv that is not long.
        separator: what stands between names in CSV tag lists; `;` by default.

    Raises:
        LabelError: the table cannot be kept in this format; says why.
        UsageError: an argument cannot be used.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    options = WriteOptions(codes=CodeMap.parse(codes), separator=check_separator(separator))
    chosen = _written_format(path, format)
    for name, given in (("codes", codes), ("separator", separator)):
        if given is not None and name not in chosen.written_with:
            raise UsageError(f"{path}: {chosen.name} is written without {name}; leave it out")
    if not table.images or not table.classes:
        raise LabelError(f"{path}: a table without {'images' if not table.images else 'classes'} cannot be written")
    _check_names(table, path)
    chosen.write(table, path, options)


def _format_of(source: Source, options: ReadOptions) -> Format:
    """The format of a file: as named, or by its ending, or by its content.

    Raises:
        LabelError: it has none, or several.
        UsageError: the named one is unknown, or does not read files with this ending.
    """
    refuse_unread(source, suffixes())
    if options.format is not None:
        named = FORMATS[one_of("format", options.format, FORMATS)]
        _check_suffix(source.path, named)
        return named
    takes = "folder" if source.is_folder else "file"
    possible = [
        format
        for format in FORMATS.values()
        if format.takes == takes and (source.is_folder or source.suffix in format.suffixes)
    ]
    if not possible:
        raise LabelError(f"{source.path}: the name does not end in {suffixes()}; say the format with --format")
    if len(possible) == 1 and not source.is_folder:
        return possible[0]
    fitting = [format for format in possible if format.sniff(source, options)]
    if len(fitting) == 1:
        return fitting[0]
    if source.suffix == ".csv":
        raise unclear(source.columns(options))
    names = ", ".join(format.name for format in fitting or possible)
    raise LabelError(f"{source.path} could be {names}; say which with --format")


def _written_format(path: Path, name: str | None) -> Format:
    if name is not None:
        named = FORMATS[one_of("format", name, FORMATS)]
        _check_suffix(path, named)
        return named
    suffix = path.suffix.casefold()
    possible = [format for format in FORMATS.values() if suffix in format.suffixes]
    if not possible:
        raise UsageError(f"{path}: the name does not end in {suffixes()}; rename it or say the format")
    return next((format for format in possible if format.name == _WRITTEN_BY_DEFAULT), possible[0])


def _check_suffix(path: Path, format: Format) -> None:
    suffix = path.suffix.casefold()
    owners = [other.name for other in FORMATS.values() if suffix in other.suffixes]
    if owners and format.name not in owners:
        raise UsageError(
            f"{path}: a {path.suffix} file is {' or '.join(owners)}, not {format.name}; leave the format out or rename "
            f"the file"
        )


def _check_names(table: LabelTable, path: Path) -> None:
    plain_text = path.suffix.casefold() not in {".parquet", ".jsonl", ".ndjson"}
    for name in (*table.images, *table.classes):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LabelError(f"{path}: the name {name!r} cannot be written as Unicode text; rename it") from error
        if plain_text and "\0" in name:
            raise LabelError(f"{path}: the name {name!r} holds a zero byte, which a text file must not; rename it")
