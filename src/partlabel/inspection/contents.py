"""One pass over the image files: can each be decoded, which bytes are they, what do they look like."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import ImageError
from partlabel.images.check import Depth, Problem, check_images
from partlabel.images.decode import decode_with_depth
from partlabel.images.fingerprint import content_hash, perceptual_hash
from partlabel.images.limits import Limits
from partlabel.images.paths import resolve
from partlabel.progress import Tick

# Names handed to the threads at a time: a million pending results would take a gigabyte.
_BATCH = 1024
_SIDE_FOR_HASH = 64


class Contents(NamedTuple):
    """What N images hold.

    Args:
        digests: hash of the bytes of each file, 32 hexadecimal digits `[N]`; empty for an image that cannot be used.
        hashes: perceptual hashes, uint64 `[N]`; 0 for a flat image and where none was wanted.
        problems: the images that cannot be used, and why, in order.
        depth: what the images of 16 bits per channel make of them.
    """

    digests: NDArray[np.bytes_]
    hashes: NDArray[np.uint64]
    problems: tuple[Problem, ...]
    depth: Depth


def read_contents(root: Path, names: Sequence[str], *, with_hashes: bool, limits: Limits, progress: Tick) -> Contents:
    """Decode every image once, to its last byte.

    Args:
        root: the image folder.
        names: names of images under it.
        with_hashes: whether perceptual hashes are wanted.
        limits: what an image may be.
        progress: called with (done, total) after each image.

    Raises:
        ImageError: the image folder does not exist.
    """
    digests, hashes = np.zeros(len(names), "S32"), np.zeros(len(names), np.uint64)
    depth = Depth()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _BATCH):
            found = pool.map(lambda name: _content(root, name, with_hashes, limits), names[start : start + _BATCH])
            for position, (digest, waves, of_image) in enumerate(found, start):
                digests[position], hashes[position] = digest, waves
                depth = depth.and_of(of_image)
                progress(position + 1, len(names))
    unusable = [names[position] for position in np.flatnonzero(digests == b"").tolist()]
    return Contents(digests, hashes, tuple(check_images(root, unusable, limits=limits)), depth)


def _content(root: Path, name: str, with_hash: bool, limits: Limits) -> tuple[str, int, Depth]:
    try:
        path = resolve(root, name)
        decoded = decode_with_depth(path, limits=limits, at_least=_SIDE_FOR_HASH)
        return content_hash(path), perceptual_hash(decoded.image) if with_hash else 0, Depth.of(decoded)
    except ImageError:
        return "", 0, Depth()  # check_images says why


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
