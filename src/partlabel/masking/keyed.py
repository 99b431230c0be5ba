"""A keyed hash of (image name, class name): one 64-bit number a cell that is the same on any machine.

Each name is hashed once with BLAKE2b, and the two words are mixed with the SplitMix64 finaliser (Steele, Lea, Flood:
Fast splittable pseudorandom number generators, OOPSLA 2014). The number of a cell depends on the seed, the purpose and
its two names alone: not on the order of rows and columns, nor on the other images. A cell is chosen where its number
lies below an integer threshold, so choices are nested across ratios and no floating-point number is involved.
"""

import hashlib
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import UsageError

UInt64Array = NDArray[np.uint64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class CellHash:
    """Keyed hash of the cells of a table.

    Two purposes give independent numbers under one seed, so that, say, the cells held out for validation are not the
    very cells that a masking has left.

    Args:
        image_words: uint64 `[N]`, see `name_words`.
        class_words: uint64 `[C]`.
    """

    image_words: UInt64Array
    class_words: UInt64Array

    @classmethod
    def of(cls, images: Iterable[str], classes: Iterable[str], *, seed: int, purpose: str) -> "CellHash":
        """Hash all names; about one microsecond a name."""
        return cls(name_words(images, f"{purpose}/image", seed), name_words(classes, f"{purpose}/class", seed))

    def at(self, image_index: IntArray, class_index: IntArray) -> UInt64Array:
        """Uniform 64-bit numbers, uint64, of single cells; the two index arrays broadcast against each other."""
        second = self.class_words[class_index]
        return _finalise(_finalise(self.image_words[image_index] ^ second) + second)


def name_words(names: Iterable[str], kind: str, seed: int) -> UInt64Array:
    """One 64-bit word a name: BLAKE2b of `kind`, a zero byte and the name in UTF-8, keyed by the seed (little-endian).

    Raises:
        UsageError: the seed is not an integer in 0..2⁶⁴-1.
    """
    keyed = hashlib.blake2b(digest_size=8, key=check_seed(seed).to_bytes(8, "little"))
    keyed.update(kind.encode() + b"\0")
    digests = bytearray()
    for name in names:
        one = keyed.copy()
        one.update(name.encode())
        digests += one.digest()
    return np.frombuffer(bytes(digests), "<u8").astype(np.uint64)


def below(hashes: UInt64Array, ratio: float) -> BoolArray:
    """Whether each number lies below floor(ratio · 2⁶⁴), computed exactly; all do at ratio 1, none at 0."""
    threshold = int(Fraction(ratio) * 2**64)
    if threshold == 0:
        return np.zeros(hashes.shape, bool)
    return hashes <= np.uint64(threshold - 1)


def ranks_within(groups: IntArray, hashes: UInt64Array) -> IntArray:
    """Place of each element, from 0, among the hashes of its group in ascending order."""
    order = np.lexsort((hashes, groups))
    ordered = groups[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    sizes = np.diff(first, append=ordered.size)
    ranks = np.empty(groups.size, np.int64)
    ranks[order] = np.arange(groups.size) - np.repeat(first, sizes)
    return ranks


def check_seed(seed: SupportsIndex, bits: int = 64) -> int:
    """The seed as a Python integer.

    Raises:
        UsageError: it is not an integer, negative, or has more than `bits` bits.
    """
    try:
        value = operator.index(seed)
    except TypeError:
        raise UsageError(f"seed {seed!r} is not an integer") from None
    if not 0 <= value < 2**bits:
        raise UsageError(f"seed {value} is outside 0..2**{bits}-1")
    return value


def _finalise(words: UInt64Array) -> UInt64Array:
    """SplitMix64's output function; multiplications wrap around, which numpy arrays do silently."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
