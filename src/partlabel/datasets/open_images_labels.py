"""Label files of Open Images: one row an image and class, tens of millions of them, read in blocks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from partlabel.datasets.base import read_lines
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, Source, State
from partlabel.progress import Tick

_BLOCK = 1 << 24


class Cells(NamedTuple):
    """Labels of some classes, and the images of all labels, in the order of the file."""

    images: list[str]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    states: NDArray[np.int8]


def read_labels(path: Path, classes: Sequence[str], least: float | None, tick: Tick) -> Cells:
    """The labels of some classes.

    Args:
        path: a CSV with ImageID, LabelName and Confidence.
        classes: the classes to take, in the order of the columns.
        least: the confidence from which a classifier's label is present; None: answers of people, 1 or 0.
        tick: told how much of the file is read.

    Raises:
        LabelError: the file is no such CSV, or a confidence is out of range.
    """
    wanted = pa.array(classes, pa.string())
    images: list[pa.DictionaryArray] = []
    columns: list[NDArray[np.int64]] = []
    confidences: list[NDArray[np.float32]] = []
    for batch in _batches(path, ("ImageID", "LabelName", "Confidence"), tick):
        images.append(pc.dictionary_encode(batch.column("ImageID")))
        index = pc.fill_null(pc.index_in(batch.column("LabelName"), value_set=wanted), -1)
        columns.append(index.to_numpy(zero_copy_only=False).astype(np.int64))
        confidences.append(batch.column("Confidence").to_numpy(zero_copy_only=False))
    if not images:
        raise LabelError(f"{path} lists no label; unpack the official file again")
    joined = pa.chunked_array(images).unify_dictionaries()
    rows = np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in joined.chunks]).astype(np.int64)
    column, confidence = np.concatenate(columns), np.concatenate(confidences)
    if least is None:
        strange = ~np.isin(confidence, (0, 1))
        kept, states = column >= 0, np.where(confidence == 1, State.PRESENT, State.ABSENT).astype(np.int8)
    else:
        strange = ~((confidence >= 0) & (confidence <= 1))
        kept, states = (column >= 0) & (confidence >= least), np.full(rows.size, State.PRESENT, np.int8)
    names = joined.chunk(0).dictionary.to_pylist()
    _check_names(path, classes, column, rows, names)
    if strange.any():
        what = "0 or 1" if least is None else "between 0 and 1"
        raise LabelError(
            f"{path}: label {int(np.flatnonzero(strange)[0]) + 1} has confidence {confidence[strange][0]:g}, which is "
            f"not {what}; is this another file?"
        )
    return Cells(names, rows[kept], column[kept], states[kept])


def _check_names(
    path: Path, classes: Sequence[str], column: NDArray[np.int64], rows: NDArray[np.int64], names: Sequence[str]
) -> None:
    if not (column >= 0).any():
        raise LabelError(
            f"{path} has no label of a trainable class, such as {classes[0]!r}; it and the list of classes do not "
            "belong together, or one is altered: unpack both files again"
        )
    if "" in names:
        row = int(np.flatnonzero(rows == names.index(""))[0])
        raise LabelError(f"{path}: label {row + 1} names no image; unpack the official file again")


def _batches(path: Path, columns: tuple[str, ...], tick: Tick) -> Iterator[pa.RecordBatch]:
    kinds = {name: pa.float32() if name == "Confidence" else pa.string() for name in columns}
    convert = csv.ConvertOptions(column_types=kinds, include_columns=list(columns), strings_can_be_null=False)
    size = path.stat().st_size
    try:
        with pa.OSFile(str(path)) as file:
            for batch in csv.open_csv(file, csv.ReadOptions(block_size=_BLOCK), convert_options=convert):
                tick(min(file.tell(), size), size)
                yield batch
    except (pa.ArrowException, KeyError, OSError) as error:
        first = str(error).splitlines()[0]
        raise LabelError(
            f"{path} is no CSV with {', '.join(columns)} ({first}); unpack the official file again"
        ) from error


def settled(cells: Cells, classes: int) -> Cells:
    """Each cell once; those of two states are unknown."""
    keys = cells.rows * classes + cells.columns
    order = np.argsort(keys, kind="stable")
    keys, states = keys[order], cells.states[order]
    if not keys.size:
        return cells
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    least, most = np.minimum.reduceat(states, starts), np.maximum.reduceat(states, starts)
    rows, columns = np.divmod(keys[starts], classes)
    return Cells(cells.images, rows, columns, np.where(least == most, least, np.int8(State.UNKNOWN)))


def joined_table(images: list[str], classes: Sequence[str], found: Sequence[tuple[Cells, Source]]) -> LabelTable:
    """One table; where several say something of a cell, the first counts."""
    place = {name: row for row, name in enumerate(images)}
    keys: list[NDArray[np.int64]] = []
    for cells, _ in found:
        of_image = np.asarray([place[name] for name in cells.images], np.int64)
        keys.append(of_image[cells.rows] * len(classes) + cells.columns)
    if len(keys) > 1:
        new = ~np.isin(keys[1], keys[0], kind="sort")
        keys[1] = keys[1][new]
        found = (found[0], (found[1][0]._replace(states=found[1][0].states[new]), found[1][1]))
    rows, columns = np.divmod(np.concatenate(keys), len(classes))
    states = np.concatenate([cells.states for cells, _ in found])
    sources = np.concatenate([np.full(cells.states.size, source, np.int8) for cells, source in found])
    return LabelTable.from_cells(images, classes, rows, columns, states, sources)


def image_ids(path: Path) -> list[str]:
    """The images that a CSV lists.

    Raises:
        LabelError: it has no ImageID, or lists none.
    """
    batches = _batches(path, ("ImageID",), lambda done, total: None)
    names = [name for batch in batches for name in batch.column(0).to_pylist()]
    if not names or "" in names:
        raise LabelError(f"{path} lists {'an image without a name' if names else 'no image'}; unpack the file again")
    return names


def described(path: Path, classes: Sequence[str]) -> list[str]:
    """Descriptions of the classes; one that several have is followed by the class."""
    lines = (line.partition(",") for line in read_lines(path))
    words = {mid: text.strip().strip('"').replace('""', '"') for mid, _, text in lines}
    if lacking := next((mid for mid in classes if not words.get(mid)), None):
        raise LabelError(f"{path} does not describe class {lacking!r}; unpack the official file again")
    named = [words[mid] for mid in classes]
    counts = Counter(named)
    return [f"{name} ({mid})" if counts[name] > 1 else name for name, mid in zip(named, classes, strict=True)]
