"""The most alike images of another list, without comparing every pair."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from partlabel.labels import IntArray

Hashes = NDArray[np.uint64]

_CANDIDATES_AT_A_TIME = 1 << 20


class Nearest(NamedTuple):
    """An image of the second list and the most alike one of the first.

    Args:
        second: position in the second list.
        first: position in the first list; the earliest of those that are equally alike.
        distance: bits (of 64) in which their hashes differ.
        alike: how many images of the first list are within the distance asked for.
    """

    second: int
    first: int
    distance: int
    alike: int


def nearest(first: ArrayLike, second: ArrayLike, max_distance: int) -> list[Nearest]:
    """For each perceptual hash of the second list that has any within `max_distance` in the first, the nearest.

    The answer holds at most one entry per image, however many pairs there are: frames of one film pair up by the
    million. Hash 0 (a flat image) is never paired, because
    otherwise each blank image would match all the others; equal files among them are found by their bytes.

    Args:
        first: uint64 `[A]`.
        second: uint64 `[B]`.
        max_distance: most differing bits, 0 to 63.

    Returns:
        By position in the second list.
    """
    ones, others = np.asarray(first, np.uint64).ravel(), np.asarray(second, np.uint64).ravel()
    used, asking = np.flatnonzero(ones), np.flatnonzero(others)
    values, earliest, copies = np.unique(ones[used], return_index=True, return_counts=True)
    asked, which = np.unique(others[asking], return_inverse=True)
    nothing = np.iinfo(np.int64).max
    best, alike = np.full(asked.size, nothing), np.zeros(asked.size, np.int64)
    for row, column, distance in _pairs(values, asked, max_distance):
        np.minimum.at(best, column, distance.astype(np.int64) * ones.size + used[earliest[row]])
        np.add.at(alike, column, copies[row])
    found = np.flatnonzero(best[which] < nothing)
    distances, positions = np.divmod(best[which[found]], max(ones.size, 1))
    columns = (asking[found], positions, distances, alike[which[found]])
    return [Nearest(*entry) for entry in zip(*(column.tolist() for column in columns), strict=True)]


def near_groups(hashes: ArrayLike, max_distance: int) -> IntArray:
    """Groups of images that look alike: two are in one where a chain of near pairs connects them.

    Args:
        hashes: uint64 `[N]`; 0 (a flat image, or none) is near to nothing.
        max_distance: most differing bits, 0 to 63.

    Returns:
        int64 `[N]`, a number for each group; -1 for an image that is near to no other.
    """
    every = np.asarray(hashes, np.uint64).ravel()
    values, which = np.unique(every, return_inverse=True)
    group = np.arange(values.size)
    used = np.flatnonzero(values)
    for row, column, _ in _pairs(values[used], values[used], max_distance):
        one, other = group[used[row]], group[used[column]]
        graph = coo_array((np.ones(one.size, np.int8), (one, other)), shape=(values.size, values.size))
        group = connected_components(graph, directed=False)[1][group]
    of_image = group[which]
    alone = (np.bincount(of_image, minlength=values.size)[of_image] == 1) | (every == 0)
    return np.where(alone, -1, of_image)


def _pairs(first: Hashes, second: Hashes, max_distance: int) -> Iterator[tuple[IntArray, IntArray, NDArray[np.uint8]]]:
    """Positions in both lists and distance of every near pair, each once.

    The 64 bits are dealt to `max_distance` + 1 bands: hashes that differ in fewer bits than there are bands agree on
    some band, so that only hashes equal on a band need comparing. Neighbouring bits go to different bands, because
    neighbouring waves are correlated and would make crowded bands.
    """
    bands = max_distance + 1
    masks = [np.uint64(sum(1 << bit for bit in range(band, 64, bands))) for band in range(bands)]
    for band, mask in enumerate(masks):
        order = np.argsort(first & mask)
        keys = (first & mask)[order]
        starts = np.searchsorted(keys, second & mask)
        lengths = np.searchsorted(keys, second & mask, "right") - starts
        for chunk in _chunks(lengths):
            column = np.repeat(chunk, lengths[chunk])
            offset = np.arange(column.size) - np.repeat(np.cumsum(lengths[chunk]) - lengths[chunk], lengths[chunk])
            row = order[starts[column] + offset]
            differing = first[row] ^ second[column]
            distance = np.bitwise_count(differing)
            near = np.flatnonzero(distance <= max_distance)
            seen_before = np.zeros(near.size, bool)
            for earlier in masks[:band]:
                seen_before |= (differing[near] & earlier) == 0
            near = near[~seen_before]
            yield row[near], column[near], distance[near]


def _chunks(lengths: IntArray) -> Iterator[IntArray]:
    """Positions in order, cut where their lengths add up to what is compared at a time."""
    ends = np.cumsum(lengths)
    start = 0
    while start < lengths.size:
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CANDIDATES_AT_A_TIME, "right")))
        yield np.arange(start, stop)
        start = stop
