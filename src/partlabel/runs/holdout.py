"""Held-out known cells: what training never sees, so that models, thresholds and probabilities can be judged."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import Cells, LabelTable, Source, State
from partlabel.masking.keyed import CellHash, ranks_within

_ROWS = 65536
_CONTRAST_IMAGES = 2000


class Split(NamedTuple):
    """A table without its held-out cells (they are unknown there), and those cells."""

    training: LabelTable
    held_out: Cells


def hold_out(table: LabelTable, fraction: float, seed: int) -> Split:
    """Hold out a share of the known cells, for each class and sign apart, chosen by a keyed hash of the names.

    Of n cells of one class and sign, fraction·n are held out, rounded up or down at random in proportion, and never the
    only one. Cells, not images: every image still trains. Recovered cells are never held out: a model chose them for
    its own high scores, so that by them it would look better than it is.
    """
    cells = _known_cells(table)
    if fraction == 0 or not cells.states.size:
        return Split(table, _some(cells, np.zeros(cells.states.size, bool)))
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="held-out cells")
    words = hashes.at(cells.image_index, cells.class_index)
    width = 2 * len(table.classes)
    recovered = cells.sources == Source.RECOVERED
    groups = cells.class_index * 2 + (cells.states > 0) + width * recovered
    sizes = np.bincount(groups, minlength=2 * width)
    sizes[width:] = 0
    rounding = (hashes.class_words >> np.uint64(11)).astype(np.float64) / 2**53
    quota = np.floor(fraction * sizes + np.tile(np.repeat(rounding, 2), 2)).astype(np.int64)
    quota = np.minimum(quota, np.maximum(sizes - 1, 0))
    chosen = ranks_within(groups, words) < quota[groups]
    return Split(_without(table, cells, chosen), _some(cells, chosen))


def with_contrast(held_out: Cells, table: LabelTable, seed: int) -> Cells:
    """Held-out present cells and unknown ones to rank them among, where no absent cell is known: those of 2,000 random
    images.

    Args:
        held_out: present cells.
        table: the whole table, in which they are known.
        seed: seed of the run.

    Unknown cells stay unknown. Missed present ones among them lower every model's average precision alike, if labels
    are missing by chance: it serves to compare models and says nothing of their quality. Takes about 2,000 · C · 40
    bytes.
    """
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="contrast")
    rows = np.sort(np.argsort(hashes.image_words, kind="stable")[:_CONTRAST_IMAGES])
    row, column = np.nonzero(table.rows(rows) == State.UNKNOWN)
    nothing = np.zeros(row.size, np.int8)
    image_index = np.concatenate([held_out.image_index, rows[row]])
    class_index = np.concatenate([held_out.class_index, column])
    order = np.lexsort((class_index, image_index))
    states, sources = (np.concatenate([part, nothing])[order] for part in (held_out.states, held_out.sources))
    return Cells(image_index[order], class_index[order], states, sources)


def _known_cells(table: LabelTable) -> Cells:
    """All known cells, those that the background declares included."""
    if (table.background == State.UNKNOWN).all():
        cells = table.cells()
        known = cells.states != State.UNKNOWN
        return cells if known.all() else _some(cells, known)
    parts = []
    for start in range(0, len(table), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(table)))
        dense = table.rows(rows)
        row, column = np.nonzero(dense)
        parts.append((rows[row], column.astype(np.int64), dense[row, column]))
    image_index, class_index, states = (np.concatenate(part) for part in zip(*parts, strict=True))
    position, listed = table.find(image_index, class_index)
    sources = (
        np.where(listed, table.sources[position], np.int8(Source.IMPORT))
        if table.sources.size
        else np.zeros_like(states)
    )
    return Cells(image_index, class_index, states, sources)


def _some(cells: Cells, chosen: NDArray[np.bool_]) -> Cells:
    return Cells(cells.image_index[chosen], cells.class_index[chosen], cells.states[chosen], cells.sources[chosen])


def _without(table: LabelTable, cells: Cells, hidden: NDArray[np.bool_]) -> LabelTable:
    """The table with the hidden cells unknown; where the background is absent they are listed as unknown."""
    listed = table.cells()
    width = len(table.classes)
    hidden_keys = cells.image_index[hidden] * width + cells.class_index[hidden]
    stays = ~np.isin(listed.image_index * width + listed.class_index, hidden_keys)
    spelled_out = table.background[cells.class_index[hidden]] != State.UNKNOWN
    rows, columns = cells.image_index[hidden][spelled_out], cells.class_index[hidden][spelled_out]
    return LabelTable.from_cells(
        table.images,
        table.classes,
        np.concatenate([listed.image_index[stays], rows]),
        np.concatenate([listed.class_index[stays], columns]),
        np.concatenate([listed.states[stays], np.zeros(rows.size, np.int8)]),
        np.concatenate([listed.sources[stays], np.zeros(rows.size, np.int8)]),
        table.background,
    )
