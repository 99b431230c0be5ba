"""Figures that explain an image: what a label is, and the heat where the map is high."""

import itertools

import numpy as np
import pytest
from PIL import Image

from partlabel.drawing.explanation import SIDE, TEXT_WIDTH, Row, draw_explanation
from partlabel.drawing.marks import COLOURS, SIGNS, mark, possible_marks

PRESENT, UNKNOWN, ABSENT = 1, 0, -1


@pytest.mark.parametrize(
    ("state", "truth", "predicted", "words"),
    [
        (PRESENT, PRESENT, True, "observed"),
        (PRESENT, ABSENT, False, "observed"),
        (PRESENT, None, True, "observed"),
        (ABSENT, PRESENT, False, "observed as absent"),
        (ABSENT, None, True, "observed as absent"),
        (UNKNOWN, PRESENT, True, "recovered and right"),
        (UNKNOWN, ABSENT, True, "recovered and wrong"),
        (UNKNOWN, UNKNOWN, True, "recovered and not annotated"),
        (UNKNOWN, None, True, "recovered"),
        (UNKNOWN, PRESENT, False, "missed"),
        (UNKNOWN, ABSENT, False, None),
        (UNKNOWN, UNKNOWN, False, None),
        (UNKNOWN, None, False, None),
        (None, PRESENT, True, "predicted and right"),
        (None, ABSENT, True, "predicted and wrong"),
        (None, UNKNOWN, True, "predicted and not annotated"),
        (None, PRESENT, False, "missed"),
        (None, ABSENT, False, None),
        (None, None, True, None),
        (None, None, False, None),
    ],
)
def test_marks(state: int | None, truth: int | None, predicted: bool, words: str | None) -> None:
    found = mark(state, truth, predicted)
    assert (found and found.words) == words
    if found is not None:
        assert found in possible_marks(state is not None, truth is not None)


def test_kinds_differ_in_sign_and_colour_and_legends_hold_no_mark_twice() -> None:
    assert len(set(SIGNS.values())) == len(set(COLOURS.values())) == len(SIGNS)
    legends = {
        case: [one.words for one in possible_marks(*case)] for case in itertools.product((True, False), repeat=2)
    }
    assert legends == {
        (True, True): [
            "observed",
            "observed as absent",
            "recovered and right",
            "recovered and wrong",
            "recovered and not annotated",
            "missed",
        ],
        (True, False): ["observed", "observed as absent", "recovered"],
        (False, True): ["predicted and right", "predicted and wrong", "predicted and not annotated", "missed"],
        (False, False): [],
    }


def rows(count: int = 2) -> list[Row]:
    low = np.zeros((4, 4), np.float32)
    high = low.copy()
    high[3, 0] = 7.5
    return [Row(f"label {number}", ("12.0 %, predicted",), mark(0, 1, True), (high, low)) for number in range(count)]


def test_the_heat_is_where_the_map_is_high() -> None:
    grey = Image.new("RGB", (400, 200), (90, 90, 90))
    figure = draw_explanation(grey, "a.png", ["class map", "backbone"], rows(1), [])
    pixels = np.asarray(figure).astype(int)
    heat = (
        (pixels[..., 0] > 170)
        & (pixels[..., 1] > 140)
        & (pixels[..., 2] < 190)
        & (pixels[..., 0] > pixels[..., 2] + 30)
    )
    found_y, found_x = np.nonzero(heat[:-60])  # below is the scale
    left = 24 + TEXT_WIDTH + SIDE + 12
    assert found_x.size > 50
    assert left <= found_x.min()
    assert found_x.max() < left + SIDE / 2
    frame = np.all(pixels == [0, 0x70, 0x4F], axis=2)
    top = np.nonzero(frame[:, 24 + TEXT_WIDTH])[0].min() + 4
    assert found_y.min() >= top + SIDE / 4
    assert found_y.max() < top + SIDE / 2


def test_frames_have_the_colour_of_the_mark() -> None:
    image = Image.new("RGB", (50, 50), "white")
    for state, truth, predicted in itertools.product((1, 0), (1, 0, -1), (True, False)):
        found = mark(state, truth, predicted)
        row = rows(1)[0]._replace(mark=found)
        pixels = np.asarray(draw_explanation(image, "a", ["x", "y"], [row], []))
        column = pixels[:, 24 + TEXT_WIDTH - 4]
        colour = "#c9ced5" if found is None else COLOURS[found.kind]
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (column == wanted).all(axis=1).sum() == SIDE + 8


def test_awkward_names_and_shapes_are_drawn() -> None:
    """Long, empty, many-line and foreign names, an image one pixel wide, a flat map."""
    names = ["x" * 5000, "", "a\nb\tc", "$\\frac{1$ <b>", "猫 кот", "many words " * 60]
    shown = [row._replace(name=name, lines=(name,)) for row, name in zip(rows(len(names)), names, strict=True)]
    legend = possible_marks(True, True)
    figure = draw_explanation(Image.new("RGB", (1, 3000)), "two\nlines" + "y" * 500, ["m " * 100, "b"], shown, legend)
    assert figure.height < 6 * 400 + 300
    again = draw_explanation(Image.new("RGB", (1, 3000)), "two\nlines" + "y" * 500, ["m " * 100, "b"], shown, legend)
    assert figure.tobytes() == again.tobytes()
