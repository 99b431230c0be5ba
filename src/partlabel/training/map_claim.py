"""Who computes maps: one process at a time where the file system can tell, because two would do the same work twice.

Nothing breaks where two do. So a claim that cannot be had is waited for as long as its holder makes progress, and no
longer.
"""

import importlib.util
import json
import os
import platform
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 600.0
"""Seconds without progress of another process, after which its maps are computed here as well."""
_LOOK = 0.5
_TALK = 30.0

_in_this_process = threading.RLock()  # record locks keep out other processes only


@contextmanager
def claim(folder: Path, wanted: Callable[[], int], say: Callable[[str], None]) -> Iterator[None]:
    """Be the one that computes the maps of a folder, or wait until another process has.

    Args:
        folder: the folder, which exists.
        wanted: looks again, and returns how many maps are missing still.
        say: where to tell what is waited for.
    """
    with _in_this_process:
        stream = _opened(folder / "lock")
        try:
            if stream is not None:
                _wait(stream, folder, wanted, say)
            yield
        finally:
            if stream is not None:
                os.close(stream)  # releases the lock, which children of this process never had


def _wait(stream: int, folder: Path, wanted: Callable[[], int], say: Callable[[str], None]) -> None:
    missing, moved, talked = -1, time.monotonic(), float("-inf")
    while not _locked(stream, say):
        left, now = wanted(), time.monotonic()
        if not left:
            return
        if left != missing:
            missing, moved = left, now
        who = _holder(stream)
        if now - moved > PATIENCE or _dead(who):
            say(f"{_named(who)} holds {folder / 'lock'} but computes no maps; they are computed here")
            return
        if now - talked > _TALK:
            say(f"waiting for the maps that {_named(who)} computes in {folder}: {left} to come")
            talked = now
        time.sleep(_LOOK)


def _locked(stream: int, say: Callable[[str], None]) -> bool:
    """Whether the lock is ours now, or there are no locks here."""
    import fcntl  # not on Windows

    try:
        # A record lock, not flock: a child that outlives this process does not inherit it.
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        say(f"the cache's file system has no locks ({error.strerror}); another training may compute the same maps")
        return True
    me = {"host": platform.node(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        os.ftruncate(stream, 0)
        os.pwrite(stream, json.dumps(me).encode(), 0)
    except OSError:  # a full disk keeps nobody from holding the lock
        pass
    return True


def _opened(path: Path) -> int | None:
    """The lock file, open for writing; None where there is none to be had."""
    if importlib.util.find_spec("fcntl") is None:
        return None
    try:
        stream = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError:
        return None
    state = os.fstat(stream)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink != 1:  # another name of some other file
        os.close(stream)
        return None
    return stream


def _holder(stream: int) -> dict[str, object]:
    try:
        who = json.loads(os.pread(stream, 1000, 0))
    except (OSError, ValueError):
        return {}
    return who if isinstance(who, dict) else {}


def _named(who: dict[str, object]) -> str:
    if not {"host", "pid", "since"} <= set(who):
        return "another process"
    return ascii(f"process {who['pid']} on {who['host']} (since {who['since']})")[1:-1]


def _dead(who: dict[str, object]) -> bool:
    """Whether the holder ran on this machine and has ended."""
    pid = who.get("pid")
    if who.get("host") != platform.node() or not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
