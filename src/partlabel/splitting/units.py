"""Units of a split: images that must stay together, because they are of one group, one day, or copies of each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from partlabel.labels import IntArray


@dataclass(frozen=True)
class Units:
    """Images by the unit that they belong to.

    Args:
        of_image: int64 `[N]`, the unit of each image, numbered in the order of their first images.
        sizes: int64 `[U]`, images in each unit.
    """

    of_image: IntArray
    sizes: IntArray

    def __len__(self) -> int:
        return self.sizes.size


def units_of(images: int, ties: Sequence[NDArray[Any]]) -> Units:
    """The units that several reasons to stay together make: two images are in one where a chain of ties connects them.

    Args:
        images: number of images.
        ties: arrays `[N]` of group numbers; images of one number are tied, -1 ties to nothing.
    """
    rows: list[IntArray] = []
    columns: list[IntArray] = []
    for groups in ties:
        order = np.argsort(groups, kind="stable")
        same = np.flatnonzero((groups[order][1:] == groups[order][:-1]) & (groups[order][1:] >= 0))
        rows.append(order[same])
        columns.append(order[same + 1])
    edges = np.concatenate([np.empty(0, np.int64), *rows]), np.concatenate([np.empty(0, np.int64), *columns])
    graph = coo_array((np.ones(edges[0].size, np.int8), edges), shape=(images, images))
    _, found = connected_components(graph, directed=False)
    _, first, labels = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(first.size, np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    of_image = rank[labels]
    return Units(of_image, np.bincount(of_image, minlength=first.size))
