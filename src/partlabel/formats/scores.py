"""Scores of any tool, CSV or Parquet: one row per image and one column per class, or one row per cell, as of `predict`.

A file with a column for each class of the truth is wide. Otherwise it has the columns class and probability, score or
logit (the first of these that is there counts). Higher means more likely present.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from partlabel.errors import LabelError, NotFiniteError, UsageError
from partlabel.formats.header import IMAGE_COLUMNS, listed, plain
from partlabel.formats.long.files import parquet_errors
from partlabel.formats.text import as_table, cell_name, examine, records
from partlabel.labels import LabelTable
from partlabel.names import alike_across, same_file_key
from partlabel.progress import SILENT, Reporter

FloatArray = NDArray[np.float64]
_LONG_VALUES = ("probability", "score", "logit")


def read_scores(path: Path, labels: LabelTable, reporter: Reporter = SILENT) -> FloatArray:
    """Scores, float64 `[N, C]`, of the images and classes of a table in its order; other ones of the file are ignored.

    Image names may all begin with one folder that those of the table leave out.

    Raises:
        UsageError: the file does not exist.
        LabelError: it cannot be read, or an image or class of the table has no score or several.
        NotFiniteError: a score is NaN or missing; names image and class.
    """
    table, image = open_scores(path)
    names = table.column_names
    missing = [name for name in labels.classes if name not in names]
    value = long_value(table)
    if missing and value is not None:
        scores = _from_long(path, table, image, value, labels, reporter)
    else:
        scores = _from_wide(path, table, image, missing, labels, reporter)
    row, column = (where[:1] for where in np.nonzero(np.isnan(scores)))
    if row.size:
        raise NotFiniteError(
            f"{path}: {int(np.isnan(scores).sum())} score(s) are missing or NaN, first: image "
            f"{labels.images[row[0]]!r}, class {labels.classes[column[0]]!r}; give a number for each"
        )
    return scores


def open_scores(path: Path) -> tuple[pa.Table, str]:
    """The columns of a file of scores, and the name of the one with the image names.

    Raises:
        UsageError: the file does not exist.
        LabelError: it cannot be read, or has no such column.
    """
    if not path.is_file():
        raise UsageError(f"{path} {'is a folder, not a file of scores' if path.is_dir() else 'does not exist'}")
    table = _read_parquet(path) if path.suffix.casefold() == ".parquet" else _read_csv(path)
    image = next((name for name in table.column_names if plain(name) in IMAGE_COLUMNS), None)
    if image is None:
        raise LabelError(
            f"{path} has no column 'image' (columns: {listed(table.column_names)}); it needs one with the image names"
        )
    return table, image


def long_value(table: pa.Table) -> str | None:
    """The column that holds the score of a cell, if the file has one row per cell."""
    if "class" not in table.column_names:
        return None
    return next((name for name in _LONG_VALUES if name in table.column_names), None)


def _read_parquet(path: Path) -> pa.Table:
    with parquet_errors(path):
        return pa.parquet.read_table(path)


def _read_csv(path: Path) -> pa.Table:
    """Image and class names stay text: an image called 007 is not number 7."""
    text = as_table(examine(path))
    line, header = next(records(text))
    names = [cell_name(name.strip()) for name in header]
    as_text = {f"f{n}": pa.string() for n, name in enumerate(names) if plain(name) in {*IMAGE_COLUMNS, "class"}}
    stream: pa.NativeFile = pa.OSFile(str(path))
    try:
        table = pa.csv.read_csv(
            stream if text.codec != "utf-16" else pa.transcoding_input_stream(stream, "utf-16", "utf-8"),
            read_options=pa.csv.ReadOptions(
                column_names=[f"f{n}" for n in range(len(names))],
                skip_rows=line - 1,
                skip_rows_after_names=1,
                block_size=1 << 26,
            ),
            parse_options=pa.csv.ParseOptions(newlines_in_values=text.quoted, delimiter=text.delimiter),
            convert_options=pa.csv.ConvertOptions(column_types=as_text),
        )
    except pa.ArrowException as error:
        raise LabelError(f"{path} cannot be read as a table of scores: {str(error)[:300]}") from error
    return table.rename_columns(names)


def _from_wide(
    path: Path, table: pa.Table, image: str, missing: Sequence[str], labels: LabelTable, reporter: Reporter
) -> FloatArray:
    names = table.column_names
    twice = [name for name in (image, *labels.classes) if names.count(name) > 1]
    if twice:
        raise LabelError(f"{path} has the column {twice[0]!r} more than once; give one column of scores per class")
    if missing:
        alike = dict(alike_across(missing, names))
        hint = f"; it has {alike[missing[0]]!r}: make the two names equal" if missing[0] in alike else ""
        raise LabelError(
            f"{path} has no column {missing[0]!r} ({len(missing)} of {len(labels.classes)} classes are missing); it "
            f"needs 'image' and one column of scores per class{hint}"
        )
    found = texts(path, table[image])
    position = {name: row for row, name in enumerate(found)}
    if len(position) < len(found):
        raise LabelError(f"{path} lists an image more than once; give one row of scores per image")
    rows = [position[name] for name in _spelt(path, labels.images, position, reporter)]
    return np.stack([numbers_of(path, table[name])[rows] for name in labels.classes], 1)


def _from_long(
    path: Path, table: pa.Table, image: str, value: str, labels: LabelTable, reporter: Reporter
) -> FloatArray:
    images, classes, numbers = texts(path, table[image]), texts(path, table["class"]), numbers_of(path, table[value])
    reporter.say(f"{path}: one row per cell; the column {value!r} is judged")
    known = {*classes}
    absent = [name for name in labels.classes if name not in known]
    if absent:
        alike = dict(alike_across(absent, classes))
        hint = f"; it has {alike[absent[0]]!r}: make the two names equal" if absent[0] in alike else ""
        raise LabelError(f"{path} has no scores for {len(absent)} class(es), first: {absent[0]!r}{hint}")
    spelt = _spelt(path, labels.images, dict.fromkeys(images), reporter)
    row_of = {name: row for row, name in enumerate(spelt)}
    rows = np.fromiter((row_of.get(name, -1) for name in images), np.int64, len(images))
    columns = np.fromiter((labels.class_positions.get(name, -1) for name in classes), np.int64, len(classes))
    kept = (rows >= 0) & (columns >= 0)
    keys = rows[kept] * len(labels.classes) + columns[kept]
    if np.unique(keys).size < keys.size:
        raise LabelError(f"{path} lists a cell more than once; give one score per image and class")
    scores = np.full(labels.shape, np.nan)
    scores.flat[keys] = numbers[kept]
    return scores


def texts(path: Path, column: pa.ChunkedArray) -> list[str]:
    """Names of a column; what is no text is written out."""
    with parquet_errors(path):
        if column.null_count:
            raise LabelError(f"{path}: a row has no name in its image or class column; name it or delete the row")
        return [cell_name(str(name)) for name in column.to_pylist()]


def numbers_of(path: Path, column: pa.ChunkedArray) -> FloatArray:
    """Numbers of a column, float64; NaN where one is missing."""
    try:
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise LabelError(f"{path} holds something that is no number: {str(error)[:200]}") from error


def _spelt(path: Path, images: Sequence[str], known: dict[str, int] | dict[str, None], reporter: Reporter) -> list[str]:
    """Each image as the file of scores spells it.

    Raises:
        LabelError: it does not have one of them; shows how it spells the names.
    """
    absent = [name for name in images if name not in known]
    if not absent:
        return list(images)
    keys = {same_file_key(name): name for name in known}
    plain_names = [same_file_key(name) for name in images]
    folders = {key[: -len(plain_names[0])] for key in keys if key.endswith(f"/{plain_names[0]}")}
    fitting = [folder for folder in ("", *sorted(folders)) if all(folder + name in keys for name in plain_names)]
    if len(fitting) == 1:
        if fitting[0]:
            reporter.say(f"{path}: all image names begin with {fitting[0]!r}, which those of the labels leave out")
        return [keys[fitting[0] + name] for name in plain_names]
    if len(absent) < len(images):
        raise LabelError(
            f"{path} has scores for {len(images) - len(absent)} of {len(images)} images, first without: {absent[0]!r}; "
            "add the others, or judge by labels of the scored images alone"
        )
    first = next(iter(known), None)
    spelt = f"; it names images such as {first!r}: make the names equal" if first is not None else ""
    raise LabelError(f"{path} has no scores for {len(absent)} of {len(images)} images, first: {absent[0]!r}{spelt}")
