"""The model of a run that learns from verdicts, and says what to ask next."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from partlabel.errors import ImageError, RunError
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import resolve
from partlabel.labels import IntArray, LabelTable, Source, State
from partlabel.merging import merge
from partlabel.progress import Reporter
from partlabel.reviewing.queues import VERDICTS, BoolArray
from partlabel.reviewing.subject import KINDS, Listed, Subject
from partlabel.runs.folder import RunFolder

if TYPE_CHECKING:  # they bring torch and scipy, which would make every start slower
    from partlabel.inference.learner import Learner
    from partlabel.recovery.value import Askable

FloatArray = NDArray[np.float64]

MOST = 1000
"""Cells of the queue by value."""
_STATES = {VERDICTS.index("present"): State.PRESENT, VERDICTS.index("absent"): State.ABSENT}


class Learned(NamedTuple):
    """What a model makes of a review.

    Args:
        by_value: int64, open cells in the order in which they are best asked.
        cells: int64 `[K]`, ascending, cells with a probability: those that are listed, or those of `by_value`.
        probability: float64 `[K]`, of being present; NaN where the model lacks the class, or there is no picture.
    """

    by_value: IntArray
    cells: IntArray
    probability: FloatArray


class Pupil:
    """A model that learns from the labels of its run, from what else is known of the pictures, and from verdicts.

    It is opened, and torch imported, when it first learns; one thread at a time.

    Args:
        run: a finished run of a fitted method.
        root: the image folder, that of the run's pictures too; those that are not there are left out.
        subject: what is reviewed.
        limits: what a picture may be.
    """

    def __init__(self, run: Path, root: Path, subject: Subject, limits: Limits = DEFAULT_LIMITS) -> None:
        self.run, self.root, self.subject, self.limits = RunFolder(run), root, subject, limits
        self._opened: _Opened | None = None

    def learn(self, verdicts: Mapping[int, int], reporter: Reporter) -> Learned:
        """Fit the model to all that is known, and ask it.

        Args:
            verdicts: by cell, positions in `VERDICTS`; what follows from verdicts is among them.
            reporter: where progress goes; an exception that it raises ends this.

        Raises:
            RunError: the run cannot be opened, or knows none of the pictures or classes.
            ImageError: a picture cannot be read.
        """
        if self._opened is None:
            self._opened = _Opened.of(self, reporter)
        return self._opened.learn(verdicts, reporter)

    def is_there(self, name: str) -> bool:
        """Whether there is such a picture."""
        try:
            return resolve(self.root, name).is_file()
        except ImageError:
            return False


class _Opened:
    """A pupil with its features in memory. The first images of the learner are those of the subject, in its order."""

    def __init__(self, subject: Subject, learner: "Learner", base: LabelTable) -> None:
        from partlabel.recovery.value import directions_of

        self.subject, self.learner, self.base = subject, learner, base
        self.directions = directions_of(learner.features.numpy())
        self.row, self.own_row = _places(subject.known.image_positions, learner.images, len(subject.images))
        self.column, self.own_column = _places(subject.known.class_positions, learner.classes, len(subject.classes))
        self.mine = int((self.row >= 0).sum())

    @classmethod
    def of(cls, pupil: Pupil, reporter: Reporter) -> "_Opened":
        from partlabel.inference.learner import Learner

        subject, labels = pupil.subject, pupil.run.labels()
        mine = [name for name in subject.images if pupil.is_there(name)]
        others = [name for name in labels.images if name not in subject.known.image_positions and pupil.is_there(name)]
        if not mine or not set(labels.classes) & set(subject.classes):
            what = "classes" if mine else f"pictures below {pupil.root}"
            raise RunError(f"the run {pupil.run.path} can learn nothing here: none of the {what} are there")
        learner = Learner.open(pupil.run, [*mine, *others], pupil.root, reporter, pupil.limits.max_mb)
        known = merge(labels, subject.known, "other")[0]
        return cls(subject, learner, known.select_images(learner.images).select_classes(learner.classes))

    def learn(self, verdicts: Mapping[int, int], reporter: Reporter) -> Learned:
        from partlabel.recovery.value import by_value, candidates

        labels = self._labels(verdicts)
        self.learner.fit(labels, reporter)
        found = candidates(self._askable(verdicts), len(self.learner.classes))
        rows, columns = by_value(found, labels.counts_by_class().present, self.directions, MOST)
        cells = self.row[rows] * len(self.subject.classes) + self.column[columns]
        told = np.unique(cells) if self.subject.listed is None else self.subject.listed.cells
        return Learned(cells, told, self._probability(told))

    def _labels(self, verdicts: Mapping[int, int]) -> LabelTable:
        """All that is known of the images and classes of the learner."""
        decided = np.array([cell for cell, verdict in verdicts.items() if verdict in _STATES], np.int64)
        rows, columns = self._own(decided)
        there = (rows >= 0) & (columns >= 0)
        states = [_STATES[verdicts[cell]] for cell in decided[there].tolist()]
        names = self.base.images, self.base.classes
        given = LabelTable.from_cells(*names, rows[there], columns[there], np.array(states, np.int8), Source.REVIEW)
        return merge(self.base, given, "other")[0]

    def _own(self, cells: IntArray) -> tuple[IntArray, IntArray]:
        """Row and column of cells of the subject among those of the learner; -1 where it has none."""
        rows, columns = np.divmod(cells, len(self.subject.classes))
        return self.own_row[rows], self.own_column[columns]

    def _blocks(self) -> Iterator[tuple[IntArray, FloatArray]]:
        """Rows of the learner that are images of the subject, and the probabilities of their cells."""
        from scipy.special import expit

        for rows, logits in self.learner.blocks():
            mine = rows < self.mine
            if mine.any():
                yield rows[mine], expit(logits[mine].astype(np.float64))

    def _askable(self, verdicts: Mapping[int, int]) -> "Iterator[Askable]":
        """The cells that are asked, have no verdict, and are not known to the run either."""
        from partlabel.recovery.value import Askable

        width = len(self.subject.classes)
        decided = np.array(sorted(verdicts), np.int64)
        for rows, probability in self._blocks():
            images = self.row[rows]
            closed = _marked(decided, images, width)
            if self.subject.listed is None:
                asked = self.subject.known.open_rows(images)
            else:
                asked = _marked(_suggested(self.subject.listed), images, width)
            asked &= ~closed
            has = self.column >= 0
            mine = np.zeros(probability.shape, bool)
            mine[:, has] = asked[:, self.column[has]]
            yield Askable(rows, probability, mine & self.base.open_rows(rows))

    def _probability(self, cells: IntArray) -> FloatArray:
        rows, columns = self._own(cells)
        found, order = np.full(cells.size, np.nan), np.argsort(rows, kind="stable")
        for block, probability in self._blocks():
            start, end = np.searchsorted(rows[order], [block[0], block[-1] + 1])
            at = order[start:end]
            at = at[columns[at] >= 0]
            found[at] = probability[rows[at] - block[0], columns[at]]
        return found


def _places(positions: Mapping[str, int], names: tuple[str, ...], count: int) -> tuple[IntArray, IntArray]:
    """The position of each name, -1 where there is none; and for each of `count` positions the number of its name."""
    place = np.array([positions.get(name, -1) for name in names], np.int64)
    number = np.full(count, -1, np.int64)
    number[place[place >= 0]] = np.flatnonzero(place >= 0)
    return place, number


def _marked(cells: IntArray, images: IntArray, width: int) -> BoolArray:
    """Which cells of some images, ascending, are among ascending cells; bool `[n, width]`."""
    marked = np.zeros((images.size, width), bool)
    some = cells[slice(*np.searchsorted(cells, [images[0] * width, (images[-1] + 1) * width]))]
    rows, columns = np.divmod(some, width)
    place = np.searchsorted(images, rows)
    there = images[place] == rows
    marked[place[there], columns[there]] = True
    return marked


def _suggested(listed: Listed) -> IntArray:
    return np.asarray(listed.cells[listed.kind == KINDS.index("suggested")])
