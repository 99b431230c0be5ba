"""Merging large declared tables: states as always, and never more cells than the smaller side needs."""

import numpy as np
import pytest

from partlabel import merging
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State


def complete(images: list[str], classes: list[str], seed: int) -> LabelTable:
    random = np.random.default_rng(seed)
    rows, columns = np.nonzero(random.random((len(images), len(classes))) < 0.2)
    return LabelTable.from_cells(images, classes, rows, columns, np.ones(rows.size, int), background=State.ABSENT)


@pytest.mark.parametrize("declared", ["first", "second"])
def test_the_declared_background_stays_where_that_is_shorter(monkeypatch: pytest.MonkeyPatch, declared: str) -> None:
    classes = [f"class {n}" for n in range(6)]
    large = complete([f"{n}.jpg" for n in range(50)], classes, 0)
    small = LabelTable.from_cells(["new.jpg", "3.jpg"], ["class 2", "other"], [0, 1, 1], [0, 0, 1], [1, 1, -1])
    tables = (large, small) if declared == "first" else (small, large)
    plain, clashes = merging.merge(*tables)
    monkeypatch.setattr(merging, "_LISTED_WITHOUT_THOUGHT", 10)
    short, same_clashes = merging.merge(*tables)
    assert short.hash == plain.hash
    assert sorted(clashes) == sorted(same_clashes)
    assert short.states.size < large.states.size + 3 * len(classes)
    assert plain.states.size > 200
    assert short.dense()[short.image_positions["new.jpg"]].tolist().count(State.ABSENT) == 0


def test_what_cannot_be_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [f"class {n}" for n in range(6)]
    first = complete([f"{n}.jpg" for n in range(20)], classes, 0)
    second = LabelTable.from_cells([f"other {n}.jpg" for n in range(20)], classes, [0], [0], [1])
    monkeypatch.setattr(merging, "_LISTED_WITHOUT_THOUGHT", 10)
    monkeypatch.setattr(merging, "_LISTED_AT_MOST", 100)
    with pytest.raises(LabelError, match="6 classes are declared complete for a part of the images, so that 120 cells"):
        merging.merge(first, second)


def test_one_new_image_takes_no_memory() -> None:
    large = LabelTable.from_cells(
        [f"{n}.jpg" for n in range(200_000)], [f"{n}" for n in range(2_000)], [5], [5], [1], background=State.ABSENT
    )
    merged, _ = merging.merge(large, LabelTable.from_cells(["new.jpg"], ["7"], [0], [0], [1]))
    assert merged.shape == (200_001, 2_000)
    assert merged.states.size == 2_000 + 1
    assert merged.states_at([200_000, 200_000, 0], [7, 8, 8]).tolist() == [1, 0, -1]


def test_class_lists_that_overlap_by_half() -> None:
    """Nobody looked for birds in the first set, nor for cats in the second: that is no absence."""
    first = LabelTable.from_cells(["1", "2"], ["cat", "dog"], [0, 1], [0, 1], [1, 1], background=[-1, -1])
    second = LabelTable.from_cells(["3", "4"], ["dog", "bird"], [0, 1], [0, 1], [1, 1], background=[-1, 0])
    merged, conflicts = merging.merge(first, second)
    assert (merged.classes, conflicts) == (("cat", "dog", "bird"), [])
    assert merged.dense().tolist() == [[1, -1, 0], [-1, 1, 0], [0, 1, 0], [0, -1, 1]]
    assert merged.background.tolist() == [0, -1, 0]
