"""A folder that one process writes at a time: who has it is written in the folder itself.

The owner is a file `.owner-N`, made with O_EXCL, so that of several processes that ask at one moment one gets it, on
network file systems and on those without flock too. It names host, process and time. A process killed on this host
leaves its file behind; the next one takes the number above it and removes what is stale. Of a process on another host
nobody here can tell, unless it gives signs of life (`partlabel.grids.claims`).
"""

import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from partlabel.errors import RunError
from partlabel.files import storage_errors

_PREFIX = ".owner-"
_TRIES = 5
_BEING_WRITTEN = 10.0
"""Seconds for which a file without content is taken for one that is just being written."""


Gone = Callable[[Path], bool]
"""Asked about the file of an owner on another host: whether that process runs no more."""


class OwnedError(RunError):
    """A folder that another process is writing.

    Args:
        sentence: of the error.
        owner: which process, on which host, since when.
    """

    def __init__(self, sentence: str, owner: str = "another process") -> None:
        super().__init__(sentence)
        self.owner = owner


class Ownership:
    """What one process has of a folder.

    Args:
        path: the file that says so.
        token: what only this owner wrote into it.
    """

    def __init__(self, path: Path, token: str) -> None:
        self.path, self.token = path, token

    def holds(self) -> bool:
        """Whether it is still this process that has the folder, as far as the file system tells.

        Raises:
            OSError: the file cannot be read now.
        """
        try:
            return self.token in self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return False


def _believed(path: Path) -> bool:
    return False


@contextmanager
def owned(folder: Path, gone: Gone = _believed) -> Iterator[Ownership]:
    """Own a folder, which is made if it is missing, while the block runs.

    Args:
        folder: the folder.
        gone: whether an owner on another host runs no more; each is believed if left out.

    Raises:
        OwnedError: another process owns it; says which, on which host, since when.
        StorageError: the folder cannot be made or written.
    """
    mine = _take(folder, gone)
    try:
        yield mine
    finally:
        with storage_errors(mine.path):
            if mine.holds():  # else somebody took this process for dead
                mine.path.unlink(missing_ok=True)


def is_owned(folder: Path, gone: Gone = _believed) -> bool:
    """Whether a process has a folder."""
    return folder.is_dir() and any(_held(path, gone) for path in _files(folder))


def forget_other_hosts(folder: Path) -> None:
    """Take a folder from owners on other hosts, on the word of the caller that they run no more."""
    with storage_errors(folder):
        for path in _files(folder) if folder.is_dir() else []:
            owner = _owner(path)
            if owner is not None and owner["host"] != socket.gethostname():
                path.unlink(missing_ok=True)


def is_ownership(path: Path) -> bool:
    """Whether this file only says who owns its folder."""
    return path.name.startswith(_PREFIX)


def _take(folder: Path, gone: Gone) -> Ownership:
    """The file that makes this process the owner."""
    for _ in range(_TRIES):
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            before = _files(folder)
            _refuse_if_held(folder, before, gone)
            mine = folder / f"{_PREFIX}{max((_number(path) for path in before), default=0) + 1}"
            if token := _write_new(mine):
                others = [path for path in _files(folder) if path != mine]
                if not any(_held(path, gone) for path in others):
                    for path in others:
                        path.unlink(missing_ok=True)
                    return Ownership(mine, token)
                mine.unlink(missing_ok=True)  # somebody came at the same moment by another number
        time.sleep(random.uniform(0.05, 0.5))
    _refuse_if_held(folder, _files(folder), gone)
    raise OwnedError(f"several processes want {folder} at once; run again when the others have ended")


def _refuse_if_held(folder: Path, files: list[Path], gone: Gone) -> None:
    for path in files:
        if _held(path, gone):
            owner = _owner(path)
            who = f"process {owner['pid']} on {owner['host']} since {owner['since']}" if owner else "another process"
            raise OwnedError(
                f"{folder} is in use by {who}; wait until it ends or choose another folder (if it runs no more, delete "
                f"{path})",
                who,
            )


def _held(path: Path, gone: Gone) -> bool:
    """Whether the owner may still be running."""
    owner = _owner(path)
    if owner is None:
        try:
            return time.time() - path.stat().st_mtime < _BEING_WRITTEN
        except OSError:
            return False
    if owner["host"] != socket.gethostname():
        return not gone(path)
    return bool(_started(owner["pid"]) == owner["started"]) and not _is_copy(path, Path(owner["folder"]))


def _is_copy(path: Path, folder: Path) -> bool:
    """Whether the file was copied with the folder, which is still in its place, while the owner was writing there."""
    try:
        return folder.is_dir() and not (folder / path.name).samefile(path)
    except FileNotFoundError:
        return True


def _owner(path: Path) -> dict[str, Any] | None:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        text = {name: str(owner[name]) for name in ("host", "since", "folder")}
        return text | {"pid": int(owner["pid"]), "started": owner["started"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_new(path: Path) -> str:
    """The token of the file if it was made here; empty if somebody else was first."""
    pid, token = os.getpid(), uuid4().hex
    owner = {
        "host": socket.gethostname(),
        "pid": pid,
        "folder": os.path.realpath(path.parent),
        "since": datetime.now(UTC).astimezone().isoformat(" ", "seconds"),
        "started": _started(pid),
        "token": token,
    }
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(json.dumps(owner) + "\n")
    except FileExistsError:
        return ""
    return token


def _started(pid: int) -> str | None:
    """When a running process began, as far as the system tells, so that a number given to another process later is no
    owner; None if there is no such process.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if after_name[0] in "ZX" else after_name[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if is_ownership(path) and _number(path)]


def _number(path: Path) -> int:
    text = path.name.removeprefix(_PREFIX)
    return int(text) if text.isascii() and text.isdigit() else 0
