"""Strips: the right cells in the right order, few of them, whatever the images are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partlabel.drawing.thumbnails import Thumbnails
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import LabelTable
from partlabel.recovery import Suggestions
from partlabel.report.strips import MOST_CLASSES, Strip, error_strips, recovered_strips


@pytest.fixture
def thumbnail(tmp_path: Path) -> Thumbnails:
    for number in range(40):
        Image.new("RGB", (20, 10), (6 * number, 0, 0)).save(tmp_path / f"{number}.png")
    return Thumbnails(tmp_path)


@pytest.fixture
def suggestions(make_suggestions: Callable[..., Suggestions]) -> Callable[..., Suggestions]:
    def make(images: int, classes: int, state: int = 0) -> Suggestions:
        names = tuple(f"class {number}" for number in range(classes))
        table = LabelTable.from_dense(
            [f"{number}.png" for number in range(images)], names, np.full((images, classes), state)
        )
        logits = np.random.default_rng(3).normal(4, 1, table.shape)
        logits[:, 0] -= 3.5
        return make_suggestions(table, logits)

    return make


def shown(strips: list[Strip]) -> list[list[float]]:
    return [[float(tile.caption.split("\xa0")[0]) for tile in strip.tiles] for strip in strips]


def test_recovered_most_and_least_confident_of_each_class(
    thumbnail: Thumbnails, suggestions: Callable[..., Suggestions]
) -> None:
    found = suggestions(40, 3)
    strips = recovered_strips(found, None, thumbnail)
    assert sorted(one.name for one in strips) == ["class 0", "class 1", "class 2"]
    assert [int(one.note.split()[0]) for one in strips] == sorted(np.bincount(found.class_index).tolist(), reverse=True)
    for one in strips:
        column = found.table.class_positions[one.name]
        mine = sorted(
            (suggestion.probability for suggestion in found if suggestion.class_name == one.name), reverse=True
        )
        most, least = shown(one.strips)
        np.testing.assert_allclose(most, np.multiply(mine[:6], 100), atol=0.051)
        np.testing.assert_allclose(least, np.multiply(mine[-4:], 100), atol=0.051)
        assert {tile.mark for strip in one.strips for tile in strip.tiles} == {None}
        assert all(tile.thumbnail for strip in one.strips for tile in strip.tiles)
        assert (found.class_index == column).sum() == len(mine)


def test_few_suggestions_fill_one_strip_without_repeats(
    thumbnail: Thumbnails, suggestions: Callable[..., Suggestions]
) -> None:
    for one in recovered_strips(suggestions(5, 2), None, thumbnail):
        assert [strip.title for strip in one.strips] == ["all, the most confident first"]
    for one in recovered_strips(suggestions(8, 2), None, thumbnail):
        images = [tile.image for strip in one.strips for tile in strip.tiles]
        assert len(images) == len(set(images))


def test_number_of_tiles_does_not_grow_with_the_classes(
    thumbnail: Thumbnails, suggestions: Callable[..., Suggestions]
) -> None:
    strips = recovered_strips(suggestions(40, 60), None, thumbnail)
    assert len(strips) == MOST_CLASSES
    assert sum(len(strip.tiles) for one in strips for strip in one.strips) <= 10 * MOST_CLASSES


def test_marks_match_images_and_classes_of_the_truth_by_name(
    thumbnail: Thumbnails, suggestions: Callable[..., Suggestions]
) -> None:
    found = suggestions(12, 2)
    truth = LabelTable.from_dense(["7.png", "3.png", "1.png"], ["other", "class 1"], [[0, 1], [0, -1], [1, 0]])
    expected = {"7.png": ("right", "right"), "3.png": ("wrong", "wrong")}
    seen = 0
    for one in recovered_strips(found, truth, thumbnail):
        for tile in (tile for strip in one.strips for tile in strip.tiles):
            known = expected.get(tile.image) if one.name == "class 1" else None
            assert (tile.mark, tile.mark_text) == (known or ("open", "not annotated"))
            seen += known is not None
    assert seen


def test_nothing_suggested_no_strips(thumbnail: Thumbnails, suggestions: Callable[..., Suggestions]) -> None:
    assert recovered_strips(suggestions(4, 2, state=1), None, thumbnail) == []


def test_errors_are_the_worst_ranked_cells(thumbnail: Thumbnails) -> None:
    random = np.random.default_rng(5)
    count = 120
    cells = ScoredCells(
        ("a", "b", "c"),
        random.normal(0, 2, count).round(3),
        random.choice(np.array([-1, 1], np.int8), count),
        random.integers(0, 3, count),
        tuple(f"{number}.png" for number in range(40)),
        random.integers(0, 40, count),
    )
    names = [f"{number}.png" for number in cells.image_index]
    thresholds = [0.5, 0.0, -0.5]
    strips = error_strips(
        ["a", "b", "c"], [2, 0], cells, thresholds, lambda logit, column: f"{logit} {column}", thumbnail
    )
    assert [one.name for one in strips] == ["c", "a"]
    for one, column in zip(strips, (2, 0), strict=True):
        everything = list(zip(cells.logits, cells.states, cells.class_index, names, strict=True))
        present = sorted((logit, image) for logit, state, own, image in everything if own == column and state > 0)[:5]
        absent = sorted((-logit, image) for logit, state, own, image in everything if own == column and state < 0)[:5]
        for strip, expected, sign in zip(one.strips, (present, absent), (1, -1), strict=True):
            assert [(sign * float(tile.caption.split()[0]), tile.image) for tile in strip.tiles] == expected
            for tile in strip.tiles:
                found = float(tile.caption.split()[0]) >= thresholds[column]
                assert tile.mark == ("right" if found == (sign > 0) else "wrong")
                assert (
                    tile.mark_text
                    == {(1, 1): "found", (1, 0): "missed", (-1, 1): "false alarm", (-1, 0): "rejected"}[sign, found]
                )
    unmarked = error_strips(["a", "b", "c"], [1], cells, None, lambda logit, column: "", thumbnail)
    assert {tile.mark for strip in unmarked[0].strips for tile in strip.tiles} == {None}
