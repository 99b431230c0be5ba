"""Merging large declared tables: states as always, and never more cells than the smaller side needs."""

from typing import Any

import numpy as np
import pytest

from partlabel import merging
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, Source, State
from partlabel.relations import Relations


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


KINDS = [
    (State.UNKNOWN, Source.IMPORT),
    (State.UNKNOWN, Source.UNSURE),
    *((state, source) for state in (State.PRESENT, State.ABSENT) for source in Source if source != Source.UNSURE),
]


@pytest.mark.parametrize("prefer", ["self", "other", None])
def test_every_kind_of_cell_with_every_other(prefer: Any) -> None:
    """Known beats unsure beats unknown; of the same state, stated beats recovered and implied, else the first."""
    for mine in KINDS:
        for theirs in KINDS:
            tables = [
                LabelTable.from_cells(["a"], ["dog"], [0], [0], [state], [source]) for state, source in (mine, theirs)
            ]
            merged, conflicts = merging.merge(*tables, prefer)
            derived = [source in {Source.RECOVERED, Source.IMPLIED} for _, source in (mine, theirs)]
            clash = bool(mine[0] and theirs[0] and mine[0] != theirs[0])
            if clash:
                expected = {"self": mine, "other": theirs, None: KINDS[0]}[prefer]
            elif mine[0] == theirs[0] != State.UNKNOWN:
                expected = theirs if derived == [True, False] else mine
            elif mine[0] != theirs[0]:
                expected = mine if mine[0] else theirs
            else:
                expected = mine if mine[1] == Source.UNSURE else theirs
            assert [one.class_name for one in conflicts] == ["dog"] * clash
            cells = merged.cells()
            found = list(zip(cells.states.tolist(), cells.sources.tolist(), strict=True))
            assert found == ([] if expected == KINDS[0] else [expected]), (mine, theirs)
            assert merged.unsure == (expected[1] == Source.UNSURE)


RELATIONS = Relations((("dog", "animal"), ("cat", "animal")), (("day", "night"),))


def table_of(images: str, **columns: str) -> LabelTable:
    """Columns of +, - and blank."""
    dense = np.array([[{"+": 1, "-": -1, " ": 0}[one] for one in column] for column in columns.values()]).T
    return LabelTable.from_dense(list(images), list(columns), dense)


def states(table: LabelTable) -> dict[str, dict[str, tuple[int, str]]]:
    found: dict[str, dict[str, tuple[int, str]]] = {image: {} for image in table.images}
    for row, column, state, source in zip(*(part.tolist() for part in table.cells()), strict=True):
        found[table.images[row]][table.classes[column]] = state, Source(source).name
    return found


def test_what_follows_from_the_cells_of_both() -> None:
    mine, theirs = table_of("ab", dog="+ ", day="  "), table_of("ba", animal="- ", night="+ ")
    merged, conflicts = merging.merge_related(mine, theirs, RELATIONS)
    assert (merged.images, merged.classes, conflicts) == (("a", "b"), ("dog", "day", "animal", "night"), [])
    assert states(merged) == {
        "a": {"dog": (1, "IMPORT"), "animal": (1, "IMPLIED")},
        "b": {"dog": (-1, "IMPLIED"), "day": (-1, "IMPLIED"), "animal": (-1, "IMPORT"), "night": (1, "IMPORT")},
    }


def test_the_preferred_table_takes_along_what_follows() -> None:
    mine, theirs = table_of("a", animal="-", cat=" "), table_of("a", dog="+")
    merged, conflicts = merging.merge_related(mine, theirs, RELATIONS)
    assert sorted(one.class_name for one in conflicts) == ["animal", "dog"]
    merged, _ = merging.merge_related(mine, theirs, RELATIONS, "other")
    assert states(merged)["a"] == {
        "dog": (1, "IMPORT"),
        "animal": (1, "IMPLIED"),
    }  # of the cat nothing follows any more
    merged, _ = merging.merge_related(mine, theirs, RELATIONS, "self")
    assert merged.classes == ("animal", "cat", "dog")
    assert states(merged)["a"] == {"animal": (-1, "IMPORT"), "cat": (-1, "IMPLIED"), "dog": (-1, "IMPLIED")}


def test_a_table_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(LabelError, match="'day' is present and 'night' is present"):
        merging.merge_related(table_of("a", dog="+"), table_of("a", day="+", night="+"), RELATIONS)


def test_an_unsure_cell_that_follows_is_known() -> None:
    unsure = LabelTable.from_cells(["a"], ["animal", "cat"], [0, 0], [0, 1], [0, 0], [Source.UNSURE, Source.UNSURE])
    merged, _ = merging.merge_related(unsure, table_of("a", dog="+"), RELATIONS)
    assert states(merged)["a"] == {"animal": (1, "IMPLIED"), "cat": (0, "UNSURE"), "dog": (1, "IMPORT")}


def test_what_an_image_shows_is_not_lost_to_a_declaration_of_its_own_table() -> None:
    """The class above is declared complete, and gives way to what is stated of the class below it."""
    mine = LabelTable.from_cells(["a"], ["dog", "animal"], [0], [0], [1], [Source.HUMAN], [0, -1])
    for prefer in (None, "self", "other"):
        for pair in ((mine, table_of("b", dog="-")), (table_of("b", dog="-"), mine)):
            merged, conflicts = merging.merge_related(*pair, RELATIONS, prefer)
            assert not conflicts
            assert states(merged)["a"]["dog"] == (1, "HUMAN"), prefer


def test_what_was_unsure_is_so_again_where_what_settled_it_gives_way() -> None:
    mine = LabelTable.from_cells(["a"], ["cat", "animal"], [0, 0], [0, 1], [0, -1], [Source.UNSURE, Source.HUMAN])
    merged, _ = merging.merge_related(mine, table_of("a", animal="+"), RELATIONS, "other")
    assert states(merged)["a"] == {"cat": (0, "UNSURE"), "animal": (1, "IMPORT")}
