"""Folders of labels: nothing outside them is opened, and they are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from partlabel.errors import LabelError
from partlabel.files import storage_errors

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif", ".jp2")
_SMALL = 1 << 28  # bytes


def is_image(name: str) -> bool:
    """Whether a name ends as that of an image."""
    return PurePosixPath(name).suffix.casefold() in IMAGE_ENDINGS


def text_of(path: Path, root: Path) -> str:
    """The text of a file inside a folder.

    Raises:
        LabelError: it is no UTF-8 text, cannot be read, or a link leads out of the folder.
    """
    return decoded(bytes_of(path, root), path)


def check_inside(path: Path, root: Path) -> None:
    """Refuse a file that is not inside a folder once links are followed.

    Raises:
        LabelError: it is not.
    """
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a loop of links
        inside = False
    if not inside:
        raise LabelError(f"{path} leads out of the folder {root}; put the file itself there")


def bytes_of(path: Path, root: Path) -> bytes:
    """The content of a file inside a folder.

    Raises:
        LabelError: it cannot be read, is far too large, or a link leads out of the folder.
    """
    check_inside(path, root)
    try:
        if path.is_file() and path.stat().st_size > _SMALL:
            raise LabelError(f"{path} has {path.stat().st_size:,} bytes, too many for such a file")
        return path.read_bytes()
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror or error}") from error


def decoded(content: bytes, path: Path) -> str:
    """Content as text.

    Raises:
        LabelError: it is no UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def lines_of(path: Path, root: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, without outer white space; lines end in LF or CRLF.

    Raises:
        LabelError: the file cannot be read as text.
    """
    for number, line in enumerate(text_of(path, root).split("\n"), 1):
        if line := line.strip():
            yield number, line


def names_below(folder: Path, deep: bool = True) -> list[str]:
    """The files below a folder, relative to it, in order; links to folders are not followed. Empty without one.

    Args:
        folder: where to look.
        deep: also in the folders in it.
    """
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        if not deep:
            folders.clear()
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def has_any(folder: Path, ending: str) -> bool:
    """Whether one of the first hundred entries of a folder has this ending; a cheap look that never fails."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.casefold().endswith(ending) for entry, _ in zip(entries, range(100), strict=False))
    except OSError:
        return False


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that gets its name when the block ends well, and is removed when it does not.

    Raises:
        LabelError: `target` is there and is not an empty folder.
        StorageError: the folder cannot be written or the disk is full.
    """
    with storage_errors(target):
        if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
            raise LabelError(f"{target} exists already; give the name of a new folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part"))
    try:
        with storage_errors(target):
            whole = temporary / "whole"
            whole.mkdir()  # with the permissions that any new folder has here
            yield whole
            if target.exists():
                target.rmdir()
            whole.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
