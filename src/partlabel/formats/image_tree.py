"""The files below a folder of images under the names of tables: relative, with forward slashes, in a stable order."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from partlabel.errors import LabelError
from partlabel.wording import amount


class ImageTree(NamedTuple):
    """The files of some endings below a folder.

    Args:
        files: their names relative to the folder, with `/`, sorted.
        hidden: hidden files and folders that were left out.
        links: links that were not followed, because they lead to a folder or out of this one.
    """

    files: tuple[str, ...]
    hidden: int
    links: int

    def notes(self) -> list[str]:
        """What was left out, in words."""
        left_out = []
        if self.hidden:
            left_out.append(f"left out: {amount(self.hidden, 'hidden file or folder', 'hidden files and folders')}")
        if self.links:
            left_out.append(f"not followed: {amount(self.links, 'link')} to folders or out of this folder")
        return left_out


def image_tree(root: Path, suffixes: Collection[str]) -> ImageTree:
    """The files below a folder whose names end in one of these endings, which are given in lower case.

    Raises:
        LabelError: a folder cannot be listed.
    """
    files: list[str] = []
    hidden = links = 0
    top = os.path.realpath(root)
    for folder, below, names in os.walk(root, onerror=_refuse):
        hidden += sum(name.startswith(".") for name in (*below, *names))
        links += sum(os.path.islink(os.path.join(folder, name)) for name in below if not name.startswith("."))
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = os.path.relpath(folder, root).replace(os.sep, "/")
        for name in names:
            if name.startswith(".") or os.path.splitext(name)[1].casefold() not in suffixes:
                continue
            if _leads_out(os.path.join(folder, name), top):
                links += 1
            else:
                files.append(name if inside == "." else f"{inside}/{name}")
    return ImageTree(tuple(sorted(files)), hidden, links)


def some_entries(folder: Path, most: int = 200) -> list[os.DirEntry[str]]:
    """A few entries of a folder, hidden ones aside, sorted by name; none where it cannot be listed."""
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    found.append(entry)
                if len(found) == most:
                    break
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


def _leads_out(path: str, top: str) -> bool:
    return os.path.islink(path) and os.path.commonpath([os.path.realpath(path), top]) != top


def _refuse(error: OSError) -> None:
    raise LabelError(f"{error.filename} cannot be listed: {error.strerror}") from error
