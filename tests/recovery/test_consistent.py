"""Suggestions that exclude each other are left out in pairs, so that what was promised of all is kept by the rest."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partlabel.labels import LabelTable, State
from partlabel.recovery.consistent import without_exclusions
from partlabel.recovery.suggest import Suggestions
from partlabel.recovery.thresholds import ClassThreshold, PrecisionThresholds
from partlabel.relations import Relations

CLASSES = ("day", "night", "dusk", "dog", "noon")
RELATIONS = Relations((("noon", "day"),), (("day", "night"), ("day", "dusk"), ("night", "dusk")))
AGAINST = [("day", "night"), ("day", "dusk"), ("night", "dusk"), ("noon", "night"), ("noon", "dusk")]


def suggested(cells: dict[tuple[int, int], float], state: State = State.PRESENT) -> Suggestions:
    table = LabelTable.from_cells([f"{n}.jpg" for n in range(4)], CLASSES, [], [], [])
    of_class = tuple(ClassThreshold(name, "own", 60, 600, 0.5, 40, 39, 0.97, 0.9) for name in CLASSES)
    order = sorted(cells, key=lambda cell: -cells[cell])
    rows, columns = (np.array([cell[part] for cell in order], np.int64) for part in (0, 1))
    values = np.array([cells[cell] for cell in order], np.float64)
    thresholds = PrecisionThresholds(0.9, 10, 50, of_class)
    return Suggestions(table, thresholds, np.ones(4, bool), np.full(5, 4), rows, columns, values, values, state)


def exclude(one: int, other: int) -> bool:
    return (CLASSES[one], CLASSES[other]) in AGAINST or (CLASSES[other], CLASSES[one]) in AGAINST


CELLS = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 4)), st.floats(0.01, 0.99), max_size=20)


@given(CELLS, st.data())
def test_what_is_left_holds_together_and_is_no_less_precise(
    cells: dict[tuple[int, int], float], data: st.DataObject
) -> None:
    found = suggested(cells)
    rest, dropped = without_exclusions(found, RELATIONS)
    left = {*zip(rest.image_index.tolist(), rest.class_index.tolist(), strict=True)}
    assert dropped == len(cells) - len(left)
    assert dropped % 2 == 0
    for row, column in left:
        assert not any(other == row and exclude(column, of) for other, of in left)
    alone = {cell for cell in cells if not any(one == cell[0] and exclude(cell[1], of) for one, of in cells)}
    assert alone <= left
    truth = {cell for cell in cells if data.draw(st.booleans())}
    truth -= {
        cell for cell in truth if any(one == cell[0] and exclude(cell[1], of) and of < cell[1] for one, of in truth)
    }
    if cells and left and 2 * len(truth) >= len(cells):
        assert len(truth & left) / len(left) >= len(truth) / len(cells)


def test_the_surest_pair_goes_first_and_the_rest_stays() -> None:
    found = suggested({(0, 0): 0.9, (0, 1): 0.8, (0, 2): 0.7, (0, 3): 0.6, (1, 0): 0.5})
    rest, dropped = without_exclusions(found, RELATIONS)
    assert dropped == 2
    assert [(one.image, one.class_name, one.probability) for one in rest] == [
        ("0.jpg", "dusk", 0.7), ("0.jpg", "dog", 0.6), ("1.jpg", "day", 0.5),
    ]  # fmt: skip


def test_absent_ones_exclude_nothing() -> None:
    found = suggested({(0, 0): 0.9, (0, 1): 0.8}, State.ABSENT)
    assert without_exclusions(found, RELATIONS) == (found, 0)
    assert without_exclusions(suggested({(0, 0): 0.9}), Relations((("noon", "day"),)))[1] == 0
