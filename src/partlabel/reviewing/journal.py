"""The journal: one line of JSON per verdict, appended and on disk before the page hears that it is kept.

The first line is a header that says what is reviewed; each start of a server writes one more of its kind, so that a
second server can say who has the journal. Every other line is a `Record`. Nothing is ever changed in place; taking a
verdict back is a record too. A process killed while it writes leaves a last line without its end: no answer was given
for it, and the next server moves it to `JOURNAL.torn`. Any other damage is an error.
"""

import fcntl
import json
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from partlabel.errors import LabelError, StorageError
from partlabel.files import storage_errors
from partlabel.reviewing.subject import Subject
from partlabel.wording import amount

_FORMAT = "partlabel review journal 1"
_HEADER_START = f'{{"format":"{_FORMAT}"'.encode()
SUFFIX = ".verdicts.jsonl"
"""Of a journal, after the name of the file that it is about."""
_NAMES = ("n", "image", "class", "verdict", "previous", "who", "client", "when", "kind", "request")
_FIELDS = itemgetter(*_NAMES)
_Verdict = Literal["none", "present", "absent", "unsure"]
_Line = TypedDict(
    "_Line",
    {
        "n": int,
        "image": str,
        "class": str,
        "verdict": _Verdict,
        "previous": _Verdict,
        "who": str,
        "client": str,
        "when": str,
        "kind": Literal["verdict", "undo"],
        "request": int,
    },
)
_LINE = TypeAdapter(_Line)  # checks 200,000 lines in half the time that json takes to read them


class Record(NamedTuple):
    """One verdict on one cell.

    Args:
        number: 1 for the first record, one more for each next.
        image: name of the image.
        class_name: name of the class.
        verdict: one of `VERDICTS`; "none" takes back what was there.
        previous: the verdict that it replaces.
        who: name of the person.
        client: the tab that sent it.
        when: UTC, ISO 8601.
        kind: "verdict"; "undo", which is not written any more, where a whole request was taken back.
        request: number of the first record of the request that it came with, or that was taken back.
    """

    number: int
    image: str
    class_name: str
    verdict: str
    previous: str
    who: str
    client: str
    when: str
    kind: str
    request: int

    def line(self) -> str:
        """The record as a line of the journal."""
        fields = dict(zip(_NAMES, self, strict=True))
        return json.dumps(fields, ensure_ascii=True, separators=(",", ":")) + "\n"


class Content(NamedTuple):
    """What a journal holds.

    Args:
        headers: the header, and one more for each later start of a server.
        records: in their order.
        whole: bytes up to the end of the last whole line.
        torn: the bytes after it.
    """

    headers: list[dict[str, Any]]
    records: list[Record]
    whole: int
    torn: bytes


def read_journal(path: Path) -> Content:
    """What a journal holds. It is not changed, and another process may be writing it.

    Raises:
        LabelError: it is no journal, or damaged; says in which line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LabelError(f"journal {path} cannot be read: {error.strerror}") from error
    whole = content.rfind(b"\n") + 1
    headers: list[dict[str, Any]] = []
    records: list[Record] = []
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], 1):
        if line.startswith(_HEADER_START) or number == 1:
            headers.append(_header(line, path, number))
        else:
            records.append(_record(line, len(records) + 1, path, number))
    if not headers and content and not _beginning(content):
        raise LabelError(f"{path} is no journal of verdicts; give another --journal")
    return Content(headers, records, whole, content[whole:])


def journal_beside(source: Path | str) -> Path:
    """Where verdicts on the cells of a file are kept, unless somebody says another place."""
    return Path(f"{source}{SUFFIX}")


def last_verdicts(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """The verdict that stands on each cell, by image and class, without those that were taken back."""
    found = {(record.image, record.class_name): record.verdict for record in records}
    return {cell: verdict for cell, verdict in found.items() if verdict != "none"}


def _beginning(content: bytes) -> bool:
    """Whether this may be a header that was cut short."""
    return content.startswith(_HEADER_START) or _HEADER_START.startswith(content)


def _damaged(path: Path, number: int, how: str) -> LabelError:
    return LabelError(
        f"journal {path}, line {number} {how}: the file was changed or damaged; bring back a copy of it, or correct "
        f"that line by hand"
    )


def _header(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        if entry["format"] == _FORMAT and isinstance(entry["hash"], str) and isinstance(entry["pid"], int):
            return dict(entry)
    except (ValueError, RecursionError, TypeError, KeyError):
        entry = None
    if number == 1:
        raise LabelError(f"{path} is no journal of verdicts: its first line is no {_FORMAT!r}; give another --journal")
    raise _damaged(path, number, "is no header")


def _record(line: bytes, expected: int, path: Path, number: int) -> Record:
    try:
        record = Record._make(_FIELDS(_LINE.validate_json(line, strict=True)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise _damaged(path, number, f"is no record of a verdict ({where}{': ' * bool(where)}{first['msg']})") from None
    if record.number != expected:
        raise _damaged(path, number, f"has number {record.number}, but {expected} should come next")
    if not 0 < record.request <= expected:
        raise _damaged(path, number, f"belongs to request {record.request}, which is not before it")
    return record


class Journal:
    """A journal that this process alone writes.

    Args:
        path: the file, which is made if it is missing.
        subject: what is reviewed.

    Attributes:
        notes: sentences for the user about what was found.

    Raises:
        LabelError: it is damaged, or its verdicts are on images or classes that the subject has not.
        StorageError: it cannot be written, or another process has it.
    """

    def __init__(self, path: Path, subject: Subject) -> None:
        self.path = path
        self.notes: list[str] = []
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._refuse_special()
            self._lock()
            content = read_journal(path)
            self._records = content.records
            self._compare(content, subject)
            self._size = content.whole
            if content.torn:
                self._set_aside(content.torn)
            self._write(_new_header(subject))
            self._keep_name()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it go."""
        os.close(self._file)

    def take_records(self) -> list[Record]:
        """What it held when it was opened; they are given once, so that they need no memory afterwards."""
        taken, self._records = self._records, []
        return taken

    def append(self, records: Sequence[Record]) -> None:
        """Write records, all in one go, and wait until they are on disk.

        Raises:
            StorageError: they could not be written; the journal is as it was.
        """
        self._write("".join(record.line() for record in records))

    def _refuse_special(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise StorageError(f"journal {self.path} is a pipe or a device; give a file with --journal")

    def _keep_name(self) -> None:
        """The name of a new file is on disk once its folder is, where the file system offers that."""
        with suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner: dict[str, Any] = {}
            with suppress(LabelError, IndexError):
                owner = read_journal(self.path).headers[-1]
            who = f"process {owner['pid']} on {owner.get('host')} since {owner.get('when')}" if owner else "another one"
            raise StorageError(
                f"journal {self.path} is being written by {who}; use the page of that server, whose help (?) gives "
                f"an address for another browser, end it, or give another --journal"
            ) from None
        except OSError as error:
            raise StorageError(
                f"journal {self.path} cannot be locked ({error.strerror}), so that two servers might write it; put it "
                f"on a local disk with --journal"
            ) from error

    def _compare(self, content: Content, subject: Subject) -> None:
        """Refuse verdicts on what the subject has not; where it only grew or shrank elsewhere, they still hold."""
        then = content.headers[-1] if content.headers else {}
        images, classes = subject.known.image_positions, subject.known.class_positions
        for record in content.records:
            if record.image not in images or record.class_name not in classes:
                raise LabelError(
                    f"journal {self.path} is of other images or classes ({then.get('images')} images and "
                    f"{then.get('classes')} classes of {then.get('title')!r}; here are {len(images)} and "
                    f"{len(classes)} of {subject.title!r}): its record {record.number} is about class "
                    f"{record.class_name!r} of {record.image!r}, which is not here; bring that back, or give another "
                    f"--journal"
                )
        if content.records and then["hash"] != subject.hash:
            self.notes.append(
                f"journal {self.path} was begun with other images or classes; its "
                f"{amount(len(content.records), 'record')} are all of images and classes that are still here"
            )

    def _set_aside(self, torn: bytes) -> None:
        aside = Path(f"{self.path}.torn")
        with storage_errors(aside), aside.open("ab") as file:
            file.write(torn + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with storage_errors(self.path):
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        self.notes.append(
            f"journal {self.path} ended within a line, as if its server had been killed while writing it; those "
            f"{amount(len(torn), 'byte')}, which no answer had confirmed, are now in {aside}"
        )

    def _write(self, text: str) -> None:
        content = text.encode("ascii")
        if os.fstat(self._file).st_size != self._size:
            raise StorageError(
                f"journal {self.path} was changed by another program, or could not be mended after the disk was full; "
                f"end the server and start it again"
            )
        with storage_errors(self.path):
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(self._file, view) :]
                os.fsync(self._file)
            except OSError:
                with suppress(OSError):  # what is half there would be a damaged line once more is written
                    os.ftruncate(self._file, self._size)
                raise
        self._size += len(content)


def _new_header(subject: Subject) -> str:
    header = {
        "format": _FORMAT,
        "hash": subject.hash,
        "title": subject.title,
        "images": len(subject.images),
        "classes": len(subject.classes),
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "when": now(),
    }
    return json.dumps(header, ensure_ascii=True, separators=(",", ":")) + "\n"


def now() -> str:
    """The time, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
