"""One-hot CSV: a row an image, a column a class, a value a state.

Every cell is listed, so this format has no background; it keeps no sources.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.files import atomic_path
from partlabel.formats.collect import CellList, ImageRows, settle
from partlabel.formats.header import Columns, closest, columns_of, csv_format
from partlabel.formats.reading import Reading, ReadOptions, Tally, WriteOptions
from partlabel.formats.text import even_records, examine, quote
from partlabel.labels import LabelTable, State

_BLOCK = 1024  # rows at once; bounds the dense part


def read(path: Path, options: ReadOptions | None = None) -> Reading:
    """Read a one-hot CSV; the image column is the first named image, file, filename or path, else the first column.

    Raises:
        LabelError: a value has no code, a row has another width, a column is unnamed or twice there, rows conflict, and
        the
            like; names file, line and column.
        UsageError: `unlisted` is absent, which has no meaning where every cell is listed.
    """
    options = options or ReadOptions()
    if options.unlisted != State.UNKNOWN:
        raise UsageError(
            f"{path}: a one-hot file lists every cell, so --unlisted absent has nothing to declare; say what an "
            f"empty cell means with --codes, for example '=absent'"
        )
    text = examine(path)
    rows = even_records(text)
    columns = columns_of(path, next(rows)[1], options)
    image = columns.image()
    image = columns.free[0] if image is None and columns.free else image
    if image is None:
        raise LabelError(f"{path} has no column left for the image names; leave fewer out")
    chosen = _class_columns(columns, image, options)
    tally = Tally(path=path, format="one_hot_csv", encoding=text.encoding, where=options.where)
    tally.ignored_columns = columns.others([image, *chosen])
    cells, images = CellList(), ImageRows()
    kept = _rows(rows, columns, image, tally)
    while block := list(islice(kept, _BLOCK)):
        _add_block(block, columns, image, chosen, options, images, cells)
    tally.check_any(len(images.rows), len(chosen))
    classes = [columns.names[column] for column in chosen]
    settled = settle(path, images.rows, classes, State.UNKNOWN, cells, options, lambda lines: {n: n for n in lines})
    return Reading(settled.table, tally.report(images.duplicates(), settled.conflicts))


def _class_columns(columns: Columns, image: int, options: ReadOptions) -> list[int]:
    free = [column for column in columns.free if column != image]
    positions: dict[str, int] = {}
    for column in free:
        name = columns.names[column]
        if options.classes is not None and name not in options.classes:
            continue
        if not name:
            raise LabelError(
                f"{columns.path}: column {column + 1} has no name (a trailing comma?); name it or remove it"
            )
        if name in positions:
            raise LabelError(
                f"{columns.path}: class {name!r} is in column {positions[name] + 1} and {column + 1}; rename one"
            )
        positions[name] = column
    for name in options.classes or ():
        if name not in positions:
            raise LabelError(f"{columns.path} has no class {name!r}; {closest(name, [columns.names[c] for c in free])}")
    return list(positions.values()) if options.classes is None else [positions[name] for name in options.classes]


def _rows(
    rows: Iterator[tuple[int, list[str]]], columns: Columns, image: int, tally: Tally
) -> Iterator[tuple[int, list[str]]]:
    for line, cells in rows:
        tally.rows_read += 1
        if not cells[image]:
            if any(cell.strip() for cell in cells):
                raise LabelError(f"{tally.path}, line {line}: column {columns.names[image]!r} is empty; name the image")
            tally.skip(line, "all cells are empty")
        elif tally.keeps({name: cells[column] for name, column in columns.where.items()}):
            yield line, cells


def _add_block(
    block: list[tuple[int, list[str]]],
    columns: Columns,
    image: int,
    chosen: list[int],
    options: ReadOptions,
    images: ImageRows,
    cells: CellList,
) -> None:
    known: dict[str, int] = {}
    dense = np.zeros((len(block), len(chosen)), np.int8)
    for place, (line, values) in enumerate(block):
        try:
            dense[place] = [known[values[column]] for column in chosen]
        except KeyError:
            for column in chosen:
                state = options.codes.state(values[column])
                if state is None:
                    where = f"{columns.path}, line {line}, column {columns.names[column]!r}"
                    raise options.codes.refusal(values[column], where) from None
                known[values[column]] = state
            dense[place] = [known[values[column]] for column in chosen]
    rows = np.array([images.row(values[image], line) for line, values in block], np.int64)
    lines = np.array([line for line, _ in block], np.int64)
    place_of, class_index = np.nonzero(dense)
    cells.add(rows[place_of], class_index, dense[place_of, class_index], lines[place_of])


def write(table: LabelTable, path: Path, options: WriteOptions | None = None) -> None:
    """Write every cell, in the values of `codes` or as words. Sources, and which cells were only implied, are not kept.

    Raises:
        LabelError: the class names would make the header look like another format.
    """
    options = options or WriteOptions()
    header = ["image", *table.classes]
    try:
        clear = csv_format(columns_of(path, header, ReadOptions())) == "one_hot_csv"
    except LabelError:
        clear = False
    if not clear:
        raise LabelError(
            f"{path}: classes named class, state, present or absent would make the header look like another format; "
            f"write the long format or JSONL"
        )
    words = {int(state): quote(options.codes.text(state)) for state in State}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(map(quote, header)) + "\n")
        for start in range(0, len(table), _BLOCK):
            index = np.arange(start, min(start + _BLOCK, len(table)))
            for row, states in zip(index, table.rows(index).tolist(), strict=True):
                stream.write(",".join([quote(table.images[row]), *(words[state] for state in states)]) + "\n")
