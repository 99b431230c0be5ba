"""A folder that one process writes at a time: who has it is written in the folder itself.

The owner is a file `.owner-N`, made with O_EXCL, so that of several processes that ask at one moment one gets it, on
network file systems and on those without flock too. It names host, process and time. A process killed on this host
leaves its file behind; the next one takes the number above it and removes what is stale.
"""

import json
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from partlabel.errors import RunError
from partlabel.files import storage_errors

_PREFIX = ".owner-"
_TRIES = 5
_BEING_WRITTEN = 10.0
"""Seconds for which a file without content is taken for one that is just being written."""


class OwnedError(RunError):
    """A folder that another process is writing."""


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder, which is made if it is missing, while the block runs.

    Raises:
        OwnedError: another process owns it; says which, on which host, since when.
        StorageError: the folder cannot be made or written.
    """
    mine = _take(folder)
    try:
        yield
    finally:
        with storage_errors(mine):
            mine.unlink(missing_ok=True)


def is_ownership(path: Path) -> bool:
    """Whether this file only says who owns its folder."""
    return path.name.startswith(_PREFIX)


def _take(folder: Path) -> Path:
    """The file that makes this process the owner."""
    for _ in range(_TRIES):
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            before = _files(folder)
            _refuse_if_held(folder, before)
            mine = folder / f"{_PREFIX}{max((_number(path) for path in before), default=0) + 1}"
            if _write_new(mine):
                others = [path for path in _files(folder) if path != mine]
                if not any(_held(path) for path in others):
                    for path in others:
                        path.unlink(missing_ok=True)
                    return mine
                mine.unlink(missing_ok=True)  # somebody came at the same moment by another number
        time.sleep(random.uniform(0.05, 0.5))
    _refuse_if_held(folder, _files(folder))
    raise OwnedError(f"several processes want {folder} at once; run again when the others have ended")


def _refuse_if_held(folder: Path, files: list[Path]) -> None:
    for path in files:
        if _held(path):
            owner = _owner(path)
            who = f"process {owner['pid']} on {owner['host']} since {owner['since']}" if owner else "another process"
            raise OwnedError(
                f"{folder} is in use by {who}; wait until it ends or choose another folder (if it runs no more, delete "
                f"{path})"
            )


def _held(path: Path) -> bool:
    """Whether the owner may still be running; of a process on another host nobody can tell."""
    owner = _owner(path)
    if owner is None:
        try:
            return time.time() - path.stat().st_mtime < _BEING_WRITTEN
        except OSError:
            return False
    if owner["host"] != socket.gethostname():
        return True
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


def _write_new(path: Path) -> bool:
    """Whether the file was made here: False if somebody else was first."""
    pid = os.getpid()
    owner = {
        "host": socket.gethostname(),
        "pid": pid,
        "folder": os.path.realpath(path.parent),
        "since": datetime.now(UTC).astimezone().isoformat(" ", "seconds"),
        "started": _started(pid),
    }
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(json.dumps(owner) + "\n")
    except FileExistsError:
        return False
    return True


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
