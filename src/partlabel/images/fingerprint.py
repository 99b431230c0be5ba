"""Telling images apart by content: exactly, for caches, and by look, for near-duplicates across a split."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from partlabel.errors import ImageError

# Rows: waves of 1 to 8 half periods over 32 squares (DCT-II). A wave of amplitude A gives a coefficient of 16 · 16 · A.
_COSINES = np.cos(np.pi / 64 * np.arange(1, 9)[:, None] * (2 * np.arange(32)[None] + 1))
_ONE_GREY_LEVEL = 256.0

# By device and inode: size and times of a file when it was hashed, and its hash.
_hashes: dict[tuple[int, int], tuple[tuple[int, int, int], str]] = {}
_CLOCK_TICK = 2_000_000_000  # the coarsest clock of a file system (FAT) in nanoseconds


def content_hash(path: Path) -> str:
    """BLAKE2b of the file's bytes, 32 hexadecimal digits: the same file under any name.

    A process reads a file once: as long as its inode, size and times are the same, so is the hash.

    Raises:
        ImageError: the file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            state = os.fstat(stream.fileno())
            place = (state.st_dev, state.st_ino)
            version = (state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            known = _hashes.get(place)
            if known is not None and known[0] == version:
                return known[1]
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise ImageError(
            f"image {str(path)!r} cannot be read: {error.strerror}; check its name and permissions"
        ) from error
    if time.time_ns() - max(version[1:]) > _CLOCK_TICK:  # a file of this very moment may change without a new time
        _hashes[place] = version, digest
    return digest


def hash_of(content: bytes) -> str:
    """`content_hash` of a file that has been read already."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """64-bit hash of the look of an image: its coarse waves, each above or below their median.

    The image is reduced to 32 × 32 grey squares; of their discrete cosine transform the coefficients 1 to 8 of either
    axis are kept; a bit is set where one exceeds the median of the 64 (pHash: Zauner, "Implementation and benchmarking
    of perceptual image hash functions", 2010). Resizing, recompression and changes of brightness move few bits;
    mirroring and cropping move many. An image that is flat within one grey level, whatever its colour, or that varies
    along one axis only, has no such waves and hashes to 0, which says nothing about its content. Any other hash has 32
    bits set, so distances are even.

    An image decoded with `at_least=64` serves as well as the full one.
    """
    squares = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR), float)
    waves = (_COSINES @ (squares - squares.mean()) @ _COSINES.T).ravel()
    if np.abs(waves).max() < _ONE_GREY_LEVEL:
        return 0
    return int.from_bytes(np.packbits(waves > np.median(waves)).tobytes(), "big")
