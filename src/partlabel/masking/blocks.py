"""Walk through the known cells of a table in blocks of rows, and build the table of the cells that stay."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from partlabel.labels import Int8Array, IntArray, LabelTable, Source, State
from partlabel.masking.keyed import BoolArray

_BLOCK_CELLS = 2**21


class Block(NamedTuple):
    """Known cells of the rows `start` to `stop` (exclusive) as parallel arrays, sorted by row, then column.

    Cells that are absent only by the background of their class are among them, with the source `Source.IMPORT`.
    """

    start: int
    stop: int
    rows: IntArray
    columns: IntArray
    states: Int8Array
    sources: Int8Array


def known_blocks(table: LabelTable) -> Iterator[Block]:
    """Blocks of about two million cells, known or not: memory does not grow with the number of images."""
    height = max(1, _BLOCK_CELLS // max(1, len(table.classes)))
    complete = bool((table.background == State.ABSENT).any())
    for start in range(0, len(table), height):
        stop = min(start + height, len(table))
        yield _spelled_out(table, start, stop) if complete else _listed(table, start, stop)


def thin(table: LabelTable, keep: Callable[[Block], BoolArray]) -> LabelTable:
    """The table of the known cells for which `keep` says true, all others unknown; what was unsure stays unsure.

    The background becomes unknown for every class; absent cells that stay are listed. Sources are preserved.

    Args:
        table: the table to thin.
        keep: gets a block of known cells and returns one bool per cell.
    """
    lengths = np.zeros(len(table), np.int64)
    columns, states, sources = [np.empty(0, np.int32)], [np.empty(0, np.int8)], [np.empty(0, np.int8)]
    for block in known_blocks(table):
        kept = keep(block)
        lengths[block.start : block.stop] = np.bincount(
            block.rows[kept] - block.start, minlength=block.stop - block.start
        )
        columns.append(block.columns[kept].astype(np.int32))
        states.append(block.states[kept])
        sources.append(block.sources[kept])
    starts = np.zeros(len(table) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    unknown = np.zeros(len(table.classes), np.int8)
    thinned = LabelTable(
        table.images,
        table.classes,
        unknown,
        starts,
        np.concatenate(columns),
        np.concatenate(states),
        np.concatenate(sources),
    )
    return _with_unsure(thinned, table) if table.unsure else thinned


def _with_unsure(thinned: LabelTable, table: LabelTable) -> LabelTable:
    """The thinned table with the unsure cells of the whole one."""
    kept, before = thinned.cells(), table.cells()
    unsure = before.sources == Source.UNSURE
    return LabelTable.from_cells(
        table.images,
        table.classes,
        np.concatenate([kept.image_index, before.image_index[unsure]]),
        np.concatenate([kept.class_index, before.class_index[unsure]]),
        np.concatenate([kept.states, before.states[unsure]]),
        np.concatenate([kept.sources, before.sources[unsure]]),
    )


def _listed(table: LabelTable, start: int, stop: int) -> Block:
    here = slice(table.row_starts[start], table.row_starts[stop])
    rows = np.repeat(np.arange(start, stop), np.diff(table.row_starts[start : stop + 1]))
    columns, known = table.class_index[here].astype(np.int64), table.states[here] != State.UNKNOWN
    return Block(start, stop, rows[known], columns[known], table.states[here][known], table.sources[here][known])


def _spelled_out(table: LabelTable, start: int, stop: int) -> Block:
    listed = _listed(table, start, stop)
    sources = np.zeros((stop - start, len(table.classes)), np.int8)
    sources[listed.rows - start, listed.columns] = listed.sources
    states = table.rows(np.arange(start, stop))
    rows, columns = np.nonzero(states)
    return Block(start, stop, rows + start, columns, states[rows, columns], sources[rows, columns])
