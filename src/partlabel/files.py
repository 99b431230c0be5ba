"""Writing files so that a reader never sees half of one."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partlabel.errors import StorageError


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, and is removed when it does not.

    The bytes are on disk (fsync of file and folder) before the name changes.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    target = Path(target)
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=f".part{target.suffix}")
        os.close(handle)
    temporary = Path(name)
    try:
        with storage_errors(target):
            yield temporary
            _sync(temporary)
            temporary.chmod(0o666 & ~_umask())
            os.replace(temporary, target)
            _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


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
    """Turn what the system says about a full disk or an impossible place into a `StorageError` that names the
    target.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageError(
                f"no space left on the disk while writing {target}; free some space and run again"
            ) from error
        if error.errno in {
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EEXIST,
            errno.ENOENT,
        }:
            raise StorageError(f"cannot write {target}: {error.strerror}") from error
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
