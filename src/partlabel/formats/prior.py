"""A prior matrix: scores of another tagger for the images and classes of a label table, with gaps."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from partlabel.errors import LabelError
from partlabel.formats.scores import long_value, numbers_of, open_scores, texts
from partlabel.names import same_file_key, words_key
from partlabel.wording import amount


class Prior(NamedTuple):
    """Scores of another tagger.

    Args:
        scores: float32 `[N, C]`, higher means more likely present; NaN where the file says nothing of a cell.
        told: one sentence for the log: how much of the table the file covers, and what it lacks.
    """

    scores: NDArray[np.float32]
    told: str


def read_prior(path: Path, images: Sequence[str], classes: Sequence[str]) -> Prior:
    """Scores for images and classes in their order, from a CSV or Parquet file as `evaluate --scores` reads it.

    The file may lack images, classes and cells, and hold others. A class is found by its name; where the file does not
    have that, by its words, whatever stands between them and in whatever case. Image names may all begin with one
    folder that those of the table leave out.

    Args:
        path: the file.
        images: names as in the label table.
        classes: names as in the label table.

    Raises:
        UsageError: the file does not exist.
        LabelError: it cannot be read, names an image, class or cell twice, gives a score that is infinite, or has a
            score for none of the cells.
    """
    table, image = open_scores(path)
    value = long_value(table)
    is_long = value is not None and not set(classes) <= set(table.column_names)
    named = texts(path, table["class"]) if is_long else [name for name in table.column_names if name != image]
    columns = _classes(path, classes, named)
    rows = _rows(path, images, texts(path, table[image]))
    scores = np.full((len(images), len(classes)), np.nan, np.float32)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused
        if is_long:
            _fill_long(path, scores, numbers_of(path, table[str(value)]), rows, named, columns)
        else:
            _fill_wide(path, scores, table, rows, columns)
    if np.isinf(scores).any():
        row, column = np.argwhere(np.isinf(scores))[0]
        raise LabelError(
            f"{path} gives image {images[row]!r} and class {classes[column]!r} an infinite score; give a number, or "
            "leave the cell empty"
        )
    if np.isnan(scores).all():
        raise LabelError(f"{path} has a score for none of the cells of the table; all that fit are empty")
    return Prior(scores, _told(path, scores, images, classes, columns))


def _fill_wide(
    path: Path, scores: NDArray[np.float32], table: pa.Table, rows: NDArray[np.int64], columns: dict[str, int]
) -> None:
    found = rows[rows >= 0]
    if np.unique(found).size < found.size:
        raise LabelError(f"{path} lists an image more than once; give one row of scores per image")
    for name, column in columns.items():
        if table.column_names.count(name) > 1:
            raise LabelError(f"{path} has the column {name!r} more than once; give one column of scores per class")
        scores[found, column] = numbers_of(path, table[name])[rows >= 0]


def _fill_long(
    path: Path,
    scores: NDArray[np.float32],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    named: Sequence[str],
    columns: dict[str, int],
) -> None:
    of_class = np.fromiter((columns.get(name, -1) for name in named), np.int64, len(named))
    kept = (rows >= 0) & (of_class >= 0)
    keys = rows[kept] * scores.shape[1] + of_class[kept]
    if np.unique(keys).size < keys.size:
        raise LabelError(f"{path} lists a cell more than once; give one score per image and class")
    scores.flat[keys] = values[kept]


def _classes(path: Path, classes: Sequence[str], named: Iterable[str]) -> dict[str, int]:
    """The number of its class for each name of the file that is one.

    Raises:
        LabelError: a class has several names in the file, several classes have one, or no class has any.
    """
    theirs = list(dict.fromkeys(named))
    known = set(theirs)
    found = {name: place for place, name in enumerate(classes) if name in known}
    by_words: dict[str, list[str]] = {}
    for name in theirs:
        by_words.setdefault(words_key(name), []).append(name)
    rest = [(place, name) for place, name in enumerate(classes) if name not in found]
    asked = Counter(words_key(name) for _, name in rest)
    for place, name in rest:
        alike = [other for other in by_words.get(words_key(name), []) if other not in found]
        if not alike:
            continue
        if len(alike) > 1 or asked[words_key(name)] > 1:
            raise LabelError(
                f"{path}: it is not clear which of its classes ({', '.join(map(repr, alike))}) is {name!r}; write the "
                "names as in the labels"
            )
        found[alike[0]] = place
    if not found:
        raise LabelError(
            f"{path} has scores for none of the {len(classes)} classes: its names are such as {_some(theirs)}, those "
            f"of the labels such as {_some(classes)}; write the names as in the labels"
        )
    return found


def _rows(path: Path, images: Sequence[str], named: Sequence[str]) -> NDArray[np.int64]:
    """The number of the image in the table for each name of the file, -1 for other images.

    Raises:
        LabelError: the file names none of the images.
    """
    place = {same_file_key(name): row for row, name in enumerate(images)}
    keys = [same_file_key(name) for name in named]
    folder = _folder(path, set(keys), list(place))
    rows = [place.get(key[len(folder) :], -1) if key.startswith(folder) else -1 for key in keys]
    if max(rows, default=-1) < 0:
        theirs = f"its names are such as {_some(named)}" if len(named) else "it has no row"
        raise LabelError(
            f"{path} has scores for none of the {len(images)} images: {theirs}, those of the labels such as "
            f"{_some(images)}; write the names as in the labels"
        )
    return np.asarray(rows, np.int64)


def _folder(path: Path, theirs: set[str], ours: Sequence[str]) -> str:
    """The folder that names of the file begin with and those of the table leave out; "" where some name is as is.

    Raises:
        LabelError: two folders fit equally well.
    """
    if any(name in theirs for name in ours):
        return ""
    ends = set(ours)
    counts = Counter(
        key[: at + 1] for key in theirs for at, mark in enumerate(key) if mark == "/" and key[at + 1 :] in ends
    )
    best = [folder for folder in sorted(counts) if counts[folder] == max(counts.values())]
    if len(best) > 1:
        raise LabelError(
            f"{path}: images of the table may be those in {best[0]!r} or those in {best[1]!r}; write the image names "
            "as in the labels"
        )
    return best[0] if best else ""


def _told(
    path: Path, scores: NDArray[np.float32], images: Sequence[str], classes: Sequence[str], columns: dict[str, int]
) -> str:
    has: NDArray[np.bool_] = ~np.isnan(scores)
    lacking = [classes[place] for place in np.flatnonzero(~has.any(axis=0)).tolist()]
    told = (
        f"{path}: scores for {int(has.any(axis=1).sum())} of {amount(len(images), 'image')} and "
        f"{len(classes) - len(lacking)} of {amount(len(classes), 'class', 'classes')}"
    )
    if lacking:
        told += f"; nothing of {_some(lacking, 5)}"
    other = [f"{classes[place]!r} from {name!r}" for name, place in columns.items() if classes[place] != name]
    if other:
        told += f"; {_joined(other, 3)}"
    return told


def _some(names: Sequence[str], most: int = 2) -> str:
    return _joined([repr(name) for name in names], most)


def _joined(parts: Sequence[str], most: int) -> str:
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
