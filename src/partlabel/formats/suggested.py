"""Suggestions beside labels: what a model thinks of cells that nobody has decided, as annotation tools exchange it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import LabelTable

Float64Array = NDArray[np.float64]


class Suggestion(NamedTuple):
    """A class that may be present in an image, with its probability."""

    image: str
    class_name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Suggested:
    """Suggestions as parallel arrays, in the order of the file. They are no labels: no cell becomes known by them.

    Args:
        images: the names that `image_index` counts in.
        classes: the names that `class_index` counts in.
        image_index: int64 `[S]`.
        class_index: int64 `[S]`.
        probability: float64 `[S]`, from 0 to 1; of the class being present.
    """

    images: tuple[str, ...]
    classes: tuple[str, ...]
    image_index: NDArray[np.int64]
    class_index: NDArray[np.int64]
    probability: Float64Array

    @classmethod
    def of(cls, suggestions: Iterable[Suggestion]) -> Self:
        """From single ones."""
        rows: dict[str, int] = {}
        columns: dict[str, int] = {}
        found = [
            (rows.setdefault(one.image, len(rows)), columns.setdefault(one.class_name, len(columns)), one.probability)
            for one in suggestions
        ]
        image, name, probability = zip(*found, strict=True) if found else ((), (), ())
        return cls(
            tuple(rows),
            tuple(columns),
            np.asarray(image, np.int64),
            np.asarray(name, np.int64),
            np.asarray(probability, np.float64),
        )

    def __len__(self) -> int:
        return self.probability.size

    def __iter__(self) -> Iterator[Suggestion]:
        for row, column, probability in zip(self.image_index, self.class_index, self.probability, strict=True):
            yield Suggestion(self.images[row], self.classes[column], float(probability))

    def by_image(self) -> dict[str, list[Suggestion]]:
        """The suggestions of each image that has any, the most probable first."""
        found: dict[str, list[Suggestion]] = {}
        for one in self:
            found.setdefault(one.image, []).append(one)
        return {image: sorted(some, key=lambda one: -one.probability) for image, some in found.items()}

    def open_in(self, table: LabelTable) -> Self:
        """Those of cells that a table has and that nobody has decided; of several of one cell, the most probable."""
        rows = np.array([table.image_positions.get(name, -1) for name in self.images], np.int64)[self.image_index]
        columns = np.array([table.class_positions.get(name, -1) for name in self.classes], np.int64)[self.class_index]
        there = np.flatnonzero((rows >= 0) & (columns >= 0))
        there = there[~table.decided_at(rows[there], columns[there])]
        keys = rows[there] * len(table.classes) + columns[there]
        order = np.lexsort((-self.probability[there], keys))
        first = order[np.unique(keys[order], return_index=True)[1]] if order.size else order
        kept = np.sort(there[first])
        return replace(
            self,
            image_index=self.image_index[kept],
            class_index=self.class_index[kept],
            probability=self.probability[kept],
        )

    def renamed(self, images: Iterable[str]) -> Self:
        """The same with other image names, in the order of `images`."""
        return replace(self, images=tuple(images))


NO_SUGGESTIONS = Suggested.of([])
