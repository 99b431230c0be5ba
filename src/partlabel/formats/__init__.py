"""Label files: one format a module, each with `read(path, options)` and `write(table, path, options)`.

The format of a file follows from its name, and for CSV from its header:

| name ends in | header (in any case; columns of `where` and `ignore` aside) | format |
|---|---|---|
| .parquet | | long |
| .jsonl, .ndjson | | tag_lists |
| .csv | an image column, class and state | long |
| .csv | an image column, present and absent | tag_lists |
| .csv | an image column, and none of class, state, present, absent | one_hot_csv |

The image column is the first one named image, file, filename or path. Whatever else is refused until `format` is said.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Literal

from partlabel.errors import LabelError, UsageError
from partlabel.formats import long, one_hot_csv, tag_lists
from partlabel.formats.codes import CodeMap
from partlabel.formats.header import closest, columns_of, csv_format
from partlabel.formats.reading import (
    ConflictingCell,
    Duplicate,
    Reading,
    ReadingReport,
    ReadOptions,
    SkippedRow,
    WriteOptions,
)
from partlabel.formats.text import examine, records
from partlabel.labels import LabelTable, State

__all__ = [
    "FORMATS",
    "CodeMap",
    "ConflictingCell",
    "Duplicate",
    "ReadOptions",
    "Reading",
    "ReadingReport",
    "SkippedRow",
    "WriteOptions",
    "label_file",
    "read_table",
    "write_table",
]

FORMATS: dict[str, ModuleType] = {"one_hot_csv": one_hot_csv, "long": long, "tag_lists": tag_lists}
_BY_SUFFIX = {".parquet": "long", ".jsonl": "tag_lists", ".ndjson": "tag_lists"}
_UNLISTED = {"unknown": State.UNKNOWN, "absent": State.ABSENT}


def label_file(path: Path | str) -> Path:
    """The path of a label file that is there.

    Raises:
        LabelError: it is not.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path} {'is a folder, not a label file' if path.is_dir() else 'does not exist'}")
    return path


def read_table(
    path: Path | str,
    *,
    codes: str | None = None,
    unlisted: Literal["unknown", "absent"] = "unknown",
    classes: Iterable[str] | None = None,
    where: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    conflicts: Literal["fail", "unknown"] = "fail",
    format: str | None = None,
    separator: str | None = None,
) -> Reading:
    """Read a label file.

    Args:
        path: the file; it is never changed.
        codes: what values mean, as in `'1=present,0=absent,=unknown'`; an empty left side is an empty cell. The words
            present, absent and unknown need no code. Tag lists have no values, and so no codes.
        unlisted: "absent" declares that every cell which the file does not list is absent; a declaration in the file
            goes first.
        classes: the classes, in this order. Of a one-hot file these columns are read; in other formats any other class
            is an error.
        where: keep rows whose column has this value, white space around it aside; such a column is no class.
        ignore: columns to leave out.
        conflicts: "fail" refuses a cell that is present on one line and absent on another; "unknown" makes it unknown
            and reports it.
        format: key of `FORMATS`, where name and header do not tell.
        separator: what stands between names in CSV tag lists; `;` if nothing is said.

    Raises:
        LabelError: the file cannot be read as labels; names file, line and column.
        UsageError: an argument cannot be used.
    """
    path = label_file(path)
    options = ReadOptions(
        codes=CodeMap.parse(codes),
        unlisted=_UNLISTED[_one_of("unlisted", unlisted, _UNLISTED)],
        classes=None if classes is None else _class_list(classes),
        where=dict(where or {}),
        ignore=tuple(ignore),
        conflicts="fail" if _one_of("conflicts", conflicts, ("fail", "unknown")) == "fail" else "unknown",
        separator=_separator(separator),
    )
    name = _format_of(path, options) if format is None else _one_of("format", format, FORMATS)
    _check_suffix(path, name)
    reading: Reading = FORMATS[name].read(path, options)
    return reading


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
        separator: what stands between names in CSV tag lists; `;` if nothing is said.

    Raises:
        LabelError: the table cannot be kept in this format; says why.
        UsageError: an argument cannot be used.
        StorageError: the file cannot be written.
    """
    path = Path(path)
    options = WriteOptions(codes=CodeMap.parse(codes), separator=_separator(separator))
    suffix = path.suffix.casefold()
    if format is None and suffix not in {*_BY_SUFFIX, ".csv"}:
        raise UsageError(
            f"{path}: the name does not end in .csv, .parquet, .jsonl or .ndjson; rename it or say the format"
        )
    name = _BY_SUFFIX.get(suffix, "long") if format is None else _one_of("format", format, FORMATS)
    _check_suffix(path, name)
    if not table.images or not table.classes:
        raise LabelError(f"{path}: a table without {'images' if not table.images else 'classes'} cannot be written")
    _check_names(table, path)
    FORMATS[name].write(table, path, options)


def _format_of(path: Path, options: ReadOptions) -> str:
    suffix = path.suffix.casefold()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix != ".csv":
        raise LabelError(
            f"{path}: the name does not end in .csv, .parquet, .jsonl or .ndjson; say the format with --format"
        )
    return csv_format(columns_of(path, next(records(examine(path)))[1], options))


def _check_suffix(path: Path, name: str) -> None:
    owner = _BY_SUFFIX.get(path.suffix.casefold())
    if owner not in {None, name}:
        raise UsageError(
            f"{path}: a {path.suffix} file is {owner}, not {name}; leave the format out or rename the file"
        )


def _check_names(table: LabelTable, path: Path) -> None:
    plain_text = path.suffix.casefold() not in _BY_SUFFIX
    for name in (*table.images, *table.classes):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LabelError(f"{path}: the name {name!r} cannot be written as Unicode text; rename it") from error
        if plain_text and "\0" in name:
            raise LabelError(f"{path}: the name {name!r} holds a zero byte, which a text file must not; rename it")


def _class_list(classes: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(classes)
    if not chosen or "" in chosen or len(set(chosen)) < len(chosen):
        raise UsageError("the list of classes is empty, holds an empty name or holds a name twice")
    return chosen


def _separator(separator: str | None) -> str | None:
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise UsageError(f"separator {separator!r} is not a single character other than a quote or a line end")
    return separator


def _one_of(what: str, value: str, known: Iterable[str]) -> str:
    if value not in known:
        raise UsageError(f"{what} {value!r} is not one of {', '.join(known)}; {closest(value, known)}")
    return value
