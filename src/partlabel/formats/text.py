"""Text files of unknown origin: encoding, CSV records with their line numbers, and CSV quoting."""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.formats.header import IMAGE_COLUMNS, plain
from partlabel.formats.spreadsheet import SUFFIXES

_CHUNK = 1 << 22
_CELL_LIMIT = 1 << 27  # characters; the csv module's own limit is below one declaration of some thousand classes
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 with BOM", "utf-16": "UTF-16"}


DELIMITED = (".csv", ".tsv", ".tab", *SUFFIXES)
"""Endings of tables in text, and of workbooks, which are read as such."""


@dataclass(frozen=True)
class TextFile:
    """A file that was read through once and holds clean text.

    Args:
        path: the file as the user knows it, for messages.
        content: where its text is; another file for a workbook.
        codec: Python's name of its encoding.
        quoted: whether a double quote occurs anywhere.
        delimiter: what stands between the columns, if it is a table.
        preamble: lines before the header: 1 for a note to Excel such as `sep=;`.
    """

    path: Path
    content: Path
    codec: str
    quoted: bool
    delimiter: str = ","
    preamble: int = 0

    @property
    def encoding(self) -> str:
        """The encoding as people write it."""
        return "workbook" if self.content != self.path else _NAMES[self.codec]

    @property
    def note(self) -> str | None:
        """What stands between the columns, where it is no comma."""
        if self.delimiter == ",":
            return None
        return f"columns are separated by {_MARKS.get(self.delimiter, repr(self.delimiter))}"


def as_table(text: TextFile) -> TextFile:
    """The file as a table: its delimiter follows from the header.

    The first of comma, semicolon, tab and bar at which the header falls into columns of which one holds images; if
    there is none, the comma where it gives several columns, else the mark that gives most. A first line `sep=;` is a
    note for Excel that says so itself.
    """
    with text.content.open(encoding=text.codec, newline="") as stream:
        first = stream.readline(_CELL_LIMIT)
    if said := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE | re.DOTALL):
        return replace(text, delimiter=said[1], preamble=1) if said[1] not in '"\r\n' else text
    marks = (",", ";", "\t", "|") if text.path.suffix.casefold() not in {".tsv", ".tab"} else ("\t", ",", ";", "|")
    widths: dict[str, int] = {}
    for mark in marks:
        try:
            header = next(csv.reader([first], delimiter=mark), [])
        except csv.Error:
            continue
        widths[mark] = len(header)
        if len(header) > 1 and any(plain(name) in IMAGE_COLUMNS for name in header):
            return replace(text, delimiter=mark)
    if widths.get(marks[0], 1) > 1:
        return replace(text, delimiter=marks[0])
    return replace(text, delimiter=max(widths, key=lambda mark: widths[mark], default=","))


def examine(path: Path, content: Path | None = None) -> TextFile:
    """Find the encoding from the byte order mark (UTF-8 without one) and check every byte.

    Args:
        path: the file, for messages.
        content: where its text is, if elsewhere.

    Raises:
        LabelError: the file cannot be read, is empty, or holds bytes that are no text; names the line.
    """
    lines, quoted, blank = 1, False, True
    content = content or path
    try:
        with content.open("rb") as stream:
            codec = _codec(stream.read(4))
            stream.seek(0)
            decoder = codecs.getincrementaldecoder(codec)()
            while True:
                chunk = stream.read(_CHUNK)
                text = decoder.decode(chunk, final=not chunk)
                if "\0" in text:
                    line = lines + text[: text.index("\0")].count("\n")
                    raise LabelError(
                        f"{path}, line {line} holds a zero byte: this is no text file, or UTF-16 without a byte "
                        f"order mark; save it as UTF-8"
                    )
                lines, quoted, blank = lines + text.count("\n"), quoted or '"' in text, blank and not text.strip()
                if not chunk:
                    break
    except UnicodeDecodeError as error:
        line = lines + error.object[: error.start].decode(codec, "ignore").count("\n")
        byte = error.object[error.start]
        raise LabelError(
            f"{path}, line {line}: byte 0x{byte:02x} is not {_NAMES[codec]}; save the file as UTF-8 (in Excel: "
            f"CSV UTF-8)"
        ) from error
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error
    if blank:
        raise LabelError(f"{path} is empty; a label file starts with a header or a record")
    return TextFile(path, content, codec, quoted)


def _codec(head: bytes) -> str:
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def records(text: TextFile) -> Iterator[tuple[int, list[str]]]:
    """CSV records that are not blank lines, each with the line it starts on (from 1).

    Raises:
        LabelError: a quoted cell is not closed, or text follows its closing quote; names the line.
    """
    csv.field_size_limit(_CELL_LIMIT)
    with text.content.open(encoding=text.codec, newline="") as stream:
        for _ in range(text.preamble):
            next(stream)
        reader = csv.reader(stream, strict=True, delimiter=text.delimiter)
        start = 1 + text.preamble
        try:
            for cells in reader:
                if cells:
                    yield start, cells
                start = reader.line_num + 1 + text.preamble
        except csv.Error as error:
            raise LabelError(
                f"{text.path}: the record that starts on line {start} has a broken quoted cell ({error}); close the "
                'quote, and write a quote inside a quoted cell twice ("")'
            ) from error


def even_records(text: TextFile) -> Iterator[tuple[int, list[str]]]:
    """`records`, all as wide as the first one.

    Raises:
        LabelError: a record has more or fewer cells; names the line.
    """
    width = None
    for line, cells in records(text):
        width = len(cells) if width is None else width
        if len(cells) != width:
            raise ragged(text.path, line, len(cells), width)
        yield line, cells


def ragged(path: Path, line: int, cells: int, width: int) -> LabelError:
    """The error for a record of the wrong width."""
    hint = "a trailing comma, or a name with a comma that is not quoted?" if cells > width else "a missing comma?"
    return LabelError(f"{path}, line {line} has {cells} cell{'s' * (cells != 1)}, but the header has {width}: {hint}")


def lines_of(text: TextFile, wanted: Iterable[int]) -> dict[int, int]:
    """Line of each wanted record; records count from 0, the header included. Reads the file again, as far as needed."""
    missing = set(wanted)
    found: dict[int, int] = {}
    if missing:
        last = max(missing)
        for number, (line, _) in enumerate(records(text)):
            if number in missing:
                found[number] = line
            if number == last:
                break
    return found


def quote(cell: str) -> str:
    """A CSV cell, quoted where it must be. The csv module of Python 3.11 leaves a carriage return bare."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell


def name_cell(name: str) -> str:
    """A CSV cell for a name. Spreadsheets run a cell that starts with =, +, -, @, tab or carriage return as a formula,
    so that such a name gets an apostrophe in front, and so does one that already has apostrophes there.
    """
    return quote(formula_safe(name))


def formula_safe(name: str) -> str:
    """A name that no spreadsheet takes for a formula; `cell_name` undoes it."""
    return "'" + name if _FORMULA.match(name) else name


def cell_name(cell: str) -> str:
    """The name in a CSV cell, as `name_cell` writes it."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def refuse_outer_space(classes: Iterable[str], path: Path) -> None:
    """Refuse class names that a CSV reader would change.

    Raises:
        LabelError: one has white space around it.
    """
    for name in classes:
        if name != name.strip():
            raise LabelError(
                f"{path}: class {name!r} has outer white space, which does not count in CSV; rename it, or write JSONL "
                f"or Parquet"
            )
