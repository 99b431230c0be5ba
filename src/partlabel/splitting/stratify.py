"""Iterative stratification (Sechidis, Tsoumakas, Vlahavas, ECML PKDD 2011) over known cells.

The paper deals out images so that each part gets its share of the positives of every label, the rarest label first.
Here an image may be unknown in most classes: a class has two labels, known present and known absent, an unknown cell
has none, and whole units are dealt out instead of images. On complete labels and units of one image this is the paper's
algorithm but for the absent labels, which are the more frequent ones as a rule and come last.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partlabel.labels import IntArray, LabelTable, State
from partlabel.splitting.units import Units

FloatArray = NDArray[np.float64]


def stratify(table: LabelTable, units: Units, shares: Sequence[float], seed: int, *, by_class: bool = True) -> IntArray:
    """Deal units out to parts.

    Args:
        table: the labels; a class whose unlisted cells are absent counts by its known present cells alone.
        units: which images stay together.
        shares: of the images, one for each part; they sum to 1.
        seed: of the order in which equals are dealt out.
        by_class: whether the known cells of each class are shared out as well, or the images alone.

    Returns:
        int64 `[N]`, the part of each image.
    """
    generator = np.random.default_rng(seed)
    counts = _counts(table, units) if by_class else csr_array((len(units), 0), dtype=np.float64)
    dealt = _Dealing(counts, units.sizes, np.asarray(shares, np.float64), generator)
    dealt.by_label()
    dealt.the_rest()
    return dealt.part[units.of_image]


def _counts(table: LabelTable, units: Units) -> csr_array:
    """Known cells `[U, 2C]` of each unit: present, then absent."""
    cells = table.cells()
    known = cells.states != State.UNKNOWN
    column = cells.class_index[known] + len(table.classes) * (cells.states[known] == State.ABSENT)
    unit = units.of_image[cells.image_index[known]]
    shape = len(units), 2 * len(table.classes)
    return csr_array((np.ones(unit.size), (unit, column)), shape=shape)


class _Dealing:
    """Parts so far, and what each part still wants of every label and of images."""

    def __init__(self, counts: csr_array, sizes: IntArray, shares: FloatArray, generator: np.random.Generator) -> None:
        counts.sum_duplicates()
        self.counts, self.sizes = counts, sizes
        self.part = np.full(sizes.size, -1, np.int64)
        self.wanted = np.outer(shares, np.asarray(counts.sum(axis=0)).ravel())
        self.images = shares * sizes.sum()
        self.left = np.bincount(counts.indices, minlength=counts.shape[1]).astype(np.float64)
        self.by_column = counts.tocsc()
        self.order = generator.permutation(sizes.size)
        self.rank = np.argsort(self.order)

    def by_label(self) -> None:
        """The units that have a label, those of the rarest label first."""
        left = np.where(self.left > 0, self.left, np.inf)
        while np.isfinite(left).any():
            label = int(left.argmin())
            column = slice(self.by_column.indptr[label], self.by_column.indptr[label + 1])
            units, amounts = self.by_column.indices[column], self.by_column.data[column]
            new = self.part[units] < 0
            units, amounts = units[new], amounts[new]
            for unit in units[np.lexsort((self.rank[units], -amounts))].tolist():
                self._give(unit, self._neediest(label), left)
            left[label] = np.inf

    def the_rest(self) -> None:
        """The units without a label, the largest first."""
        units = np.flatnonzero(self.part < 0)
        for unit in units[np.lexsort((self.rank[units], -self.sizes[units]))].tolist():
            self._give(unit, int(self.images.argmax()), None)

    def _neediest(self, label: int) -> int:
        """The part that wants most of a label; among equals, most images."""
        wanted = self.wanted[:, label]
        return int(np.where(wanted >= wanted.max() - 1e-9, self.images, -np.inf).argmax())

    def _give(self, unit: int, part: int, left: FloatArray | None) -> None:
        self.part[unit] = part
        self.images[part] -= self.sizes[unit]
        row = slice(self.counts.indptr[unit], self.counts.indptr[unit + 1])
        labels = self.counts.indices[row]
        self.wanted[part, labels] -= self.counts.data[row]
        if left is not None:
            left[labels] -= 1
            left[labels[left[labels] <= 0]] = np.inf
