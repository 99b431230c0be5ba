"""What is known: the states of a table by class and by image."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import Counts, IntArray, LabelTable, State


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownStates:
    """Counts of a table's cells.

    Args:
        images: the N image names.
        classes: the C class names.
        by_class: present, absent and unknown cells of each class, int64 `[C]` each.
        by_image: the same of each image, int64 `[N]` each.
        declared_complete: classes whose unlisted cells are absent by declaration.
        unsure: unknown cells that somebody was asked about and could not decide.
    """

    images: tuple[str, ...] = field(repr=False)
    classes: tuple[str, ...]
    by_class: Counts
    by_image: Counts = field(repr=False)
    declared_complete: tuple[str, ...]
    unsure: int

    @classmethod
    def of(cls, table: LabelTable) -> "KnownStates":
        """Count the cells of a table."""
        return cls(
            images=table.images,
            classes=table.classes,
            by_class=table.counts_by_class(),
            by_image=table.counts_by_image(),
            declared_complete=_chosen(table.classes, table.background == State.ABSENT),
            unsure=table.unsure,
        )

    @property
    def totals(self) -> dict[str, int]:
        """Present, absent and unknown cells of the whole table."""
        return {state: int(count.sum()) for state, count in self.by_class._asdict().items()}

    @property
    def known_by_class(self) -> IntArray:
        """Known cells of each class, int64 `[C]`."""
        return self.by_class.present + self.by_class.absent

    @property
    def prevalence(self) -> NDArray[np.float64]:
        """Share of present among the known cells of each class, float64 `[C]`; NaN where no cell is known."""
        known = self.known_by_class
        share = np.full(known.size, np.nan)
        np.divide(self.by_class.present, known, out=share, where=known > 0)
        return share

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Classes without a known cell."""
        return _chosen(self.classes, self.known_by_class == 0)

    @property
    def only_present(self) -> tuple[str, ...]:
        """Classes with known present cells and no known absent one."""
        return _chosen(self.classes, (self.by_class.present > 0) & (self.by_class.absent == 0))

    @property
    def only_absent(self) -> tuple[str, ...]:
        """Classes with known absent cells and no known present one."""
        return _chosen(self.classes, (self.by_class.absent > 0) & (self.by_class.present == 0))

    @property
    def images_without_known_cell(self) -> tuple[str, ...]:
        """Images of which nothing is known."""
        return _chosen(self.images, self.by_image.present + self.by_image.absent == 0)


def _chosen(names: tuple[str, ...], which: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(names[position] for position in np.flatnonzero(which))
