"""How the images of a table, and of a second one that should share none with it, lie in the image folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from partlabel.images.check import Depth, Problem
from partlabel.images.kinds import image_files
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import image_root
from partlabel.inspection.contents import Contents, identical_files, read_contents
from partlabel.inspection.folder import Rename, renames, unlisted_files
from partlabel.inspection.near import nearest
from partlabel.progress import Tick


class IdenticalFiles(NamedTuple):
    """Images whose files are the same byte for byte, by the table that lists them."""

    in_table: tuple[str, ...]
    in_against: tuple[str, ...]


class NearImage(NamedTuple):
    """An image of the second table that looks like one of the first.

    Args:
        image: its name.
        closest: name of the most alike image of the first table.
        distance: bits (of 64) in which their perceptual hashes differ.
        alike: how many images of the first table are as near as was asked for.
    """

    image: str
    closest: str
    distance: int
    alike: int


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """The images of a table, and of `against` where one is given.

    Args:
        folder: the image folder.
        checked: how many images were looked for.
        problems: those that cannot be used, and why.
        renames: how missing names differ from files of the folder.
        files: how many image files the folder holds.
        first_file: the first of them, if any.
        left_out: how many other files and folders it holds, by what they are.
        unlisted: those that no table lists.
        identical: groups of files with the same bytes.
        near: images of `against` that look like one of the table, identical files and shared names aside.
        flat: usable images without any structure to compare by hash; None where nothing was compared.
        depth: what the images of 16 bits per channel make of them.
    """

    folder: str
    checked: int
    problems: tuple[Problem, ...] = field(repr=False)
    renames: tuple[Rename, ...] = field(repr=False)
    files: int
    first_file: str | None
    left_out: Mapping[str, int]
    unlisted: tuple[str, ...] = field(repr=False)
    identical: tuple[IdenticalFiles, ...] = field(repr=False)
    near: tuple[NearImage, ...] = field(repr=False)
    flat: int | None
    depth: Depth

    @property
    def lost(self) -> tuple[Problem, ...]:
        """The problems of names that no file in the folder has."""
        return tuple(problem for problem in self.problems if problem.kind in {"missing", "outside"})

    @property
    def none_found(self) -> bool:
        """Whether no name has a file in the folder."""
        return len(self.lost) == self.checked > 0

    @property
    def identical_within(self) -> tuple[IdenticalFiles, ...]:
        """Groups with two files of the same table."""
        return tuple(group for group in self.identical if max(map(len, group)) > 1)

    @property
    def identical_across(self) -> tuple[IdenticalFiles, ...]:
        """Groups with a file of either table."""
        return tuple(group for group in self.identical if all(group))


def inspect_images(
    root: Path | str,
    names: Sequence[str],
    against: Sequence[str] | None,
    *,
    max_distance: int,
    limits: Limits = DEFAULT_LIMITS,
    progress: Tick,
) -> ImageFiles:
    """Look at every image of one or two tables, once each.

    Args:
        root: the image folder.
        names: image names of the table.
        against: image names of a second table; None if there is none.
        max_distance: most differing bits of near-duplicates.
        limits: what an image may be.
        progress: called with (done, total) after each image.

    Raises:
        ImageError: the image folder does not exist.
    """
    folder = image_root(root)
    listed = set(names)
    others = [name for name in against or () if name not in listed]
    every = [*names, *others]
    contents = read_contents(folder, every, with_hashes=against is not None, limits=limits, progress=progress)
    files, left_out = image_files(folder)
    lost = [problem.image for problem in contents.problems if problem.kind in {"missing", "outside"}]
    return ImageFiles(
        folder=str(folder),
        checked=len(every),
        problems=contents.problems,
        renames=renames(folder, files, lost),
        files=len(files),
        first_file=files[0] if files else None,
        left_out=left_out,
        unlisted=unlisted_files(files, every),
        identical=_identical(contents, every, len(names), set(against or ())),
        near=_near(contents, every, len(names), max_distance),
        flat=None if against is None else int(((contents.hashes == 0) & (contents.digests != b"")).sum()),
        depth=contents.depth,
    )


def _identical(
    contents: Contents, names: Sequence[str], in_table: int, against: set[str]
) -> tuple[IdenticalFiles, ...]:
    return tuple(
        IdenticalFiles(
            tuple(names[position] for position in group if position < in_table),
            tuple(names[position] for position in group if names[position] in against),
        )
        for group in identical_files(contents.digests)
    )


def _near(contents: Contents, names: Sequence[str], in_table: int, max_distance: int) -> tuple[NearImage, ...]:
    """Of the images behind the first `in_table`, those that look like one of them."""
    copied = np.isin(contents.digests[in_table:], contents.digests[:in_table])
    hashes = np.where(copied, np.uint64(0), contents.hashes[in_table:])
    found = nearest(contents.hashes[:in_table], hashes, max_distance)
    return tuple(
        NearImage(names[in_table + near.second], names[near.first], near.distance, near.alike) for near in found
    )
