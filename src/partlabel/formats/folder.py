"""Folders of labels, of which nothing outside is opened."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from partlabel.errors import LabelError
from partlabel.names import IMAGE_SUFFIXES

_SMALL = 1 << 28  # bytes


def is_image(name: str) -> bool:
    """Whether a name ends as that of an image."""
    return PurePosixPath(name).suffix.casefold() in IMAGE_SUFFIXES


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


def has_any(folder: Path, ending: str) -> bool:
    """Whether one of the first hundred entries of a folder has this ending; a cheap look that never fails."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.casefold().endswith(ending) for entry, _ in zip(entries, range(100), strict=False))
    except OSError:
        return False
