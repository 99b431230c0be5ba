"""Held-out known cells: what training never sees, so that models, thresholds and probabilities can be judged."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.labels import Cells, LabelTable, Source, State
from partlabel.masking.keyed import CellHash, ranks_within

_ROWS = 65536
_CONTRAST_IMAGES = 2000
_DERIVED = (Source.RECOVERED, Source.IMPLIED)  # nobody stated these cells


By = Literal["auto", "cells", "images"]


class Split(NamedTuple):
    """What is trained on, and what is held out of it.

    Args:
        training: the table without the held-out cells; of the images in `rows` alone, if whole images are held out.
        held_out: the held-out cells, with the image numbers of the whole table.
        rows: int64, ascending numbers in the whole table of the images that are trained on; None: all of them.
    """

    training: LabelTable
    held_out: Cells
    rows: NDArray[np.int64] | None = None


def hold_out(table: LabelTable, fraction: float, seed: int, by: By = "auto") -> Split:
    """Hold out a share of the known cells, or of the labelled images.

    By cells: for each class and sign apart, chosen by a keyed hash of the names. Of n cells of one class and sign,
    fraction·n are held out, rounded up or down at random in proportion, and never the only one. Every image still
    trains.

    By images: of N images with a known cell fraction·N, rounded, at least one, are left out of the training altogether,
    chosen by a keyed hash of their names, but for those with the last known cell of a class and sign that would be
    left. Their known cells are held out. Images without a known cell all train: held out, they would tell nothing.

    "auto" is by cells where a known absent cell can be held out, else by images: to a training held-out cells are
    unknown, and where no absent cell is known, unknown ones are all that tells what is absent. A held-out present cell
    among them would be taught as absent.

    Recovered cells are never held out, and an image that has no others counts as one without a known cell: a model
    chose them for its own high scores, so that by them it would look better than it is. Nor are implied cells, which
    say again what other known cells say.
    """
    cells = known_cells(table)
    if fraction == 0 or not cells.states.size:
        return Split(table, some_cells(cells, np.zeros(cells.states.size, bool)))
    recovered = np.isin(cells.sources, _DERIVED)
    by_images = by == "images" or (by == "auto" and not (cells.states[~recovered] < 0).any())
    if by_images:
        return _hold_out_images(table, cells, fraction, seed)
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="held-out cells")
    words = hashes.at(cells.image_index, cells.class_index)
    width = 2 * len(table.classes)
    groups = _groups(cells) + width * recovered
    sizes = np.bincount(groups, minlength=2 * width)
    sizes[width:] = 0
    rounding = (hashes.class_words >> np.uint64(11)).astype(np.float64) / 2**53
    quota = np.floor(fraction * sizes + np.tile(np.repeat(rounding, 2), 2)).astype(np.int64)
    quota = np.minimum(quota, np.maximum(sizes - 1, 0))
    chosen = ranks_within(groups, words) < quota[groups]
    return Split(without_cells(table, cells, chosen), some_cells(cells, chosen))


def _hold_out_images(table: LabelTable, cells: Cells, fraction: float, seed: int) -> Split:
    words = CellHash.of(table.images, table.classes, seed=seed, purpose="held-out images").image_words
    labelled = np.unique(cells.image_index[~np.isin(cells.sources, _DERIVED)])
    quota = min(max(round(fraction * labelled.size), 1), labelled.size - 1)
    groups = _groups(cells)
    left = np.bincount(groups, minlength=2 * len(table.classes))
    bounds = np.searchsorted(cells.image_index, np.arange(len(table) + 1))
    held_out = np.zeros(len(table), bool)
    for row in labelled[np.argsort(words[labelled], kind="stable")]:
        if quota == 0:
            break
        mine = groups[bounds[row] : bounds[row + 1]]
        if (left[mine] > 1).all():
            left[mine] -= 1
            held_out[row], quota = True, quota - 1
    rows = np.flatnonzero(~held_out)
    judged = held_out[cells.image_index] & ~np.isin(cells.sources, _DERIVED)
    return Split(table.select_images(rows), some_cells(cells, judged), rows)


def images_without_label(table: LabelTable, split: Split) -> int:
    """How many images have known present cells, all of which are held out while the image is trained on."""
    if split.rows is not None:
        return 0
    before, after = (
        np.bincount(cells.image_index[cells.states > 0], minlength=len(table))
        for cells in (table.cells(), split.training.cells())
    )
    return int(((before > 0) & (after == 0)).sum())


def with_contrast(held_out: Cells, table: LabelTable, seed: int, rows: NDArray[np.int64] | None = None) -> Cells:
    """Held-out present cells and unknown ones to rank them among, where no absent cell is known: those of 2,000 random
    images.

    Args:
        held_out: present cells.
        table: the whole table, in which they are known.
        seed: seed of the run.
        rows: the images of which to take unknown cells, where whole images are held out; None: any.

    Unknown cells stay unknown. Missed present ones among them lower every model's average precision alike, if labels
    are missing by chance: it serves to compare models and says nothing of their quality. Takes about 2,000 · C · 40
    bytes.
    """
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="contrast")
    candidates = np.arange(len(table)) if rows is None else rows
    order = np.argsort(hashes.image_words[candidates], kind="stable")[:_CONTRAST_IMAGES]
    rows = np.sort(candidates[order])
    row, column = np.nonzero(table.rows(rows) == State.UNKNOWN)
    nothing = np.zeros(row.size, np.int8)
    image_index = np.concatenate([held_out.image_index, rows[row]])
    class_index = np.concatenate([held_out.class_index, column])
    order = np.lexsort((class_index, image_index))
    states, sources = (np.concatenate([part, nothing])[order] for part in (held_out.states, held_out.sources))
    return Cells(image_index[order], class_index[order], states, sources)


def _groups(cells: Cells) -> NDArray[np.int64]:
    """A number for each class and sign."""
    return cells.class_index * 2 + (cells.states > 0)


def known_cells(table: LabelTable) -> Cells:
    """All known cells, those that the background declares included."""
    if (table.background == State.UNKNOWN).all():
        cells = table.cells()
        known = cells.states != State.UNKNOWN
        return cells if known.all() else some_cells(cells, known)
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


def some_cells(cells: Cells, chosen: NDArray[np.bool_]) -> Cells:
    """The chosen cells, by a bool `[K]`."""
    return Cells(cells.image_index[chosen], cells.class_index[chosen], cells.states[chosen], cells.sources[chosen])


def without_cells(table: LabelTable, cells: Cells, hidden: NDArray[np.bool_]) -> LabelTable:
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
