"""What an image folder holds: images that no table lists, and where images are that a table names wrongly."""

import posixpath
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from partlabel.names import image_suffix


class Rename(NamedTuple):
    """A way in which names that were not found differ from files that were.

    Args:
        change: what differs, and what to do where that is plain.
        explains: how many names it explains.
        image: the first of them.
        file: the file that it probably means, relative to the folder.
    """

    change: str
    explains: int
    image: str
    file: str


def unlisted_files(files: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The files that none of the names means."""
    listed = {form for name in names for form in (posixpath.normpath(name), _plain(name))}
    return tuple(file for file in files if file not in listed)


def renames(root: Path, files: Sequence[str], names: Sequence[str]) -> tuple[Rename, ...]:
    """How names that are not in the folder would be: by a unique file of the same path, or only of the same stem.

    Case, Unicode form, ending and folders may differ; the closest likeness that any file has decides, and several files
    that are equally alike suggest nothing. The most frequent difference comes first.
    """
    counted: dict[str, list[int]] = {}
    meant = meant_files(files, names)
    for position, name in enumerate(names):
        if name in meant:
            counted.setdefault(_change(root, name, meant[name]), []).append(position)
    found = [Rename(change, len(which), names[which[0]], meant[names[which[0]]]) for change, which in counted.items()]
    return tuple(sorted(found, key=lambda rename: -rename.explains))


def meant_files(files: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """The file that each name means, of those names for which only one can be meant.

    Case, Unicode form, ending and folders may differ; the closest likeness that any file has decides.
    """
    left, meant = [(name, _folded(name)) for name in names], {}
    folded_files = [(file, _folded(file)) for file in files]
    for likeness in _LIKENESSES:
        wanted = {likeness(folded) for _, folded in left}
        alike: dict[str, str | None] = {}
        for file, folded in folded_files:
            key = likeness(folded)
            if key in wanted:
                alike[key] = None if key in alike else file
        for name, folded in left:
            only = alike.get(likeness(folded))
            if only is not None and only != _plain(name):  # a link to nowhere has the very name
                meant[name] = only
        left = [(name, folded) for name, folded in left if likeness(folded) not in alike]
    return meant


def _folded(path: str) -> str:
    return normalize("NFC", _plain(path)).casefold()


def _same(path: str) -> str:
    return path


def _stem(path: str) -> str:
    return _without_suffix(posixpath.basename(path))


def _change(root: Path, name: str, file: str) -> str:
    """What to change in a name so that it is the file."""
    plain = _plain(name)
    (name_folders, name_base), (file_folders, file_base) = _split(plain), _split(file)
    while name_folders and file_folders and _folded(name_folders[-1]) == _folded(file_folders[-1]):
        name_folders, file_folders = name_folders[:-1], file_folders[:-1]
    changes = []
    if name_folders:
        prefix = "/".join(name_folders).replace("//", "/") + "/"
        parents = root.absolute().parts[1:]
        too_deep = tuple(name_folders) == parents[-len(name_folders) :]
        advice = (
            f" (give {str(root.absolute().parents[len(name_folders) - 1])!r} as the image folder)" if too_deep else ""
        )
        changes.append(f"the names begin with {prefix!r}, which the folder does not hold{advice}")
    if file_folders:
        inner = "/".join(file_folders)
        advice = "" if name_folders else f" (give {str(root / inner)!r} as the image folder)"
        changes.append(f"the files lie in the sub-folder {inner!r}{advice}")
    mine, theirs = image_suffix(name_base), image_suffix(file_base)
    if mine.casefold() != theirs.casefold():
        changes.append(
            f"the names end in {mine!r}, the files in {theirs!r}" if mine else f"the names lack the ending {theirs!r}"
        )
    if not changes or _without_suffix(name_base) != _without_suffix(file_base):
        changes.append("upper and lower case, or the Unicode form of letters, differ")
    return ", and ".join(changes)


def _split(name: str) -> tuple[list[str], str]:
    *folders, base = name.split("/")
    return (["/", *folders[1:]] if name.startswith("/") else folders), base


def _plain(name: str) -> str:
    """The name with `/` between folders, and without `.` and doubled ones."""
    return posixpath.normpath(name.replace("\\", "/"))


def _without_suffix(name: str) -> str:
    return name[: len(name) - len(image_suffix(name))]


# From strict to loose.
_LIKENESSES: tuple[Callable[[str], str], ...] = (_same, _without_suffix, posixpath.basename, _stem)
