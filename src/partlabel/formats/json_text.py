"""JSON of unknown origin: strict, and in sentences that name the file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import ijson

from partlabel.errors import LabelError


def read_json(path: Path) -> Any:
    """A whole JSON document that fits in memory.

    Raises:
        LabelError: it cannot be read, is no complete JSON, repeats a key of an object, or holds a NaN or infinity.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError as error:
        raise LabelError(f"{path} is nested too deeply to be a label file") from error
    except ValueError as error:
        raise LabelError(f"{path} is no complete JSON ({str(error)[:200]}); export it again") from error


def parse_line(text: str, place: str) -> dict[str, Any]:
    """One object of JSON Lines.

    Args:
        text: the line.
        place: file and line, for messages.

    Raises:
        LabelError: it is none, repeats a key, or holds a NaN or infinity.
    """
    try:
        record = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise LabelError(f"{place} is no JSON object ({why}); write one object per line") from error
    if not isinstance(record, dict):
        raise LabelError(f"{place} is no JSON object; write one object per line")
    return record


def entries(path: Path, prefix: str) -> Iterator[Any]:
    """The entries of one list of a JSON document, one after the other, so that the document is never held whole.

    Args:
        path: the file.
        prefix: `item` where the document is the list, `images.item` for the list under a key.

    Raises:
        LabelError: the file cannot be read or is no complete JSON.
    """
    try:
        with path.open("rb") as file:
            yield from ijson.items(file, prefix, use_float=True)
    except (ijson.JSONError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise LabelError(f"{path} is no complete JSON ({str(error)[:200]}); export it again") from error
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return record


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
