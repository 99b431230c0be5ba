"""How good suggestions were, where the truth is known."""

from dataclasses import dataclass

import numpy as np

from partlabel.errors import LabelError
from partlabel.labels import Int8Array, IntArray, LabelTable, State
from partlabel.recovery.suggest import Suggestions

_ROWS = 4096


@dataclass(frozen=True)
class SuggestionScore:
    """Counts over cells whose truth is known.

    Args:
        suggested: all suggestions.
        correct: suggestions that have the suggested state in truth.
        wrong: suggestions that have the other one.
        unjudged: suggestions whose truth is not known; they count neither for nor against.
        hidden: cells that have the suggested state in truth, unknown in the completed table, and of an image that
            was scored.
    """

    suggested: int
    correct: int
    wrong: int
    unjudged: int
    hidden: int

    @property
    def precision(self) -> float | None:
        """Share of the judged suggestions that are correct; None if none could be judged."""
        judged = self.correct + self.wrong
        return self.correct / judged if judged else None

    @property
    def recall(self) -> float | None:
        """Share of the hidden cells that was suggested; None if nothing was hidden."""
        return self.correct / self.hidden if self.hidden else None


def score_suggestions(suggestions: Suggestions, truth: LabelTable) -> SuggestionScore:
    """Compare suggestions with a table of the truth; images and classes are matched by name.

    Raises:
        LabelError: no image, or no class, of the completed table is in the truth.
    """
    table = suggestions.table
    truth_row = _matches(table.images, truth.image_positions, "image")
    truth_column = _matches(table.classes, truth.class_positions, "class")
    rows, columns = truth_row[suggestions.image_index], truth_column[suggestions.class_index]
    states = np.zeros(rows.size, np.int8)
    covered = (rows >= 0) & (columns >= 0)
    states[covered] = truth.states_at(rows[covered], columns[covered])
    correct, wrong = (int((states == sign * suggestions.state).sum()) for sign in (1, -1))
    unjudged = len(suggestions) - correct - wrong
    return SuggestionScore(len(suggestions), correct, wrong, unjudged, _hidden(suggestions, truth))


def states_by_name(truth: LabelTable, table: LabelTable, rows: IntArray) -> Int8Array:
    """States of the truth, int8 `[n, C]`, for rows and all classes of another table; unknown where it lacks the image
    or the class.
    """
    names = (truth.image_positions.get(table.images[row], -1) for row in rows)
    truth_rows = np.fromiter(names, np.int64, len(rows))
    columns = np.fromiter((truth.class_positions.get(name, -1) for name in table.classes), np.int64)
    states = np.full((len(rows), columns.size), State.UNKNOWN, np.int8)
    there, shared = truth_rows >= 0, columns >= 0
    states[np.ix_(there, shared)] = truth.rows(truth_rows[there])[:, columns[shared]]
    return states


def _hidden(suggestions: Suggestions, truth: LabelTable) -> int:
    """Cells that a perfect model would have suggested; in blocks of images, so that no dense table is needed."""
    table, count = suggestions.table, 0
    scored = np.flatnonzero(suggestions.scored)
    for rows in np.split(scored, range(_ROWS, scored.size, _ROWS)):
        wanted = states_by_name(truth, table, rows) == suggestions.state
        count += int((wanted & (table.rows(rows) == State.UNKNOWN)).sum())
    return count


def _matches(names: tuple[str, ...], positions: dict[str, int], kind: str) -> IntArray:
    """Position in the truth of each name, -1 where it has none."""
    found = np.fromiter((positions.get(name, -1) for name in names), np.int64, len(names))
    if found.size and (found < 0).all():
        raise LabelError(
            f"no {kind} of the completed table is in the truth, first: {names[0]!r}; use the truth of the same data"
        )
    return found
