"""Writing files so that a reader never sees half of one."""

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from partlabel.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_OFFERED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EPERM, errno.EACCES}


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, and is removed when it does not.

    The bytes are on disk (fsync of file and folder) before the name changes, where the file system offers that. A file
    that is replaced keeps its permissions. A device or pipe is written to, never replaced.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    target = Path(target)
    with storage_errors(target):
        mode = _mode(target)
        special = mode is not None and not stat.S_ISREG(mode)
        folder = Path(tempfile.gettempdir()) if special else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{target.name[:40]}.", suffix=f".part{target.suffix[:10]}")
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(target):
            yield temporary
            if special:
                _copy_into(temporary, target)
                return
            _sync(temporary)
            with _where_offered():
                temporary.chmod(0o666 & ~_umask() if mode is None else stat.S_IMODE(mode) & 0o777)
            os.replace(temporary, target)
            with _where_offered():  # the file is there and whole: only its name might be lost with the power
                _sync(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files below a folder that killed writers left; nobody may be writing there."""
    for path in folder.rglob(".*.part*"):
        if path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(target: Path | str, content: bytes | memoryview) -> None:
    """Write bytes atomically: for libraries that hide a full disk in errors of their own when they write files
    themselves.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_json(target: Path | str, value: Any) -> None:
    """Write indented JSON atomically; NaN is refused, because JSON has none.

    Raises:
        ValueError: the value holds a NaN or infinity.
    """
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn what the system reports of a full disk or an impossible place into a `StorageError` that names it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if error.errno in _FULL:
            raise StorageError(
                f"no space left on the disk while writing {target}; free some space and run again"
            ) from error
        if error.errno == errno.ENXIO:
            raise StorageError(f"cannot write {target}: nobody reads from this pipe") from error
        raise StorageError(f"cannot write {target}: {error.strerror or error}") from error


def _mode(target: Path) -> int | None:
    """Type and permissions of what stands under a name, behind links; None if nothing does."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    return mode


def _copy_into(temporary: Path, special: Path) -> None:
    descriptor = os.open(special, os.O_WRONLY | os.O_NONBLOCK)  # a pipe without a reader must not hang
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as stream, temporary.open("rb") as content:
        shutil.copyfileobj(content, stream)


@contextmanager
def _where_offered() -> Iterator[None]:
    """Durability and permissions are wishes once the content is in place: shares and mounts may not offer them."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
