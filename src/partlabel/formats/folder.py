"""Folders of labels: nothing outside them is opened, and they are written whole or not at all."""

import os
import shutil
import stat
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


class Folder:
    """Files of a folder, none of which is read where links lead out of it.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)
        self._inside: dict[Path, bool] = {}

    def check(self, path: Path) -> None:
        """Refuse a file that is not inside once links are followed.

        Raises:
            LabelError: it is not.
        """
        inside = self._inside.get(path.parent)
        if inside is None:
            inside = self._inside[path.parent] = self._holds(path.parent)
        if not inside or (os.path.islink(path) and not self._holds(path)):
            raise LabelError(f"{path} leads out of the folder {self.root}; put the file itself there")

    def bytes(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            LabelError: it cannot be read, is far too large, or a link leads out of the folder.
        """
        self.check(path)
        try:
            info = os.stat(path)
            if not stat.S_ISREG(info.st_mode):
                raise LabelError(f"{path} is no file")
            if info.st_size > _SMALL:
                raise LabelError(f"{path} has {info.st_size:,} bytes, too many for such a file")
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise LabelError(f"{path} cannot be read: {error.strerror or error}") from error

    def text(self, path: Path) -> str:
        """The text of a file.

        Raises:
            LabelError: it is no UTF-8, or cannot be read.
        """
        try:
            return self.bytes(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise LabelError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """Number and text of each line that is not blank, without outer white space; lines end in LF or CRLF.

        Raises:
            LabelError: the file cannot be read as text.
        """
        for number, line in enumerate(self.text(path).split("\n"), 1):
            if line := line.strip():
                yield number, line

    def _holds(self, path: Path) -> bool:
        try:
            return os.path.commonpath([self._real, os.path.realpath(path, strict=True)]) == self._real
        except (OSError, ValueError):  # it is not there, or links go round in circles
            return False


def names_below(folder: Path, deep: bool = True) -> list[str]:
    """The files below a folder, relative to it, in order, but for hidden ones; links to folders are not
    followed. Empty without one.

    Args:
        folder: where to look.
        deep: also in the folders in it.
    """
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if deep and not name.startswith(".")]
        inside = Path(place).relative_to(folder).as_posix()
        before = "" if inside == "." else f"{inside}/"
        found += [before + name for name in files if not name.startswith(".")]
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
