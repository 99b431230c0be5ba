"""JSON of unknown origin: strict, and in sentences that name the file."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from partlabel.errors import LabelError
from partlabel.progress import Tick, unheard

_CHUNK = 1 << 20  # characters
_CUT = 16  # characters: more than the longest word of JSON, and so more than the end of a chunk can spoil
_MEGABYTE = 1_000_000
_SPACE = re.compile(r"[ \t\n\r]*")


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

    There are none where the document has no such list. An entry that repeats a key has the last value of it.

    Args:
        path: the file.
        prefix: `item` where the document is the list, `images.item` for the list under a key.

    Raises:
        LabelError: the file cannot be read or is no complete JSON.
    """
    with _opened(path) as document:
        yield from _under(document, prefix.split(".")[:-1])
        document.finish()


def lists(
    path: Path, keys: Collection[str], whole: Collection[str] = (), tick: Tick = unheard
) -> Iterator[tuple[str, Any]]:
    """Several lists of a JSON object in one pass, each as its key and its entries, in the order of the file.

    The entries of one are to be taken before the next is asked for; what is left of them is passed over.

    Args:
        path: the file.
        keys: under which the lists are; those that the object does not have do not come.
        whole: keys of values that are small; each comes with its value.
        tick: told how many megabytes are read.

    Raises:
        LabelError: the file cannot be read, is no complete JSON and no object, or has one of the keys twice or with
            something else than a list.
    """
    seen: set[str] = set()
    with _opened(path, tick) as document:
        if document.peek() != "{":
            raise LabelError(f"{path} is JSON, but no object with the list {_some(keys)}")
        for key in document.members():
            if key not in keys and key not in whole:
                document.skip()
                continue
            if key in seen:
                raise LabelError(f"{path} has the key {key!r} twice; export it again")
            seen.add(key)
            if key in whole:
                yield key, document.value()
                continue
            if document.peek() != "[":
                raise LabelError(f"{path}: {key!r} is no list; export it again")
            found = document.items()
            yield key, found
            for _ in found:
                pass
        document.finish()


def _under(document: "_Document", keys: Sequence[str]) -> Iterator[Any]:
    if document.peek() != ("{" if keys else "["):
        document.skip()
    elif not keys:
        yield from document.items()
    else:
        for key in document.members():
            if key == keys[0]:
                yield from _under(document, keys[1:])
            else:
                document.skip()


@contextmanager
def _opened(path: Path, tick: Tick = unheard) -> Iterator["_Document"]:
    try:
        file = path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield _Document(path, file, tick)


class _Document:
    """A JSON document from front to back, of which only the value that is being read is held.

    Python's own decoder reads each value; where it fails at the end of what was read, more is read and it tries again.
    """

    def __init__(self, path: Path, file: TextIO, tick: Tick) -> None:
        self._path, self._file, self._tick = path, file, tick
        self._size = path.stat().st_size // _MEGABYTE
        self._decode = json.JSONDecoder(parse_constant=_no_number).raw_decode
        self._text, self._at, self._before, self._ended = "", 0, 0, False

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches always
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> Any:
        """The next value, whole."""
        while True:
            self.peek()
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._cut(error) or not self._more():
                    self._refuse(error.msg, error.pos)
                continue
            except RecursionError as error:
                raise LabelError(f"{self._path} is nested too deeply to be a label file") from error
            except ValueError as error:
                self._refuse(str(error)[:200], self._at)
            if end < len(self._text) - _CUT or not self._more():
                self._at = end
                return value

    def items(self) -> Iterator[Any]:
        """The entries of the list that is next."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._take(",", "]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The keys of the object that is next; each value is to be read before the next key is asked for."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                self._refuse("a key is expected", self._at)
            key = self.value()
            self._take(":")
            yield key
            if self._take(",", "}") == "}":
                return

    def skip(self) -> None:
        """Pass over the next value, entry by entry."""
        mark = self.peek()
        if mark == "[":
            for _ in self.items():
                pass
        elif mark == "{":
            for _ in self.members():
                self.value()
        else:
            self.value()

    def finish(self) -> None:
        """Refuse whatever follows the document."""
        if self.peek():
            self._refuse("something follows its end", self._at)

    def _take(self, *marks: str) -> str:
        mark = self.peek()
        if mark not in marks:
            self._refuse(f"{' or '.join(map(repr, marks))} is expected", self._at)
        self._at += 1
        return mark

    def _cut(self, error: json.JSONDecodeError) -> bool:
        """Whether the end of what was read may be the reason. Of a text without an end the error names the start."""
        return error.pos > len(self._text) - _CUT or error.msg.startswith("Unterminated string")

    def _more(self) -> bool:
        """Read on, twice as much where one value takes long; False at the end of the file."""
        if self._ended:
            return False
        try:
            read = self._file.read(max(_CHUNK, len(self._text) - self._at))
        except UnicodeDecodeError as error:
            raise LabelError(f"{self._path} is not UTF-8; save the file as UTF-8") from error
        except OSError as error:
            raise LabelError(f"{self._path} cannot be read: {error.strerror}") from error
        self._before += self._at
        self._tick(min(self._before // _MEGABYTE, self._size), self._size)
        self._text, self._at, self._ended = self._text[self._at :] + read, 0, not read
        return True

    def _refuse(self, why: str, at: int) -> NoReturn:
        place = f"at character {self._before + at:,}"
        raise LabelError(f"{self._path} is no complete JSON ({why}, {place}); export it again")


def _some(keys: Collection[str]) -> str:
    return " or ".join(map(repr, keys))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return record


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
