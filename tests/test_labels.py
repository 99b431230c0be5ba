"""LabelTable against naive dictionaries: every operation is recomputed cell by cell."""

from dataclasses import FrozenInstanceError
from typing import Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import LabelError
from partlabel.labels import LabelTable, Source, State
from partlabel.merging import merge

PREFERENCES: list[Literal["self", "other"] | None] = [None, "self", "other"]
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)


class Naive(NamedTuple):
    """A table as a person would write it down."""

    images: list[str]
    classes: list[str]
    background: dict[str, int]
    listed: dict[tuple[str, str], tuple[int, int]]

    def state(self, image: str, name: str) -> int:
        """State of a cell; unknown where the table does not reach."""
        if image not in self.images or name not in self.classes:
            return 0
        return self.listed.get((image, name), (self.background[name], 0))[0]

    def grid(self, images: list[str] | None = None, classes: list[str] | None = None) -> list[list[int]]:
        columns = self.classes if classes is None else classes
        return [[self.state(image, name) for name in columns] for image in (self.images if images is None else images)]

    def build(self) -> LabelTable:
        rows = [self.images.index(image) for image, _ in self.listed]
        columns = [self.classes.index(name) for _, name in self.listed]
        states, sources = zip(*self.listed.values(), strict=True) if self.listed else ((), ())
        background = [self.background[name] for name in self.classes]
        return LabelTable.from_cells(self.images, self.classes, rows, columns, states, sources or 0, background)


@st.composite
def naive_tables(draw: st.DrawFn, image_names: str = "abcd", class_names: str = "xyzw") -> Naive:
    images = draw(st.lists(st.sampled_from(image_names), unique=True))
    classes = draw(st.lists(st.sampled_from(class_names), unique=True))
    background = {name: draw(st.sampled_from([-1, 0])) for name in classes}
    said = [int(source) for source in Source if source is not Source.UNSURE]
    cell = st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from(said)) | st.just((0, int(Source.UNSURE)))
    pairs = st.tuples(st.sampled_from(images), st.sampled_from(classes)) if images and classes else st.nothing()
    return Naive(
        images, classes, background, draw(st.dictionaries(pairs, cell, max_size=12)) if images and classes else {}
    )


def as_grid(dense: np.ndarray) -> list[list[int]]:
    return [list(map(int, row)) for row in dense]


@given(naive_tables())
def test_from_cells_keeps_every_state(naive: Naive) -> None:
    table = naive.build()
    assert table.images == tuple(naive.images)
    assert table.classes == tuple(naive.classes)
    assert table.shape == (len(naive.images), len(naive.classes))
    assert as_grid(table.dense()) == naive.grid()
    cells = table.cells()
    stored = {
        (naive.images[row], naive.classes[column]): (state, source)
        for row, column, state, source in zip(*(part.tolist() for part in cells), strict=True)
    }
    said_something = {
        cell: value
        for cell, value in naive.listed.items()
        if value[0] != 0 or naive.background[cell[1]] == State.ABSENT or value[1] == Source.UNSURE
    }
    assert stored == said_something
    assert np.lexsort((cells.class_index, cells.image_index)).tolist() == list(range(len(stored)))


@given(naive_tables(), st.data())
def test_rows_and_states_at(naive: Naive, data: st.DataObject) -> None:
    table = naive.build()
    index = data.draw(st.lists(st.sampled_from(range(len(naive.images))))) if naive.images else []
    assert as_grid(table.rows(index)) == [naive.grid()[row] for row in index]
    assert table.rows(index).dtype == np.int8
    assert table.rows(index).shape == (len(index), len(naive.classes))
    if naive.classes:
        columns = [data.draw(st.sampled_from(range(len(naive.classes)))) for _ in index]
        expected = [naive.grid()[row][column] for row, column in zip(index, columns, strict=True)]
        assert table.states_at(index, columns).tolist() == expected


@given(naive_tables(), st.data())
def test_select_images_and_classes(naive: Naive, data: st.DataObject) -> None:
    table = naive.build()
    images = data.draw(st.lists(st.sampled_from(naive.images), unique=True)) if naive.images else []
    classes = data.draw(st.lists(st.sampled_from(naive.classes), unique=True)) if naive.classes else []
    assert as_grid(table.select_images(images).dense()) == naive.grid(images)
    assert as_grid(table.select_classes(classes).dense()) == naive.grid(classes=classes)
    by_number = table.select_images([naive.images.index(image) for image in images])
    assert by_number.images == tuple(images)
    assert by_number.hash == table.select_images(images).hash
    numbers = np.array([naive.classes.index(name) for name in classes], np.int64)
    both = table.select_images(images).select_classes(numbers)
    assert both.hash == table.select_classes(classes).select_images(images).hash
    for row, column, source in zip(*np.array(both.cells())[[0, 1, 3]].tolist(), strict=True):
        assert source == naive.listed[images[row], classes[column]][1]


@given(naive_tables())
def test_counts(naive: Naive) -> None:
    table, grid = naive.build(), naive.grid()
    columns = list(zip(*grid, strict=True)) if grid else [()] * len(naive.classes)
    for state, by_class, by_image in zip((1, -1, 0), table.counts_by_class(), table.counts_by_image(), strict=True):
        assert by_class.tolist() == [column.count(state) for column in columns]
        assert by_image.tolist() == [row.count(state) for row in grid]


def merged_state(mine: int, theirs: int, prefer: str | None) -> int:
    if mine * theirs == -1:
        return {None: 0, "self": mine, "other": theirs}[prefer]
    return mine or theirs


@given(naive_tables("abcd", "xyzw"), naive_tables("cdef", "zwuv"), st.sampled_from(PREFERENCES))
def test_merge(mine: Naive, theirs: Naive, prefer: Literal["self", "other"] | None) -> None:
    merged, conflicts = merge(mine.build(), theirs.build(), prefer)
    images = [*mine.images, *(name for name in theirs.images if name not in mine.images)]
    classes = [*mine.classes, *(name for name in theirs.classes if name not in mine.classes)]
    assert (merged.images, merged.classes) == (tuple(images), tuple(classes))
    pairs = [(image, name, mine.state(image, name), theirs.state(image, name)) for image in images for name in classes]
    expected = [merged_state(a, b, prefer) for _, _, a, b in pairs]
    assert merged.dense().ravel().tolist() == expected
    assert [tuple(conflict) for conflict in conflicts] == [(image, name) for image, name, a, b in pairs if a * b == -1]


@given(naive_tables(), naive_tables())
def test_merge_keeps_the_source_of_the_state_it_takes(mine: Naive, theirs: Naive) -> None:
    merged, conflicts = merge(mine.build(), theirs.build())
    clashing = {tuple(conflict) for conflict in conflicts}
    for row, column, state, source in zip(*(part.tolist() for part in merged.cells()), strict=True):
        cell = merged.images[row], merged.classes[column]
        if state and cell not in clashing:
            # A cell that only a background says is imported.
            taken = mine if mine.state(*cell) else theirs
            assert source == taken.listed.get(cell, (0, int(Source.IMPORT)))[1]


@given(naive_tables(), naive_tables(), naive_tables())
def test_unknown_never_becomes_absent_or_present(first: Naive, second: Naive, third: Naive) -> None:
    merged, _ = merge(first.build(), second.build())
    merged, _ = merge(merged, third.build())
    for image in merged.images:
        for name in merged.classes:
            state = int(merged.states_at([merged.image_positions[image]], [merged.class_positions[name]])[0])
            said = {naive.state(image, name) for naive in (first, second, third)}
            assert state == 0 or state in said
            if said == {0}:
                assert state == 0


def test_merge_of_a_declared_table_lists_nothing_it_does_not_need() -> None:
    images, classes = [f"{i}.jpg" for i in range(50)], list("abc")
    open_table = LabelTable.from_cells(images, classes, [0], [0], [1])
    complete = LabelTable.from_cells(images, classes, [1], [1], [1], background=State.ABSENT)
    merged, conflicts = merge(open_table, complete)
    assert merged.states.size == 2
    assert merged.background.tolist() == [-1, -1, -1]
    assert [tuple(conflict) for conflict in conflicts] == [("0.jpg", "a")]


@given(naive_tables())
def test_what_may_still_be_asked(naive: Naive) -> None:
    table = naive.build()
    for row, image in enumerate(naive.images):
        for column, name in enumerate(naive.classes):
            unsure = naive.listed.get((image, name)) == (0, Source.UNSURE)
            may = naive.state(image, name) == 0 and not unsure
            assert table.open_rows([row])[0, column] == may
            assert table.decided_at([row], [column])[0] == (not may)
    assert table.unsure == sum(value == (0, Source.UNSURE) for value in naive.listed.values())


@pytest.mark.parametrize("sources", [(Source.IMPORT, Source.UNSURE), (Source.UNSURE, Source.REVIEW, Source.UNSURE)])
@pytest.mark.parametrize("background", [-1, 0])
def test_a_cell_listed_twice_is_unsure_where_one_says_so(sources: tuple[Source, ...], background: int) -> None:
    more = [*sources, Source.IMPORT, Source.HUMAN], [*[1] * len(sources), 0, 2]
    table = LabelTable.from_cells(["a"], ["x", "y", "z"], [0] * len(more[0]), more[1], [0] * len(more[0]), more[0],
                                  background=background)  # fmt: skip
    found = dict(zip(table.class_index.tolist(), table.sources.tolist(), strict=True))
    assert found == {1: Source.UNSURE} | ({0: Source.IMPORT, 2: Source.HUMAN} if background else {})


def test_a_known_cell_is_never_unsure() -> None:
    with pytest.raises(LabelError, match="unsure is what nobody could decide"):
        LabelTable.from_cells(["a"], ["x"], [0], [0], [1], Source.UNSURE)


@given(naive_tables())
def test_hash_depends_on_states_alone(naive: Naive) -> None:
    table = naive.build()
    shuffled = naive._replace(listed=dict(reversed(naive.listed.items())))
    assert shuffled.build().hash == table.hash
    other_sources = {cell: (state, (source + 1) % Source.UNSURE) for cell, (state, source) in naive.listed.items()}
    assert naive._replace(listed=other_sources).build().hash == table.hash
    every = {(image, name): (naive.state(image, name), 0) for image in naive.images for name in naive.classes}
    for background in (-1, 0):
        declared = dict.fromkeys(naive.classes, background)
        assert naive._replace(listed=every, background=declared).build().hash == table.hash


@given(naive_tables(), naive_tables())
def test_hash_tells_tables_apart(one: Naive, other: Naive) -> None:
    same = (one.images, one.classes, one.grid()) == (other.images, other.classes, other.grid())
    assert (one.build().hash == other.build().hash) == same


@given(st.lists(NAMES, unique=True, max_size=4), st.lists(NAMES, unique=True, max_size=4))
def test_hash_tells_names_apart(one: list[str], other: list[str]) -> None:
    hashes = {
        LabelTable.from_cells(images, classes, [], [], []).hash for images, classes in ((one, other), (other, one))
    }
    assert len(hashes) == (1 if one == other else 2)


def test_hash_is_the_same_in_every_release() -> None:
    table = LabelTable.from_cells(["a", "b", "é"], ["x", "y"], [0, 1, 2], [0, 1, 1], [1, -1, -1], background=[0, 0])
    assert table.hash == "b41c7a40bb6ae9123b6af41f7fda894589635498963f5b11945d4341fa166a30"


def test_arrays_cannot_be_changed() -> None:
    states = np.array([1, -1], np.int8)
    table = LabelTable.from_cells(["a", "b"], ["x"], [0, 1], [0, 0], states)
    states[:] = 0
    assert table.dense().ravel().tolist() == [1, -1]
    for array in (
        table.background,
        table.row_starts,
        table.class_index,
        table.states,
        table.sources,
        table.cells().states,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(FrozenInstanceError):
        table.images = ()  # type: ignore[misc]
    table.dense()[:] = 0
    assert table.states.tolist() == [1, -1]


def test_a_cell_listed_twice_is_stored_once_with_its_first_source() -> None:
    table = LabelTable.from_cells(["a"], ["x", "y"], [0, 0, 0], [1, 0, 1], [1, -1, 1], [3, 0, 1])
    assert table.states.tolist() == [-1, 1]
    assert table.sources.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": ["a", "a"]}, "image name 'a' appears more than once"),
        ({"classes": ["x", "x"]}, "class name 'x' appears more than once"),
        ({"images": ["a", ""]}, "an image name is empty"),
        ({"classes": ["", "x"]}, "a class name is empty"),
        ({"states": [1]}, "differ in length: 2 images, 2 classes, 1 states"),
        ({"states": [1, 2]}, "state .*2.* is not -1"),
        ({"states": [1.0, float("nan")]}, "nan"),
        ({"states": [0.5, 1]}, "0.5"),
        ({"states": np.array([255, 1], np.uint8)}, "255"),
        ({"image_index": [0, 2]}, "image number 2 is outside 0..1"),
        ({"class_index": [-1, 0]}, "class number -1 is outside 0..1"),
        ({"image_index": [0.0, 1.7]}, "image numbers have type float64"),
        ({"image_index": [True, False]}, "image numbers have type bool"),
        ({"image_index": [0, 0], "class_index": [1, 1], "states": [1, -1]}, "1 cell.* image 'a', class 'y'"),
        ({"background": 1}, "cannot be present"),
        ({"background": [0, 256]}, "a background state is"),
        ({"background": [0, -0.5]}, "a background state is"),
        ({"background": [0, 0, 0]}, "background has shape"),
        ({"sources": [0, 9]}, "source .*9.* is not a Source"),
        ({"sources": [0, 1, 2]}, "sources have shape"),
    ],
)
def test_bad_input_gets_a_sentence(changes: dict[str, object], says: str) -> None:
    good = {
        "images": ["a", "b"],
        "classes": ["x", "y"],
        "image_index": [0, 1],
        "class_index": [0, 1],
        "states": [1, -1],
    }
    with pytest.raises(LabelError, match=says):
        LabelTable.from_cells(**{**good, **changes})  # type: ignore[arg-type]


def test_bad_selections_get_a_sentence() -> None:
    table = LabelTable.from_dense(["a", "b"], ["x"], [[1], [-1]])
    with pytest.raises(LabelError, match="'c'"):
        table.select_images(["a", "c"])
    with pytest.raises(LabelError, match="image name 'a' appears more than once"):
        table.select_images(["a", "a"])
    with pytest.raises(LabelError, match="of a mask"):
        table.select_images(np.array([False, True]))
    with pytest.raises(LabelError, match="of a mask"):
        table.rows([True, False])
    with pytest.raises(LabelError, match=r"outside 0\.\.1"):
        table.rows([-1])
    with pytest.raises(LabelError, match="shape"):
        LabelTable.from_dense(["a"], ["x"], [1])
    with pytest.raises(LabelError, match="nan"):
        LabelTable.from_dense(["a"], ["x"], [[float("nan")]])


@given(naive_tables())
def test_from_dense(naive: Naive) -> None:
    grid = np.array(naive.grid(), np.int8).reshape(len(naive.images), len(naive.classes))
    table = LabelTable.from_dense(naive.images, naive.classes, grid)
    assert as_grid(table.dense()) == naive.grid()
    assert table.hash == naive.build().hash


def test_without_recovered_only_recovered_cells_become_unknown() -> None:
    table = LabelTable.from_cells(
        ("a", "b"),
        ("x", "y"),
        [0, 0, 1],
        [0, 1, 0],
        [1, 1, -1],
        [Source.RECOVERED, Source.HUMAN, Source.RECOVERED],
        [-1, 0],
    )
    known = table.without_recovered()
    assert known.dense().tolist() == [[0, 1], [0, 0]]
    assert known.background.tolist() == [-1, 0]
    assert known.without_recovered() is known
