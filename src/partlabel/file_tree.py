"""What lies below a folder, by the names of tables: relative, with forward slashes, in a stable order."""

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class FileTree:
    """The files below a folder, hidden ones aside.

    Args:
        files: all that is no folder, sorted: names relative to the folder, with `/`.
        hidden: how many hidden files and folders were left out.
        links: how many linked folders there are.
        again: how many of these were met before, or hold the folder itself.
        closed: why folders could not be listed; the folder itself may be one of them.
    """

    files: list[str] = field(default_factory=list)
    hidden: int = 0
    links: int = 0
    again: int = 0
    closed: list[OSError] = field(default_factory=list)


def file_tree(root: Path, *, deep: bool = True, linked: bool = False) -> FileTree:
    """List a folder.

    Args:
        root: the folder; without one, nothing is found.
        deep: also the folders in it.
        linked: also linked folders, each once, after the real ones, unless they hold the folder itself.
    """
    tree = FileTree()
    top = os.path.realpath(root)
    waiting, entered = [""], set[str]()
    while waiting:
        start = waiting.pop(0)
        real = os.path.realpath(os.path.join(root, start))
        if real in entered or (start and f"{top}/".startswith(f"{real.rstrip('/')}/")):
            tree.again += 1
            continue
        found = _list(tree, root, start, deep, entered)
        tree.links += len(found)
        waiting += found if linked else []
    tree.files.sort()
    return tree


def _list(tree: FileTree, root: Path, start: str, deep: bool, entered: set[str]) -> list[str]:
    """Add what is below one folder, and give the linked folders there."""
    linked = []
    for path, folders, names in os.walk(os.path.join(root, start) if start else root, onerror=tree.closed.append):
        real = os.path.realpath(path)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        inside = os.path.normpath(os.path.relpath(path, root)).replace(os.sep, "/")
        before = "" if inside == "." else f"{inside}/"
        shown = sorted(name for name in folders if not name.startswith("."))
        files = [name for name in names if not name.startswith(".")]
        tree.hidden += len(folders) + len(names) - len(shown) - len(files)
        linked += [before + name for name in shown if os.path.islink(os.path.join(path, name))]
        tree.files += [before + name for name in files]
        folders[:] = shown if deep else []
    return linked
