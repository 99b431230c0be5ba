"""Built-in data: scenes of real handwritten digits with complete labels, composed on the spot and written as PNG
files.

The digits are scikit-learn's `load_digits` (8 × 8 grey values, 1,797 digits by 13 writers; Alpaydin and Kaynak,
Optical Recognition of Handwritten Digits, UCI). A scene holds a few of them, small to large, in light colours on a
darker, shaded background, among strokes and scraps of digits that are none. Some digits tend to appear together. Train
and test scenes share no writer.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

from partlabel.errors import StorageError, UsageError
from partlabel.labels import LabelTable

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Writers are contiguous, about 138 digits each: the gap between the blocks is wider than one writer.
_DIGIT_BLOCKS = {"train": slice(0, 1150), "test": slice(1300, 1797)}
_THEMES = ((0, 1, 2), (2, 3, 4), (4, 5, 6, 7), (7, 8), (8, 9, 0))
_IN_THEME_WEIGHT = 4.0
_CLASSES_OF_SCENE = (0.2, 0.35, 0.3, 0.15)
_REPEAT = 0.2
_SMALLEST_SIDE, _LARGEST_SIDE = 16 / 64, 30 / 64  # of the box; the digit in it is a ninth smaller
_ATTEMPTS = 40

Floats = NDArray[np.floating]


class Scenes(NamedTuple):
    """Where the images are, and what is on them.

    Args:
        images: the image root; names in the tables, such as `train/00001.png`, are relative to it.
        train: complete labels of the train scenes, classes `CLASSES`.
        test: complete labels of the test scenes, same classes.
    """

    images: Path
    train: LabelTable
    test: LabelTable


def write_scenes(
    out: Path | str,
    *,
    train: int = 4000,
    test: int = 1000,
    size: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scenes:
    """Compose scenes and write them to `out/images/train` and `out/images/test`.

    A scene depends on the seed, its split, its number and the size alone: with more scenes, the first ones stay the
    same. Images already there under the same names are replaced.

    Args:
        out: folder, made if need be.
        train: number of train scenes.
        test: number of test scenes.
        size: side of a scene in pixels, at least 32; digits are 14/64 to 27/64 of it high.
        seed: of all draws.
        progress: called with (scenes written, scenes in all) after each.

    Raises:
        UsageError: a count or the seed is negative, or the size is below 32.
        StorageError: the folder cannot be written, or the disk is full.
    """
    if min(train, test, seed) < 0 or size < 32:
        raise UsageError(f"train {train}, test {test} and seed {seed} must be at least 0, and size {size} at least 32")
    digits = load_digits()
    images, done = Path(out) / "images", 0
    tables: dict[str, LabelTable] = {}
    for split_number, (split, count) in enumerate({"train": train, "test": test}.items()):
        block = _DIGIT_BLOCKS[split]
        composer = _Composer(digits.images[block].astype(np.float32) / 16, digits.target[block], size)
        names = [f"{split}/{number:05d}.png" for number in range(1, count + 1)]
        states = np.full((count, len(CLASSES)), -1, np.int8)
        for index, name in enumerate(names):
            image, present = composer.scene(np.random.Generator(np.random.PCG64([seed, split_number, index])))
            states[index, present] = 1
            _write_png(images / name, image)
            done += 1
            if progress is not None:
                progress(done, train + test)
        tables[split] = LabelTable.from_dense(names, CLASSES, states)
    return Scenes(images, tables["train"], tables["test"])


class _Composer:
    """Composes scenes from one block of digits: float32 `[n, 8, 8]` in 0..1, and what they are."""

    def __init__(self, digits: Floats, targets: NDArray[np.int64], size: int) -> None:
        self.digits = digits
        self.of_class = [np.flatnonzero(targets == number) for number in range(len(CLASSES))]
        self.size = size

    def scene(self, random: np.random.Generator) -> tuple[NDArray[np.uint8], list[int]]:
        """An image, uint8 `[size, size, 3]`, and the digits on it."""
        canvas = _background(random, self.size)
        for _ in range(random.integers(0, 3)):
            _stroke(random, canvas)
        boxes: list[tuple[int, int, int]] = []
        present = []
        for number in _digits_of_scene(random):
            box = _free_box(random, boxes, self.size)
            if box is not None:
                boxes.append(box)
                present.append(number)
                _ink(random, canvas, box, _warped(random, self.digits[random.choice(self.of_class[number])], box[2]))
        for _ in range(random.integers(0, 2)):
            box = _free_box(random, boxes, self.size)
            if box is not None:
                boxes.append(box)
                _ink(random, canvas, box, self._scrap(random, box[2]))
        canvas += random.normal(0, random.uniform(2, 6), canvas.shape)
        return canvas.clip(0, 255).round().astype(np.uint8), sorted(set(present))

    def _scrap(self, random: np.random.Generator, side: int) -> Floats:
        """A quarter of a digit, at the scale of a whole one."""
        digit = self.digits[random.integers(len(self.digits))]
        row, column = random.integers(0, 5, 2)
        quarter = np.zeros_like(digit)
        quarter[2:6, 2:6] = digit[row : row + 4, column : column + 4]
        return _warped(random, quarter, side)


def _digits_of_scene(random: np.random.Generator) -> list[int]:
    """Different digits, those of one theme more likely; now and then one of them comes twice."""
    weights = np.ones(len(CLASSES))
    weights[list(_THEMES[random.integers(len(_THEMES))])] = _IN_THEME_WEIGHT
    count = 1 + random.choice(len(_CLASSES_OF_SCENE), p=_CLASSES_OF_SCENE)
    chosen: list[int] = random.choice(len(CLASSES), count, replace=False, p=weights / weights.sum()).tolist()
    return [*chosen, chosen[0]] if random.random() < _REPEAT else chosen


def _background(random: np.random.Generator, size: int) -> Floats:
    """A gradient between two dark colours, float32 `[size, size, 3]`."""
    brightness = random.uniform(20, 70)
    first, second = (brightness + random.uniform(-30, 30, 3) for _ in range(2))
    angle = random.uniform(0, 2 * np.pi)
    along = np.linspace(-0.5, 0.5, size)
    share = 0.5 + 0.7 * (np.cos(angle) * along[:, None] + np.sin(angle) * along[None, :])
    gradient: Floats = (first + share[:, :, None] * (second - first)).astype(np.float32)
    return gradient


def _free_box(random: np.random.Generator, taken: list[tuple[int, int, int]], size: int) -> tuple[int, int, int] | None:
    """(top, left, side) that hardly overlaps the boxes taken, rather small than large; None if no room is found."""
    for _ in range(_ATTEMPTS):
        side = round(size * (_SMALLEST_SIDE + (_LARGEST_SIDE - _SMALLEST_SIDE) * random.beta(1, 1.3)))
        top, left = random.integers(0, size - side + 1, 2).tolist()
        if all(_overlap((top, left, side), other) <= 0.08 * min(side, other[2]) ** 2 for other in taken):
            return top, left, side
    return None


def _overlap(one: tuple[int, int, int], other: tuple[int, int, int]) -> int:
    height, width = (min(one[axis] + one[2], other[axis] + other[2]) - max(one[axis], other[axis]) for axis in (0, 1))
    return max(height, 0) * max(width, 0)


def _warped(random: np.random.Generator, digit: Floats, side: int) -> Floats:
    """The 8 × 8 digit enlarged to `side`, a little turned, slanted and narrowed; opacity in 0..1."""
    turn, slant, narrow = random.uniform(-0.1, 0.1), random.uniform(-0.1, 0.1), random.uniform(1.0, 1.1)
    step = 9 / side  # a margin of half a cell, so that turning cuts nothing off
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = step * np.array([[narrow, slant], [0, 1]]) @ rotation
    offset = 4 - matrix @ np.array([side / 2, side / 2])
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    source = Image.fromarray((digit * 255).astype(np.uint8))
    warped = source.transform((side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(warped, np.float32) / 255


def _ink(random: np.random.Generator, canvas: Floats, box: tuple[int, int, int], opacity: Floats) -> None:
    """Lay a light colour over the canvas."""
    top, left, side = box
    patch = canvas[top : top + side, left : left + side]
    colour = random.uniform(190, 235) + random.uniform(-30, 30, 3)
    patch += opacity[:, :, None] * (colour.astype(np.float32) - patch)


def _stroke(random: np.random.Generator, canvas: Floats) -> None:
    """A long arc or a straight line across the scene."""
    size = len(canvas)
    mask = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(mask)
    width = int(random.integers(2, 7))
    first, second = random.integers(-size // 2, 5 * size // 2, (2, 2))
    if random.random() < 0.5:
        pen.line([*first.tolist(), *second.tolist()], fill=255, width=width)
    else:
        corner, radius, start = first.tolist(), int(random.integers(size // 2, 2 * size)), random.uniform(0, 360)
        box = [corner[0] - radius, corner[1] - radius, corner[0] + radius, corner[1] + radius]
        pen.arc(box, start, start + random.uniform(60, 300), fill=255, width=width)
    opacity = np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float32) / 255
    _ink(random, canvas, (0, 0, size), opacity * random.uniform(0.3, 0.8))


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write under another name and rename: thousands of small files, so without the fsync of `partlabel.files`."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG", compress_level=3)
    temporary = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(encoded.getvalue())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}; free some space or choose another folder"
        ) from error
