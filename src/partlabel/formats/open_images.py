"""Image-level labels of Open Images: CSV with one row an image and class, answered by people or guessed by a model.

Confidence 1 is present and 0 is absent. What a model says, which is any confidence between them and any row whose
source is `machine`, is a suggestion and no label. Classes are called by their words where a file
`*class-descriptions*.csv` lies beside, and stand in its order.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from partlabel.errors import LabelError
from partlabel.files import atomic_path
from partlabel.formats.base import Format, Source
from partlabel.formats.collect import ClassNames, settle
from partlabel.formats.header import closest, plain
from partlabel.formats.long.files import CsvFile
from partlabel.formats.long.rows import EVERY_IMAGE, Coded, LongRows
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, Tally, WriteOptions
from partlabel.formats.suggested import Float64Array, Suggested
from partlabel.formats.text import examine, name_cell, records, refuse_outer_space
from partlabel.labels import Int8Array, IntArray, LabelTable, State
from partlabel.wording import amount

HEADER = ("ImageID", "Source", "LabelName", "Confidence")
_ROLES = {"image": HEADER[0], "class": HEADER[2], "state": HEADER[3]}
_MACHINE = "machine"
_DESCRIPTIONS = "*class-descriptions*.csv"
_BLOCK = 1 << 16  # cells written at once


class OpenImages(Format):
    """Labels of Open Images."""

    name = "open_images"
    title = "CSV of image-level labels of Open Images (V4 to V7)"
    states = "confidence 1 is present, 0 absent; confidences between are suggestions; the rest is unknown"
    suffixes = (".csv",)
    options = frozenset({"where"})

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether its header has the columns ImageID, LabelName and Confidence."""
        try:
            return {plain(name) for name in _ROLES.values()} <= {plain(name) for name in _header(source)}
        except LabelError:
            return False

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the labels of people, and suggestions of a model.

        `classes` chooses among the classes, by word where there are descriptions.

        Raises:
            LabelError: a confidence is no number from 0 to 1, a name is empty, cells conflict, a chosen class is not
                there, and the like; names file and line.
        """
        path = source.path
        file = _LabelFile(source, options)
        tally = Tally(path=path, format=self.name, encoding=file.encoding, where=options.where)
        tally.ignored_columns = file.columns.others(file.roles.values())
        words = _descriptions(path)
        rows = _Rows(file, options, tally, words)
        first = file.first_record
        for batch in file.batches():
            rows.add(batch, first)
            first += batch.num_rows
        tally.rows_read = first - file.first_record
        images, ids = rows.take_images(), tuple(rows.classes.columns)
        tally.check_any(len(images), len(ids))
        suggested = rows.suggested(images, ids)
        settled = settle(path, images, ids, State.UNKNOWN, rows.cells, options, file.lines)
        listed = np.zeros(len(ids), bool)
        listed[settled.table.class_index] = listed[suggested.class_index] = True
        used = np.flatnonzero(listed)
        names = _named(path, [ids[column] for column in used], words)
        tally.notes += rows.notes(len(suggested), words, [ids[column] for column in used])
        table = settled.table if listed.all() else settled.table.select_classes(used)
        suggested = replace(suggested, classes=names, class_index=np.searchsorted(used, suggested.class_index))
        report = tally.report(settled.duplicates, settled.conflicts, suggested)
        return Reading(_chosen(path, replace(table, classes=names), options.classes), report)

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write the known cells as answers of people (source `verification`), classes by their names.

        Raises:
            LabelError: no cell is known, an image is named `*`, or a class has outer white space.
        """
        refuse_outer_space(table.classes, path)
        if EVERY_IMAGE in table.image_positions:
            raise LabelError(f"{path}: an image is named '*', which is no image of Open Images; rename it")
        counts = table.counts_by_class()
        if not (counts.present.any() or counts.absent.any()):
            raise LabelError(f"{path}: no cell is known, so that there is no label to write")
        images, classes = [*map(name_cell, table.images)], [*map(name_cell, table.classes)]
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.write(",".join(HEADER) + "\n")
            for row, column, states in _known_cells(table):
                cells = zip(row.tolist(), column.tolist(), (states == State.PRESENT).tolist(), strict=True)
                stream.writelines(f"{images[i]},verification,{classes[c]},{int(here)}\n" for i, c, here in cells)

    def losses(self, table: LabelTable) -> Mapping[str, str]:
        """Images and classes without a known cell, and the order of classes where cells do not give it."""
        by_image, by_class = table.counts_by_image(), table.counts_by_class()
        images = int((by_image.present + by_image.absent == 0).sum())
        known = by_class.present + by_class.absent > 0
        lost = {}
        if images:
            lost["images"] = f"{amount(images, 'image')} without a known cell would be left out"
        if not known.all():
            count = amount(int((~known).sum()), "class", "classes")
            lost["classes"] = f"{count} without a known cell would be left out"
        if not _in_order(table, known):
            lost["order"] = "classes would come back in the order in which cells name them"
        return lost


class _LabelFile(CsvFile):
    """The columns by their roles, and the one that says who answered."""

    def __init__(self, source: Source, options: ReadOptions) -> None:
        header = _header(source)
        spelt = {plain(name): name for name in header}
        if missing := next((name for name in _ROLES.values() if plain(name) not in spelt), None):
            raise LabelError(
                f"{source.path} has no column {missing!r}; {closest(missing, header)}; labels of Open Images have the "
                f"columns {', '.join(HEADER)}"
            )
        roles = ",".join(f"{role}={spelt[plain(name)]}" for role, name in _ROLES.items())
        super().__init__(source, ReadOptions(columns=roles, where=options.where))
        if plain(HEADER[1]) in spelt:
            self.roles["source"] = header.index(spelt[plain(HEADER[1])])


class _Rows(LongRows):
    """Rows so far; what a model says apart.

    Args:
        words: what classes are called; they stand in this order.
    """

    def __init__(self, file: CsvFile, options: ReadOptions, tally: Tally, words: Iterable[str]) -> None:
        super().__init__(file, options, tally)
        self.classes = ClassNames(None, trusted=True)
        self.classes.columns.update({name: column for column, name in enumerate(words)})
        self._by_source: Counter[str] = Counter()
        self._guesses: list[tuple[IntArray, IntArray, Float64Array]] = []

    def add(self, batch: pa.RecordBatch, first: int) -> None:
        """Take the rows of a batch; the first one is record `first`."""
        batch, records = self._filtered(batch, first + np.arange(batch.num_rows))
        coded = {role: self._coded(batch, role) for role in self.file.roles}
        self._refuse(coded["image"], lambda name: name in {"", EVERY_IMAGE}, "is no image; name one", records)
        self._refuse(coded["class"], lambda name: not name.strip(), "is no class; name one", records)
        image = coded["image"].map(self._image_rows(coded["image"], records))
        column = coded["class"].map(self._class_columns(coded["class"], records))
        self._refuse(coded["state"], _is_no_confidence, "is no confidence from 0 to 1", records)
        confidence = np.asarray([float(text) for text in coded["state"].values], np.float64)[coded["state"].codes]
        answered = (confidence == 0) | (confidence == 1)
        if "source" in coded:
            answered &= ~self._is_machine(coded["source"])
        states = np.where(confidence == 1, State.PRESENT, State.ABSENT)
        if answered.all():
            self.cells.add(image, column, states, records)
            return
        self.cells.add(image[answered], column[answered], states[answered], records[answered])
        self._guesses.append((image[~answered], column[~answered], confidence[~answered]))

    def suggested(self, images: tuple[str, ...], classes: tuple[str, ...]) -> Suggested:
        """What a model says."""
        nothing = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        image, column, probability = map(np.concatenate, zip(nothing, *self._guesses, strict=True))
        return Suggested(images, classes, image, column, probability)

    def notes(self, suggested: int, words: Mapping[str, str], used: Sequence[str]) -> list[str]:
        """Who answered, and how classes are called, in words."""
        found = []
        if self._by_source:
            shown = ", ".join(f"{source or 'nobody'} ({count:,})" for source, count in self._by_source.most_common(8))
            found.append(f"labels by source: {shown}")
        if suggested:
            found.append(f"{amount(suggested, 'row')} of a model: suggestions, no labels")
        if words:
            lacking = [name for name in used if name not in words]
            some = f"; {len(lacking):,} are not described, such as {lacking[0]!r}" if lacking else ""
            found.append(f"classes are called as in {_DESCRIPTIONS} beside the file{some}")
        return found

    def _is_machine(self, coded: Coded) -> NDArray[np.bool_]:
        counts = np.bincount(coded.codes, minlength=len(coded.values)).tolist()
        self._by_source.update(dict(zip((value.strip() for value in coded.values), counts, strict=True)))
        machine = np.asarray([value.strip().casefold() == _MACHINE for value in coded.values], bool)
        return np.asarray(machine[coded.codes], bool)

    def _refuse(self, coded: Coded, wrong: Callable[[str], bool], reason: str, records: IntArray) -> None:
        found = next((code for code, value in enumerate(coded.values) if wrong(value)), None)
        if found is not None:
            place = self._place(records[np.argmax(coded.codes == found)])
            raise LabelError(f"{place}: {coded.values[found][:60]!r} {reason}; is this a file of Open Images?")


def _header(source: Source) -> Sequence[str]:
    return source.columns(ReadOptions()).names


def _is_no_confidence(text: str) -> bool:
    try:
        return not 0 <= float(text) <= 1
    except ValueError:
        return True


def _descriptions(path: Path) -> dict[str, str]:
    """The words of classes in files beside the labels, in their order; files that links lead to elsewhere are not read.

    Raises:
        LabelError: one is no table of two columns.
    """
    words: dict[str, str] = {}
    for beside in sorted(path.parent.glob(_DESCRIPTIONS)):
        if beside.resolve().parent not in {path.parent.resolve(), path.resolve().parent} or not beside.is_file():
            continue
        for line, cells in records(examine(beside)):
            if len(cells) != 2:
                raise LabelError(
                    f"{beside}, line {line} has {len(cells)} cells; descriptions of classes have two, LabelName and "
                    f"DisplayName. Correct it or move it away from the labels"
                )
            if plain(cells[0]) != plain(HEADER[2]):
                words.setdefault(cells[0].strip(), cells[1].strip())
    return words


def _named(path: Path, ids: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """The words of classes; a word that several have is followed by the id."""
    named = [words.get(name) or name for name in ids]
    counts = Counter(named)
    unique = [f"{word} ({name})" if counts[word] > 1 else word for word, name in zip(named, ids, strict=True)]
    if len(set(unique)) < len(unique):
        twice = Counter(unique).most_common(1)[0][0]
        raise LabelError(f"{path}: two classes are called {twice!r} by the descriptions beside it; correct them")
    return tuple(unique)


def _chosen(path: Path, table: LabelTable, wanted: Sequence[str] | None) -> LabelTable:
    if wanted is None:
        return table
    for name in wanted:
        if name not in table.class_positions:
            raise LabelError(f"{path} has no class {name!r}; {closest(name, table.classes)}")
    return table.select_classes(list(wanted))


def _known_cells(table: LabelTable) -> Iterator[tuple[IntArray, IntArray, Int8Array]]:
    """Rows, columns and states of the known cells, by rows; those that a background implies among them."""
    at_once = max(_BLOCK // len(table.classes), 1) if table.background.any() else _BLOCK
    for start in range(0, len(table), at_once):
        index = np.arange(start, min(start + at_once, len(table)))
        if table.background.any():
            dense = table.rows(index)
            row, column = np.nonzero(dense)
            yield index[row], column, dense[row, column]
            continue
        here = slice(table.row_starts[index[0]], table.row_starts[index[-1] + 1])
        listed = np.diff(table.row_starts[index[0] : index[-1] + 2])
        known = table.states[here] != State.UNKNOWN
        yield (
            np.repeat(index, listed)[known],
            table.class_index[here][known].astype(np.int64),
            table.states[here][known],
        )


def _in_order(table: LabelTable, known: NDArray[np.bool_]) -> bool:
    """Whether the classes of known cells first occur in their order."""
    met: list[int] = []
    waiting = set(np.flatnonzero(known).tolist())
    for _, column, _ in _known_cells(table):
        if not waiting:
            break
        found, first = np.unique(column, return_index=True)
        new = [one for one in found[np.argsort(first)].tolist() if one in waiting]
        met += new
        waiting.difference_update(new)
    return met == sorted(met)
