"""The files of some endings below a folder, none of them outside it."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from partlabel.errors import LabelError
from partlabel.file_tree import file_tree
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
    tree = file_tree(root)
    if tree.closed:
        error = tree.closed[0]
        raise LabelError(f"{error.filename} cannot be listed: {error.strerror}") from error
    top = os.path.realpath(root)
    fitting = [name for name in tree.files if os.path.splitext(name)[1].casefold() in suffixes]
    files = tuple(name for name in fitting if not _leads_out(os.path.join(root, name), top))
    return ImageTree(files, tree.hidden, tree.links + len(fitting) - len(files))


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
