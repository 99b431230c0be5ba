"""From the name of an image in a label file to its path under the image folder, and never out of it."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

from partlabel.errors import ImageError


class LinkedOutError(ImageError):
    """A link inside the image folder whose target lies outside."""


def image_root(root: Path | str) -> Path:
    """The image folder as a path.

    Raises:
        ImageError: there is no such folder.
    """
    folder = Path(root)
    if not os.path.isdir(folder):
        what = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
        raise ImageError(f"image folder {str(folder)!r} {what}; give the folder that the image names start from")
    return folder


def resolve(root: Path | str, name: str) -> Path:
    """Path of the image `name` under the image folder `root`; the file itself need not exist.

    Label files come from elsewhere, so a name may not lead out of the folder: neither by its spelling (absolute, or
    `..` past the top, even where it would come back), nor through a link inside the folder whose target lies outside.
    The folder itself may be a link or lie behind one. Backslashes are read as `/` only where no file has the literal
    name.

    Raises:
        LinkedOutError: it is a link, or lies behind one, that leads out of the folder.
        ImageError: the name leaves the folder or cannot be a file name, or the folder does not exist.
    """
    folder = image_root(root)
    path = folder / _relative(name)
    if "\\" in name and not os.path.lexists(path):
        path = folder / _relative(name.replace("\\", "/"))
    # os.path.realpath and not Path.resolve, which raises on a loop of links.
    target, top = PurePath(os.path.realpath(path)), PurePath(os.path.realpath(folder))
    if not target.is_relative_to(top):
        raise LinkedOutError(
            f"image {name!r} is a link to {str(target)!r}, outside the image folder {str(folder)!r}; "
            "copy the image into the folder"
        )
    return path


def two_spellings(names: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that say the same path, such as `a.jpg` and `./a.jpg`; None if there are none."""
    names = tuple(names)
    if not any("./" in name or "//" in name for name in names):
        return None
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(os.path.normpath(name), name)
        if first != name:
            return first, name
    return None


def _relative(name: str) -> str:
    """The name without `.` and `..`, if it stays below the top."""
    if "\0" in name:
        raise ImageError(f"image name {name!r} holds a NUL byte; correct the name in the label file")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ImageError(f"image name {name!r} cannot be a file name; correct the encoding of the label file") from None
    if PurePath(name).anchor:
        raise ImageError(f"image name {name!r} is absolute; names are relative to the image folder")
    plain = os.path.normpath(name)
    if plain == ".":
        raise ImageError(f"image name {name!r} names the image folder itself, not an image")
    if PurePath(plain).parts[0] == "..":
        raise ImageError(f"image name {name!r} leads out of the image folder; names may not climb above it with '..'")
    return plain
