"""Strips of small images: what was recovered, and where the model errs."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from partlabel.drawing.marks import JUDGED, MarkKind
from partlabel.drawing.thumbnails import Thumbnails
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import LabelTable, State
from partlabel.recovery import Suggestions
from partlabel.wording import percent

MOST_CLASSES = 12
_MOST_CONFIDENT = 6
_LEAST_CONFIDENT = 4
_ERRORS = 5


class Tile(NamedTuple):
    """One small image; `thumbnail` is None where the file cannot be shown, `mark` where there is nothing to judge."""

    image: str
    thumbnail: str | None
    caption: str
    mark: MarkKind | None = None
    mark_text: str = ""


class Strip(NamedTuple):
    """A line of tiles, and what they have in common."""

    title: str
    tiles: list[Tile]


class ClassStrips(NamedTuple):
    """The strips of one class."""

    name: str
    note: str
    strips: list[Strip]


def recovered_strips(suggestions: Suggestions, truth: LabelTable | None, thumbnail: Thumbnails) -> list[ClassStrips]:
    """For each of the classes with most suggestions, the most and the least probable ones."""
    counts = np.bincount(suggestions.class_index, minlength=len(suggestions.table.classes))
    chosen = [int(column) for column in np.argsort(-counts, kind="stable")[:MOST_CLASSES] if counts[column]]

    def tiles(places: Iterable[int]) -> list[Tile]:
        return [_suggested(suggestions, int(place), truth, thumbnail) for place in places]

    found = []
    for column in chosen:
        places = np.flatnonzero(suggestions.class_index == column)
        rest = places[_MOST_CONFIDENT:]
        strips = [
            Strip("most confident" if rest.size else "all, the most confident first", tiles(places[:_MOST_CONFIDENT]))
        ]
        if rest.size:
            strips.append(Strip("least confident", tiles(rest[-_LEAST_CONFIDENT:])))
        found.append(ClassStrips(suggestions.table.classes[column], f"{places.size:,} suggested", strips))
    return found


def _suggested(suggestions: Suggestions, place: int, truth: LabelTable | None, thumbnail: Thumbnails) -> Tile:
    table = suggestions.table
    image = table.images[suggestions.image_index[place]]
    tile = Tile(image, thumbnail(image), percent(float(suggestions.probability[place])))
    if truth is None:
        return tile
    row = truth.image_positions.get(image)
    column = truth.class_positions.get(table.classes[suggestions.class_index[place]])
    state = State.UNKNOWN if row is None or column is None else int(truth.states_at([row], [column])[0])
    mark, text = JUDGED[state * int(suggestions.state)]
    return tile._replace(mark=mark, mark_text=text)


def error_strips(
    classes: Sequence[str],
    columns: Sequence[int],
    cells: ScoredCells,
    thresholds: Sequence[float] | None,
    caption: Callable[[float, int], str],
    thumbnail: Thumbnails,
) -> list[ClassStrips]:
    """The held-out present cells of the lowest logit and absent cells of the highest, for each of the given classes.

    Args:
        classes: C names.
        columns: the classes to show.
        cells: the held-out cells.
        thresholds: C logits from which on a class counts as found; without them nothing is marked.
        caption: from a logit and a class to what stands under the image.
        thumbnail: gives the images.
    """

    def tile(place: int) -> Tile:
        logit, column, present = float(cells.logits[place]), int(cells.class_index[place]), cells.states[place] > 0
        shown = Tile(cells.image(place), thumbnail(cells.image(place)), caption(logit, column))
        if thresholds is None:
            return shown
        found = logit >= thresholds[column]
        text = ("found" if found else "missed") if present else ("false alarm" if found else "rejected")
        return shown._replace(mark="right" if found == present else "wrong", mark_text=text)

    shown = []
    for column in columns:
        mine = np.flatnonzero(cells.class_index == column)
        ascending = mine[np.argsort(cells.logits[mine], kind="stable")]
        present, absent = ascending[cells.states[ascending] > 0], ascending[cells.states[ascending] < 0]
        strips = [
            Strip("present, scored lowest", [tile(int(place)) for place in present[:_ERRORS]]),
            Strip("absent, scored highest", [tile(int(place)) for place in absent[::-1][:_ERRORS]]),
        ]
        note = f"{present.size:,} present, {absent.size:,} absent held out"
        shown.append(ClassStrips(classes[column], note, [strip for strip in strips if strip.tiles]))
    return shown
