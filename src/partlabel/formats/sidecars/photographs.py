"""Which photographs a folder holds, and which sidecars belong to each."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.formats.image_tree import image_tree
from partlabel.formats.sidecars.xmp import NO_KEYWORDS, Keywords, embedded_keywords, sidecar_keywords
from partlabel.names import IMAGE_SUFFIXES
from partlabel.wording import amount

SIDECAR = ".xmp"
_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .jxl .kdc .mef .mos .mrw .nef .nrw .orf .pef .psd .raf "
    ".raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
PHOTOGRAPHS = IMAGE_SUFFIXES | frozenset(_RAW.split())
"""Endings of photographs that sidecars are named after: of those that can be opened, and of cameras' own."""
_VIRTUAL_COPY = re.compile(r"(.*)_\d\d(\.[^./]+)")


@dataclass
class Collection:
    """The photographs below a folder, with their keywords.

    Args:
        keywords: those of each photograph, by its name; sorted.
        notes: what else was found.
    """

    keywords: dict[str, Keywords] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def collection(root: Path) -> Collection:
    """The photographs below a folder.

    The keywords of sidecars count; those inside an image where it has no sidecar.

    Raises:
        LabelError: a folder or sidecar cannot be read.
    """
    tree = image_tree(root, PHOTOGRAPHS | {SIDECAR})
    pictures = [name for name in tree.files if not name.casefold().endswith(SIDECAR)]
    found = _Matching(root, pictures)
    for name in tree.files:
        if name.casefold().endswith(SIDECAR):
            found.add(name)
    shown = [name for name in pictures if os.path.splitext(name)[1].casefold() in IMAGE_SUFFIXES]
    inside = _Embedded(root)
    keywords = {name: inside.keywords(name, found.sidecars.get(name)) for name in shown}
    keywords |= {name: one for name, one in found.sidecars.items() if name not in keywords}
    return Collection(dict(sorted(keywords.items())), [*tree.notes(), *found.notes(), *inside.notes()])


class _Matching:
    """Sidecars by the photograph that they belong to."""

    def __init__(self, root: Path, pictures: Sequence[str]) -> None:
        self.root, self.pictures = root, set(pictures)
        self.sidecars: dict[str, Keywords] = {}
        self._stems: dict[str, list[str]] = {}
        for name in pictures:
            self._stems.setdefault(os.path.splitext(name)[0], []).append(name)
        self._copies: list[str] = []
        self._homeless: list[str] = []
        self._without_picture = 0

    def add(self, name: str) -> None:
        """Read a sidecar."""
        base = name[: -len(SIDECAR)]
        copied = _VIRTUAL_COPY.fullmatch(base)
        if copied and base not in self.pictures and "".join(copied.groups()) in self.pictures:
            self._copies.append(name)
            return
        keywords = _read(self.root / name)
        owners = self._owners(base, keywords.extension)
        if not owners:
            self._homeless.append(name)
        for owner in owners:
            self._without_picture += owner not in self.pictures and owner not in self.sidecars
            self.sidecars[owner] = self.sidecars.get(owner, NO_KEYWORDS).joined(keywords)

    def _owners(self, base: str, extension: str) -> list[str]:
        """The photographs that `base`.xmp belongs to: `a.jpg.xmp` is named after the file, `a.xmp` after its stem."""
        if base in self.pictures or os.path.splitext(base)[1].casefold() in PHOTOGRAPHS:
            return [base]
        named = self._stems.get(base, [])
        if not extension:
            return named
        fitting = [name for name in named if name.casefold().endswith(f".{extension.casefold()}")]
        return fitting or ([] if "/" in extension else [f"{base}.{extension}"])

    def notes(self) -> list[str]:
        """What was found, in words."""
        found = []
        if self._without_picture and self.pictures:
            count = amount(self._without_picture, "sidecar")
            found.append(f"{count} without a picture beside it: the image is named by the sidecar")
        if self._copies:
            found.append(
                f"left out: {amount(len(self._copies), 'sidecar')} of virtual copies, such as {self._copies[0]!r}"
            )
        if self._homeless:
            found.append(
                f"left out: {amount(len(self._homeless), 'sidecar')} that no picture is named like, such as "
                f"{self._homeless[0]!r}"
            )
        return found


class _Embedded:
    """Keywords inside image files, and how they compare with those of sidecars."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._more: list[str] = []
        self._damaged: list[str] = []

    def keywords(self, name: str, sidecar: Keywords | None) -> Keywords:
        """The keywords of an image; those of its sidecar where it has one."""
        try:
            inside = embedded_keywords(self.root / name)
        except (OSError, ValueError):
            self._damaged.append(name)
            inside = NO_KEYWORDS
        if sidecar is None:
            return inside
        if not {*inside.flat, *inside.paths} <= {*sidecar.flat, *sidecar.paths}:
            self._more.append(name)
        return sidecar

    def notes(self) -> list[str]:
        """What was found, in words."""
        found = []
        if self._more:
            found.append(
                f"the sidecars count, not what they lack of the keywords inside {amount(len(self._more), 'image')}, "
                f"such as {self._more[0]!r}"
            )
        if self._damaged:
            found.append(
                f"keywords inside {amount(len(self._damaged), 'damaged image')} were not read, such as "
                f"{self._damaged[0]!r}"
            )
        return found


def _read(path: Path) -> Keywords:
    try:
        return sidecar_keywords(path)
    except OSError as error:
        raise LabelError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise LabelError(
            f"{path} is no XMP sidecar ({error}); have the photo program write it again, or move it away"
        ) from error
