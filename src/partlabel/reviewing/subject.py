"""What is reviewed: images, classes, what is known of them, and which cells are asked."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import Int8Array, IntArray, LabelTable
from partlabel.relations import Relations

if TYPE_CHECKING:  # it brings scipy, which would make every start slower
    from partlabel.recovery.audit_file import AuditPlan

KINDS = ("suggested", "doubtful", "audit")
"""Why a listed cell is asked, by the column `rule` of its file; cells that nothing lists are "unlabelled"."""


@dataclass(frozen=True, eq=False)
class Listed:
    """Cells that a file lists, L of them, in ascending order. A cell is `image number * C + class number`.

    Args:
        cells: int64 `[L]`, each once.
        suggests: int8 `[L]`, the state that is suggested; 0 where none is.
        probability: float64 `[L]` of being present; NaN where the file has none.
        kind: int8 `[L]`, positions in `KINDS`.
        line: int64 `[L]`, places in the file.
    """

    cells: IntArray = field(repr=False)
    suggests: Int8Array = field(repr=False)
    probability: NDArray[np.float64] = field(repr=False)
    kind: Int8Array = field(repr=False)
    line: IntArray = field(repr=False)

    def find(self, cells: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Position of each cell, and whether it is listed at all."""
        if not self.cells.size:
            return np.zeros(cells.shape, np.int64), np.zeros(cells.shape, bool)
        position = np.minimum(np.searchsorted(self.cells, cells), self.cells.size - 1)
        return position, self.cells[position] == cells

    def of_image(self, image: int, classes: int) -> slice:
        """Positions of the cells of one image among `classes` classes."""
        start, end = np.searchsorted(self.cells, [image * classes, (image + 1) * classes])
        return slice(int(start), int(end))


def no_cells() -> Listed:
    """A list of none."""
    whole, small = np.empty(0, np.int64), np.empty(0, np.int8)
    return Listed(whole, small, np.empty(0), small, whole)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is reviewed.

    Args:
        title: for people.
        known: N images, C classes, and the states that are known of them.
        listed: the cells that are asked; None: every cell that is unknown in `known`, and none is listed.
        threshold: float64 `[C]`, the probability from which each class was suggested; 0.5 where nothing says it.
        audit: how the cells were drawn, where they are those of an audit.
        relations: what classes say about each other, by which `known` is complete and verdicts settle other cells.
        conflicts: what becomes of verdicts that contradict each other by the relations, when they are made labels.
    """

    title: str
    known: LabelTable
    listed: Listed | None
    threshold: NDArray[np.float64] = field(repr=False)
    audit: "AuditPlan | None" = field(default=None, repr=False)
    relations: Relations | None = field(default=None, repr=False)
    conflicts: Literal["fail", "unknown"] = "fail"

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the N images."""
        return self.known.images

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C classes."""
        return self.known.classes

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the names of images and classes, by which a journal knows what its verdicts are about."""
        digest = hashlib.sha256(b"partlabel review 1")
        for names in (self.images, self.classes):
            digest.update(len(names).to_bytes(8, "little"))
            for name in names:
                encoded = name.encode(errors="surrogatepass")
                digest.update(len(encoded).to_bytes(4, "little") + encoded)
        return digest.hexdigest()

    def cell(self, image: str, name: str) -> int | None:
        """The number of a cell by its names; None if the subject lacks one of them."""
        row, column = self.known.image_positions.get(image), self.known.class_positions.get(name)
        return None if row is None or column is None else row * len(self.classes) + column
