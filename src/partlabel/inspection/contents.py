"""One pass over the image files: can each be decoded, which bytes are they, what do they look like."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import ImageError
from partlabel.images.check import Problem, check_images
from partlabel.images.decode import decode
from partlabel.images.fingerprint import content_hash, perceptual_hash
from partlabel.images.paths import resolve
from partlabel.progress import Tick

# Names handed to the threads at a time: a million pending results would take a gigabyte.
_BATCH = 1024
_SIDE_FOR_LOOK = 64


class Contents(NamedTuple):
    """What N images hold.

    Args:
        digests: hash of the bytes of each file, 32 hexadecimal digits `[N]`; empty for an image that cannot be used.
        looks: perceptual hashes, uint64 `[N]`; 0 for a flat image and where none was wanted.
        problems: the images that cannot be used, and why, in order.
    """

    digests: NDArray[np.bytes_]
    looks: NDArray[np.uint64]
    problems: tuple[Problem, ...]


def read_contents(root: Path, names: Sequence[str], *, with_looks: bool, progress: Tick) -> Contents:
    """Decode every image once, to its last byte.

    Args:
        root: the image folder.
        names: names of images under it.
        with_looks: whether perceptual hashes are wanted.
        progress: called with (done, total) after each image.

    Raises:
        ImageError: the image folder does not exist.
    """
    digests, looks = np.zeros(len(names), "S32"), np.zeros(len(names), np.uint64)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _BATCH):
            found = pool.map(lambda name: _content(root, name, with_looks), names[start : start + _BATCH])
            for position, (digest, look) in enumerate(found, start):
                digests[position], looks[position] = digest, look
                progress(position + 1, len(names))
    unusable = [names[position] for position in np.flatnonzero(digests == b"").tolist()]
    return Contents(digests, looks, tuple(check_images(root, unusable)))


def _content(root: Path, name: str, with_look: bool) -> tuple[str, int]:
    try:
        path = resolve(root, name)
        image = decode(path, at_least=_SIDE_FOR_LOOK)
        return content_hash(path), perceptual_hash(image) if with_look else 0
    except ImageError:
        return "", 0  # check_images says why


def identical_files(digests: NDArray[np.bytes_]) -> list[list[int]]:
    """Groups of two or more positions with the same bytes, each in order, by their first position."""
    order = np.argsort(digests, kind="stable")
    order = order[digests[order] != b""]
    starts = (
        np.flatnonzero(np.concatenate([[True], digests[order][1:] != digests[order][:-1]])) if order.size else order
    )
    ends = np.append(starts[1:], order.size)
    repeated = ends - starts > 1
    return sorted(order[start:end].tolist() for start, end in zip(starts[repeated], ends[repeated], strict=True))
