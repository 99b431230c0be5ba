"""The rows of tag lists, from CSV and from JSON Lines."""

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from partlabel.errors import LabelError
from partlabel.formats.base import Source
from partlabel.formats.collect import ClassNames
from partlabel.formats.header import closest, listed, refuse_misspelt, renamings
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Tally
from partlabel.formats.text import TextFile, cell_name, even_records
from partlabel.labels import State

EVERY_IMAGE = "*"
DEFAULT_SEPARATOR = ";"
SEPARATORS = ";|,"
_LISTS = {"present": State.PRESENT, "absent": State.ABSENT, "unknown": State.UNKNOWN, "unsure": State.UNKNOWN}


class TagRow(NamedTuple):
    """An image and its tags, as (class, state); those that somebody could not decide are unknown and apart."""

    line: int
    image: str
    tags: list[tuple[str, State]]
    unsure: list[str]


class Declaration(NamedTuple):
    """Classes, and what unlisted cells of a class are."""

    line: int
    classes: list[str]
    unlisted: list[tuple[str, State]]


def csv_rows(source: Source, options: ReadOptions, tally: Tally, classes: ClassNames) -> Iterator[TagRow | Declaration]:
    """Rows of a CSV; `tally` counts them."""
    text, columns = source.text, source.columns(options)
    rows = even_records(text)
    next(rows)
    image_column = columns.required("image")
    roles = {role: column for role in _LISTS if (column := columns.named(role)) is not None}
    if not roles.keys() & {"present", "absent"}:
        columns.required("present")
    tally.ignored_columns = columns.others([image_column, *roles.values()])
    refuse_misspelt(text.path, tally.ignored_columns, _LISTS, options.ignore)
    splitter = _Splitter(text, options.separator, classes)
    for line, cells in rows:
        tally.rows_read += 1
        image = cell_name(cells[image_column])
        lists = {role: splitter.split(cells[column], line) for role, column in roles.items()}
        unsure = lists.pop("unsure", [])
        tags = [(name, _LISTS[role]) for role, names in lists.items() for name in names]
        if image not in {"", EVERY_IMAGE}:
            if tally.keeps({name: cells[column] for name, column in columns.where.items()}):
                yield TagRow(line, image, tags, unsure)
        elif unsure:
            raise LabelError(f"{text.path}, line {line}: a class is unsure of an image, and none is named")
        elif not tags:
            tally.skip(line, "image and lists are empty" if not image else "a row for every image without a class")
        else:
            yield _csv_declaration(text, line, image, tags)
    splitter.check()


def _csv_declaration(text: TextFile, line: int, image: str, tags: list[tuple[str, State]]) -> Declaration:
    wrong = next(
        (name for name, state in tags if state == State.PRESENT or (not image and state == State.ABSENT)), None
    )
    if wrong is not None:
        rule = (
            "a row for every image ('*') has only absent and unknown classes"
            if image
            else "a row without an image declares classes, all in its unknown cell"
        )
        raise LabelError(
            f"{text.path}, line {line}: {rule}; here class {wrong!r} stands elsewhere. Is the image name missing?"
        )
    return Declaration(line, [] if image else [name for name, _ in tags], tags if image else [])


class _Splitter:
    """Splits cells at the separator; refuses a file where it never occurs, but another usual one does and none was
    said.
    """

    def __init__(self, text: TextFile, separator: str | None, classes: ClassNames) -> None:
        self.path, self.separator, self.classes = text.path, separator or DEFAULT_SEPARATOR, classes
        self.sure = separator is not None
        self.doubt: tuple[int, str] | None = None

    def split(self, cell: str, line: int) -> list[str]:
        if cell[:1] in "[({" and cell not in self.classes.columns and (names := written_list(cell)) is not None:
            return names
        self.classes.check_cell(cell.strip(), lambda: f"{self.path}, line {line}")
        if not self.sure and cell:
            self.sure = self.separator in cell
            other = next((mark for mark in SEPARATORS if mark in cell), None)
            if other is not None and self.doubt is None:
                self.doubt = line, other
        return [cell_name(name) for part in cell.split(self.separator) if (name := part.strip())]

    def check(self) -> None:
        if not self.sure and self.doubt is not None:
            line, other = self.doubt
            raise LabelError(
                f"{self.path}: no list holds the separator {self.separator!r}, but line {line} holds {other!r}; say "
                f"which one stands between names, for example --separator '{other}'"
            )


def written_list(cell: str) -> list[str] | None:
    """The names in a list that a program wrote as text, in JSON or Python; None where it is no such list."""
    found: Any = None
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = parse(cell.strip())
            break
    if not isinstance(found, list | tuple | set) or not all(isinstance(name, str) and name.strip() for name in found):
        return None
    return [*found] if not isinstance(found, set) else sorted(found)


def json_rows(source: Source, options: ReadOptions, tally: Tally) -> Iterator[TagRow | Declaration]:
    """Rows of JSON Lines; `tally` counts them."""
    text = source.text
    keys: dict[str, None] = {}
    with text.path.open(encoding=text.codec) as stream:
        for line, raw in enumerate(stream, 1):
            if not raw.strip():
                continue
            tally.rows_read += 1
            place = f"{text.path}, line {line}"
            record = _by_role(_parse(raw, place), options.roles)
            keys.update(dict.fromkeys(record))
            record = {key: value for key, value in record.items() if key not in options.ignore}
            if "image" not in record and "classes" in record:
                absent = _names(record, "unlisted_absent", place)
                yield Declaration(line, _names(record, "classes", place), [(name, State.ABSENT) for name in absent])
            elif tally.keeps({key: _as_text(record.get(key, "")) for key in options.where}):
                lists = {role: _names(record, role, place) for role in _LISTS}
                unsure = lists.pop("unsure")
                tags = [(name, _LISTS[role]) for role, names in lists.items() for name in names]
                yield TagRow(line, _image(record, place), tags, unsure)
    if {"class", "state"} <= keys.keys() and not keys.keys() & {"present", "absent"}:
        raise LabelError(
            f"{text.path} holds one cell per line (class, state), which is read from CSV and Parquet only; write it as "
            'one of them, or as lists: {"image": ..., "present": [...], "absent": [...]}'
        )
    for wanted in (*options.where, *options.ignore):
        if wanted not in keys:
            raise LabelError(f"{text.path} has no key {wanted!r}; {closest(wanted, keys)}")
    if not keys.keys() & {"classes", *_LISTS} and (advice := renamings([*keys])):
        raise LabelError(f"{text.path} has no key present or absent (keys: {listed([*keys])}); {advice}")
    used = {"image", "classes", "unlisted_absent", *_LISTS} - {*options.ignore}
    tally.ignored_columns = tuple(key for key in keys if key not in used and key not in options.where)
    refuse_misspelt(text.path, tally.ignored_columns, used, options.ignore)


def _by_role(record: dict[str, Any], roles: Mapping[str, str]) -> dict[str, Any]:
    """The record with the role of a key in place of its name, where the user gave it one."""
    named = {name: role for role, name in roles.items()}
    return {named.get(key, key): value for key, value in record.items()} if named else record


def _parse(raw: str, place: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        if len(record) < len(pairs):
            raise LabelError(f"{place}: a key occurs twice in {[key for key, _ in pairs]}; merge the two")
        return record

    try:
        record = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        if isinstance(error, LabelError):
            raise
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise LabelError(f"{place} is no JSON object ({why}); write one object per line") from error
    if not isinstance(record, dict):
        raise LabelError(
            f'{place} is no JSON object; write for example {{"image": "a.jpg", "present": ["cat"], "absent": []}}'
        )
    return record


def _image(record: dict[str, Any], place: str) -> str:
    image = record.get("image")
    if not isinstance(image, str) or not image:
        raise LabelError(f'{place}: "image" is {_start(image)}; it must be a name as text')
    _check_text(image, place)
    return image


def _names(record: dict[str, Any], key: str, place: str) -> list[str]:
    names = record.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise LabelError(f'{place}: "{key}" is {_start(names)}; it must be a list of class names as text')
    for name in names:
        _check_text(name, place)
    return names


def _check_text(name: str, place: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise LabelError(f"{place}: the name {name!r} is no valid Unicode (half of a character); correct it") from error


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _start(value: Any) -> str:
    """The start of a JSON value, however large it is."""
    text = repr(value) if isinstance(value, str | int | float | None) else f"{json.dumps(value)}"
    return text if len(text) <= 80 else text[:80] + "..."
