"""One figure per image: one row per label, with the image, the maps over it, and what the label is."""

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from partlabel.drawing.marks import COLOURS, Mark
from partlabel.drawing.overlays import COLOUR_MAP, Ends, Map, overlay, range_text
from partlabel.drawing.thumbnails import fitted

SIDE = 224
TEXT_WIDTH = 250
_GAP = 12
_LINE = 19
_LONGEST = 300
_INK, _SOFT, _FRAME = "#1c2430", "#5a6472", "#c9ced5"
_NOTE = (
    "Each map is stretched from its own lowest to its highest value, unless other ends are named; both stand below it."
)


class Row(NamedTuple):
    """A label of the image: its name, some lines about it, its mark if it has one, and a map `[h, w]` for each
    column, with the ends that it is drawn between where these are not its own lowest and highest value.
    """

    name: str
    lines: tuple[str, ...]
    mark: Mark | None
    maps: tuple[Map, ...]
    ends: tuple[Ends | None, ...] = ()


def draw_explanation(
    image: Image.Image, title: str, columns: Sequence[str], rows: Sequence[Row], legend: Sequence[Mark]
) -> Image.Image:
    """Draw a figure: the text of each label, the image framed in the colour of its mark, then the maps over the image.

    Args:
        image: of any size; it is shown with its longer side at `SIDE` pixels.
        title: what the figure is of.
        columns: what the maps are, in the order of each row's maps.
        rows: the labels, from top to bottom.
        legend: the marks to explain.
    """
    shown = fitted(image, SIDE)
    width = _left(len(columns) + 1)
    header = [_wrapped(text, SIDE, 13, most=4) for text in ("image", *columns)]
    top = 2 * _GAP + 2 * _LINE + _LINE * max(map(len, header))
    blocks = [_text_lines(row) for row in rows]
    heights = [max(shown.height + _LINE, _LINE * (len(block) + 1)) + _GAP for block in blocks]
    footer = _flow(legend, width)
    height = top + sum(heights) + _LINE * (len(footer) + 1) + 2 * _GAP
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    _write(draw, (_GAP, _GAP), _cut(title, width - 2 * _GAP, 16), 16, bold=True)
    for place, lines in enumerate(header):
        for line, text in enumerate(lines):
            _write(draw, (_left(place), 2 * _GAP + (1 + line) * _LINE), text, 13, colour=_SOFT)
    for row, block, below in zip(rows, blocks, heights, strict=True):
        _draw_row(canvas, draw, top, row, block, shown)
        top += below
    _draw_legend(canvas, draw, top, footer)
    return canvas


def _draw_row(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    top: int,
    row: Row,
    block: list[tuple[str, bool]],
    shown: Image.Image,
) -> None:
    for line, (text, bold) in enumerate(block):
        _write(draw, (_GAP, top + line * _LINE), text, 14, bold=bold)
    if row.mark is not None:
        _badge(draw, (_GAP, top + len(block) * _LINE), row.mark)
    frame = _FRAME if row.mark is None else COLOURS[row.mark.kind]
    maps = list(zip_longest(row.maps, row.ends))
    for place, tile in enumerate((shown, *(overlay(shown, one, ends) for one, ends in maps))):
        left = _left(place)
        canvas.paste(tile, (left, top))
        if place:
            _write(draw, (left, top + shown.height + 2), range_text(*maps[place - 1]), 12, colour=_SOFT)
        else:
            draw.rectangle((left - 4, top - 4, left + tile.width + 3, top + tile.height + 3), outline=frame, width=4)


def _draw_legend(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, top: int, lines: Sequence[Sequence[tuple[int, Mark]]]
) -> None:
    for line, marks in enumerate(lines):
        for left, one in marks:
            _badge(draw, (left, top + line * _LINE), one)
    top += len(lines) * _LINE + _GAP // 2
    scale = matplotlib.colormaps[COLOUR_MAP](np.linspace(0, 1, 110))[None, :, :3].repeat(12, axis=0)
    _write(draw, (_GAP, top), "lowest", 12, colour=_SOFT)
    canvas.paste(Image.fromarray(np.rint(255 * scale).astype(np.uint8)), (_GAP + 50, top + 2))
    _write(draw, (_GAP + 168, top), f"highest.  {_NOTE}", 12, colour=_SOFT)


def _left(place: int) -> int:
    """Left edge of the n-th tile of a row; the first is the image."""
    return 2 * _GAP + TEXT_WIDTH + place * (SIDE + _GAP)


def _text_lines(row: Row) -> list[tuple[str, bool]]:
    """Lines of text, and whether they are bold."""
    name = [(text, True) for text in _wrapped(row.name, TEXT_WIDTH, 14, bold=True, most=4)]
    return name + [(text, False) for line in row.lines for text in _wrapped(line, TEXT_WIDTH, 14, most=3)]


def _badge(draw: ImageDraw.ImageDraw, corner: tuple[int, int], one: Mark) -> None:
    """Sign and words on the colour of a mark."""
    x, y = corner
    draw.rounded_rectangle((x, y, x + _badge_width(one), y + _LINE - 3), 4, fill=COLOURS[one.kind])
    _write(draw, (x + 5, y + 1), one.text, 12, colour="white")


def _badge_width(one: Mark) -> int:
    return int(_font(12, False).getlength(one.text)) + 10


def _flow(marks: Sequence[Mark], width: int) -> list[list[tuple[int, Mark]]]:
    """Marks on as many lines as they need, each with its left edge."""
    lines: list[list[tuple[int, Mark]]] = []
    left = width
    for one in marks:
        if left + _badge_width(one) > width - _GAP:
            lines.append([])
            left = _GAP
        lines[-1].append((left, one))
        left += _badge_width(one) + _GAP
    return lines


def _wrapped(text: str, width: int, size: int, *, bold: bool = False, most: int) -> list[str]:
    """The words on lines of at most `width` pixels; what does not fit on `most` lines, or in one, ends in an
    ellipsis.
    """
    lines: list[str] = []
    words = text.split() or [""]
    for place, word in enumerate(words):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _font(size, bold).getlength(longer) <= width:
            lines[-1] = longer
        elif len(lines) == most:
            lines[-1] = " ".join([lines[-1], *words[place:]])
            break
        else:
            lines.append(word)
    return [_cut(line, width, size, bold=bold) for line in lines]


def _cut(text: str, width: int, size: int, *, bold: bool = False) -> str:
    """As much of the text as fits, on one line."""
    font = _font(size, bold)
    text = " ".join(text[:_LONGEST].split())
    if font.getlength(text) <= width:
        return text
    fits = max((count for count in range(len(text)) if font.getlength(text[:count] + "…") <= width), default=0)
    return text[:fits] + "…"


def _write(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size: int, *, bold: bool = False, colour: str = _INK
) -> None:
    draw.text(corner, text, fill=colour, font=_font(size, bold))


@cache
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """The font that comes with matplotlib, so that figures look the same everywhere."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
