"""Names of images and classes as text: which of them look alike, and which text cannot be a name at all."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
        *(".avif", ".jp2", ".j2k", ".heic", ".heif", ".hif"),
    ]
)
"""Endings of the names of image files, in lower case."""
_MISSING = frozenset({"nan", "-nan", "none", "null", "n/a", "#n/a", "#na", "<na>", "nat", "undefined"})
_QUOTED = re.compile(r"[\[{(]+\s*[bu]?['\"]")  # the start of a list of quoted texts, of a dictionary, of a tuple
_CALL = re.compile(r"(set|frozenset|array|Index|tensor|list|dict|OrderedDict)\(")


def alike_key(name: str) -> str:
    """What names that look alike share: NFKC, case folded, no format characters, single spaces between words."""
    if not name.isascii():
        name = "".join(mark for mark in unicodedata.normalize("NFKC", name) if unicodedata.category(mark) != "Cf")
        name = unicodedata.normalize("NFKC", name.casefold())
    return " ".join(name.split()).casefold()


def words_key(name: str) -> str:
    """What the spellings of one class name share: as `alike_key`, and without spaces, underscores and hyphens between
    words, so that `diningtable`, `Dining Table` and `dining_table` are one.
    """
    return alike_key(re.sub(r"[\s_-]+", "", name)) or alike_key(name)


def same_file_key(name: str) -> str:
    """What the spellings of one image name share: NFC, and a path without `./`, `//` and backslashes."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return posixpath.normpath(name.replace("\\", "/")) if any(mark in name for mark in ("./", "//", "\\")) else name


def image_suffix(name: str) -> str:
    """The ending that makes a file an image, or nothing: `IMG.001` has none."""
    ending = os.path.splitext(name)[1]
    return ending if ending.casefold() in IMAGE_SUFFIXES else ""


def names_alike(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Groups of different names with one `alike_key`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(alike_key(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def alike_across(
    first: Iterable[str], second: Iterable[str], key: Callable[[str], str] = alike_key
) -> list[tuple[str, str]]:
    """Pairs of different names with one key, of which each list holds one only, in the order of the second list."""
    mine, theirs = dict.fromkeys(first), dict.fromkeys(second)
    keys = {key(name): name for name in mine if name not in theirs}
    if not keys:
        return []
    return [(keys[key(name)], name) for name in theirs if name not in mine and key(name) in keys]


def told_apart(one: str, other: str) -> tuple[str, str]:
    """Two different names in quotes; with escapes where they would be printed alike."""
    alike = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    return (ascii(one), ascii(other)) if alike else (repr(one), repr(other))


def not_a_name(text: str) -> Literal["missing", "list"] | None:
    """What a program wrote for a value that it could not write: a missing value, a list or table as text; else None."""
    text = text.strip()
    if text.casefold() in _MISSING:
        return "missing"
    if text[:1] not in {"[", "{", "("}:
        return "list" if text.endswith(")") and _CALL.match(text) else None
    inside = text[1:-1].strip()
    closed = text[-1] in "]})" and len(text) > 1
    entries = closed and text[0] != "(" and ("," in inside or _is_number(inside))
    return "list" if _QUOTED.match(text) or (closed and not inside) or entries else None


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text[:40]))
