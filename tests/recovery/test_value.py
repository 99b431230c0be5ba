"""What is asked first, against loops over classes and cells."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.recovery.value import ALIKE, Askable, Candidates, FloatArray, by_value, candidates, directions_of

IMAGES, CLASSES = 37, 4
RANDOM = np.random.default_rng(5)
PROBABILITY = RANDOM.random((IMAGES, CLASSES))
OPEN = RANDOM.random((IMAGES, CLASSES)) < 0.7
APART = np.eye(IMAGES, dtype=np.float32)


def _blocks(size: int, probability: FloatArray = PROBABILITY, first: int = 0) -> Iterator[Askable]:
    for start in range(0, len(probability), size):
        rows = np.arange(start, min(start + size, len(probability)))
        yield Askable(first + rows, probability[rows], OPEN[: len(probability)][rows])


def _least_certain(probability: FloatArray, column: int) -> list[int]:
    """Open cells of a class, the nearest to one half first, equal ones in the order of their images."""
    found: list[int] = []
    for row in range(len(probability)):
        if not OPEN[row, column]:
            continue
        place = 0
        while place < len(found) and abs(probability[found[place], column] - 0.5) <= abs(
            probability[row, column] - 0.5
        ):
            place += 1
        found.insert(place, row)
    return found


def _in_turn(found: Candidates, present: list[int], directions: np.ndarray, alike: float) -> list[tuple[int, int]]:
    """(image, class) from the formula, one class and one cell at a time."""
    told: list[tuple[float, int, int]] = []
    for column in range(found.rows.shape[1]):
        expected, value, asked = float(present[column]), math.inf, []
        for row, p in zip(found.rows[:, column], found.probability[:, column], strict=True):
            if row < 0:
                continue
            if any(sum(a * b for a, b in zip(directions[row], directions[one], strict=True)) >= alike for one in asked):
                continue
            asked.append(row)
            value = min(value, p * (1 - p) / (expected + 1 / 2))
            expected += p
            told.append((value, int(row), column))
    order: list[tuple[int, int]] = []
    while told:
        best = max(told, key=lambda one: one[0])  # the first one of equals
        told.remove(best)
        order.append(best[1:])
    return order


def _pairs(
    found: Candidates, present: list[int], directions: np.ndarray = APART, most: int = 1000, alike: float = ALIKE
) -> list[tuple[int, int]]:
    rows, columns = by_value(found, np.array(present), directions.astype(np.float32), most, alike)
    assert rows.dtype == columns.dtype == np.int64
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _one_class(*probability: float) -> Candidates:
    """Candidates of one class, images 0, 1, ... in this order."""
    return Candidates(np.arange(len(probability))[:, None], np.array(probability)[:, None])


@pytest.mark.parametrize("size", [1, 5, IMAGES, 100])
@pytest.mark.parametrize("most", [1, 3, 20, 100])
def test_candidates_are_the_least_certain_open_cells_in_blocks_of_any_size(size: int, most: int) -> None:
    found = candidates(_blocks(size, first=10), CLASSES, most)
    assert found.rows.shape == found.probability.shape == (min(most, IMAGES), CLASSES)
    for column in range(CLASSES):
        wanted = _least_certain(PROBABILITY, column)[:most]
        rows = found.rows[:, column].tolist()
        assert rows[: len(wanted)] == [10 + row for row in wanted]
        assert set(rows[len(wanted) :]) <= {-1}
        np.testing.assert_array_equal(found.probability[: len(wanted), column], PROBABILITY[wanted, column])


@pytest.mark.parametrize("size", [1, 4, IMAGES])
def test_equally_certain_cells_keep_the_order_of_their_images(size: int) -> None:
    probability = np.round(PROBABILITY * 4) / 4  # 0.25 is as uncertain as 0.75
    found = candidates(_blocks(size, probability), CLASSES, 15)
    for column in range(CLASSES):
        assert found.rows[:, column].tolist() == _least_certain(probability, column)[:15]


def test_two_hundred_cells_of_a_class_are_looked_at() -> None:
    probability = np.linspace(0.5, 0.9, 300)[:, None]
    block = Askable(np.arange(300), probability, np.ones((300, 1), bool))
    assert candidates([block], 1).rows[:, 0].tolist() == list(range(200))


def test_nothing_to_ask_gives_nothing() -> None:
    nothing = candidates([], CLASSES)
    assert nothing.rows.shape == (0, CLASSES)
    assert _pairs(nothing, [0] * CLASSES) == []
    closed = candidates([Askable(np.arange(3), np.full((3, 2), 0.5), np.zeros((3, 2), bool))], 2)
    assert _pairs(closed, [0, 0]) == []
    assert _pairs(candidates([], 0), []) == []


@given(st.integers(0, 10_000), st.sampled_from([ALIKE, 0.3, 1.1]), st.integers(0, 30))
def test_the_order_is_that_of_the_formula(seed: int, alike: float, most: int) -> None:
    random = np.random.default_rng(seed)
    probability = random.beta(0.7, 1.5, (12, 3))
    directions = directions_of(random.normal(size=(12, 2)).astype(np.float32))
    found = candidates([Askable(np.arange(12), probability, random.random((12, 3)) < 0.8)], 3, 10)
    present = random.integers(0, 6, 3).tolist()
    wanted = _in_turn(found, present, directions, alike)
    assert _pairs(found, present, directions, most, alike=alike) == wanted[:most]


def test_values_by_hand() -> None:
    """Of class 0, of which nothing is known: 1/4 : 1/2 = 0.5, then, with ½ expected, 1/4 : 1 = 0.25. Of class 1, with
    one known: 1/4 : 3/2 = 0.167. Class 2 with one tenth: 0.09 : 1/2 = 0.18.
    """
    found = Candidates(np.array([[0, 0, 0], [1, -1, -1]]), np.array([[0.5, 0.5, 0.1], [0.5, 0.5, 0.5]]))
    assert _pairs(found, [0, 1, 0]) == [(0, 0), (1, 0), (0, 2), (0, 1)]
    assert _pairs(found, [0, 1, 0], most=2) == [(0, 0), (1, 0)]


def test_a_class_with_many_known_images_waits_for_a_rare_one() -> None:
    found = Candidates(np.array([[0, 1]]), np.array([[0.4, 0.4]]))
    assert _pairs(found, [7, 2]) == [(1, 1), (0, 0)]
    assert _pairs(found, [2, 7]) == [(0, 0), (1, 1)]


def test_half_an_image_is_added_to_those_known() -> None:
    """Without it, a class of which nothing is known would come before all others, however sure the model is of it."""
    found = Candidates(np.array([[0, 1]]), np.array([[0.5, 0.01]]))
    assert _pairs(found, [1, 0]) == [(0, 0), (1, 1)]  # 0.25 : 1.5 = 0.17 and 0.0099 : 0.5 = 0.02


def test_what_is_asked_before_counts_as_far_as_it_is_likely() -> None:
    """0.25 : 0.5, then 0.24 : 1.0, while the other class is worth 0.25 : 0.75 (0.25 expected would give 0.3)."""
    found = Candidates(np.array([[0, 2], [1, -1]]), np.array([[0.5, 0.3], [0.4, 0.0]]))
    assert _pairs(found, [0, 0]) == [(0, 0), (2, 1), (1, 0)]  # 0.5, 0.42, 0.24; without growth 0.5, 0.48, 0.42


def test_values_never_rise_within_a_class() -> None:
    """A hopeless cell before a promising one (only another order of candidates gives that): both wait."""
    first = Candidates(np.array([[0, 2], [1, -1]]), np.array([[0.01, 0.1], [0.5, 0.0]]))
    assert _pairs(first, [0, 0]) == [(2, 1), (0, 0), (1, 0)]


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_of_a_burst_a_class_is_asked_once(noise: float) -> None:
    random = np.random.default_rng(1)
    frames = np.repeat(random.normal(size=(3, 20)), [4, 1, 2], axis=0)
    directions = directions_of((frames + noise * random.normal(size=frames.shape)).astype(np.float32))
    found = Candidates(np.stack([np.arange(7), np.arange(7)[::-1]], 1), np.full((7, 2), 0.5))
    asked = _pairs(found, [0, 0], directions)
    assert [row for row, column in asked if column == 0] == [0, 4, 5]
    assert [row for row, column in asked if column == 1] == [6, 4, 3]  # another class of the same images
    everything = _pairs(found, [0, 0], directions, alike=1.01)
    assert sorted(everything) == [(row, column) for row in range(7) for column in (0, 1)]


def test_images_are_alike_from_the_stated_cosine_on() -> None:
    for cosine, asked in ((0.851, 1), (0.849, 2)):
        directions = np.array([[1, 0], [cosine, math.sqrt(1 - cosine**2)]])
        assert len(_pairs(_one_class(0.5, 0.5), [0], directions)) == asked


def test_alike_to_what_was_left_out_is_not_alike_to_what_was_asked() -> None:
    """Steps of 25°: the second is like the first, the third like the second alone."""
    angles = np.deg2rad([0, 25, 50])
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert [row for row, _ in _pairs(_one_class(0.5, 0.5, 0.5), [0], directions)] == [0, 2]


def test_directions_have_no_mean_and_length_one() -> None:
    features = np.random.default_rng(2).gamma(2.0, 1.0, (9, 5)).astype(np.float32)
    features[3] = features[[0, 1, 2, 4, 5, 6, 7, 8]].mean(0)  # the mean of all
    found = directions_of(features)
    assert found.dtype == np.float32
    for row in range(9):
        if row == 3:
            continue
        centred = [float(features[row, j]) - sum(float(one) for one in features[:, j]) / 9 for j in range(5)]
        length = math.sqrt(sum(value * value for value in centred))
        np.testing.assert_allclose(found[row], [value / length for value in centred], atol=1e-5)
    assert not directions_of(np.ones((3, 2), np.float32)).any()  # and no division by 0
