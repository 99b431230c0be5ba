"""The figure of a few test images with their present labels, and which method recognises each."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from partlabel.drawing.figure import COLOURS, MARKERS, png
from partlabel.drawing.thumbnails import fitted, read_image
from partlabel.grids.recognised import Ranks
from partlabel.grids.summary import Results, Setting

_WIDEST = 11.0
_SIDE, _LINE, _COLUMN, _GAP, _LETTER = 1.5, 0.17, 0.15, 0.15, 0.068
"""In inches: the longer side of an image, a label, a mark, what lies between, and a letter."""
_DOTS = 240
_LONGEST = 32
_SOFT, _MISSED = "#555555", "#cccccc"


class Block(NamedTuple):
    """An image and its present labels.

    Args:
        image: its name.
        labels: for each, the methods that recognise it; the label that fewest do comes first.
    """

    image: str
    labels: list[tuple[str, frozenset[str]]]


def blocks_of(ranks: Mapping[str, Ranks], images: int, top: int) -> list[Block]:
    """The first images that all methods have ranks of.

    Args:
        ranks: by method.
        images: how many at most.
        top: a label is recognised if its rank is at most this.
    """
    if not ranks:
        return []
    first = next(iter(ranks.values()))
    blocks = []
    for image in [image for image in first if all(image in one for one in ranks.values())][:images]:
        found = [
            (label, frozenset(method for method, one in ranks.items() if one[image][label] <= top))
            for label in first[image]
        ]
        blocks.append(Block(image, sorted(found, key=lambda item: len(item[1]))))
    return blocks


def recognised_plot(results: Results, roots: Mapping[str, Path]) -> bytes | None:
    """A PNG with the images of each data set and masking, on the first seed; None if the grid asks for none or no cell
    has ranks.

    Args:
        results: the results.
        roots: the image folder of each data set.
    """
    asked = results.grid.recognised
    if asked is None:
        return None
    sections, methods = {}, set()
    for setting in results.settings:
        ranks = _ranks(results, setting)
        if blocks := blocks_of(ranks, asked.images, asked.top):
            sections[setting] = blocks
            methods |= set(ranks)
    if not sections:
        return None
    sheet = _Sheet(sections, [method for method in results.grid.rows if method in methods], roots)
    title = f"marked: among the {asked.top} highest predictions of the image (seed {results.grid.seeds[0]})"
    return png(sheet.inches, lambda figure: sheet.draw(figure, title))


def _ranks(results: Results, setting: Setting) -> dict[str, Ranks]:
    seed, found = results.grid.seeds[0], {}
    for method in results.grid.rows:
        record = results.of_seeds(*setting, method).get(seed, {})
        if ranks := record.get("present_ranks"):
            found[method] = ranks
    return found


class _Sheet:
    """Where everything stands, in inches from the upper left corner."""

    def __init__(
        self, sections: Mapping[Setting, Sequence[Block]], methods: Sequence[str], roots: Mapping[str, Path]
    ) -> None:
        self.sections, self.methods, self.roots = sections, methods, roots
        blocks = [block for found in sections.values() for block in found]
        letters = max(len(_cut(label)) for block in blocks for label, _ in block.labels)
        self.marks = _SIDE + _GAP
        self.names = self.marks + _COLUMN * len(methods) + _GAP / 2
        self.block = self.names + _LETTER * letters + _GAP
        self.in_a_row = max(1, min(3, int(_WIDEST / self.block), max(map(len, sections.values()))))
        width = max(4.5, _GAP + self.block * self.in_a_row)
        self.legend_columns = max(1, min(len(methods), int(width / (0.6 + _LETTER * max(map(len, methods))))))
        legend = 0.35 + 0.19 * math.ceil(len(methods) / self.legend_columns)
        self.inches = (width, sum(map(self._height, sections.values())) + legend)

    def _height(self, blocks: Sequence[Block]) -> float:
        return 2 * _LINE + _GAP + sum(self._row_heights(blocks))

    def _row_heights(self, blocks: Sequence[Block]) -> list[float]:
        rows = [blocks[start : start + self.in_a_row] for start in range(0, len(blocks), self.in_a_row)]
        return [max(_SIDE + _LINE, *(_LINE * len(block.labels) for block in row)) + _GAP for row in rows]

    def draw(self, figure: Figure, title: str) -> None:
        """Draw all of it."""
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.inches[0]), ylim=(self.inches[1], 0))
        axes.axis("off")
        top = 0.0
        for setting, blocks in self.sections.items():
            top += _GAP
            axes.text(_GAP, top + _LINE / 2, " / ".join(setting), va="center", weight="bold")
            top += 2 * _LINE
            for row, height in enumerate(self._row_heights(blocks)):
                for place, block in enumerate(blocks[row * self.in_a_row : (row + 1) * self.in_a_row]):
                    self._draw_block(axes, _GAP + place * self.block, top, block, self.roots[setting[0]])
                top += height
        keys = [
            Line2D([], [], color=colour, marker=marker, linestyle="", markersize=5, label=method)
            for method, (colour, marker) in self._styles().items()
        ]
        figure.legend(handles=keys, loc="lower center", ncols=self.legend_columns, title=title)

    def _draw_block(self, axes: Axes, left: float, top: float, block: Block, root: Path) -> None:
        decoded = read_image(root, block.image, _DOTS)
        bottom = top + _SIDE
        if decoded is None:
            axes.text(left, top + _LINE / 2, "cannot be shown", va="center", color=_SOFT)
        else:
            shown = fitted(decoded.convert("RGB"), _DOTS)
            width, height = (_SIDE * side / max(shown.size) for side in shown.size)
            bottom = top + height
            axes.imshow(np.asarray(shown), extent=(left, left + width, bottom, top), aspect="auto")
        name = block.image if len(block.image) <= _LONGEST // 2 + 6 else "…" + block.image[-_LONGEST // 2 - 5 :]
        axes.text(left, bottom + _LINE / 2, name, va="center", color=_SOFT, fontsize=6)
        for line, (label, recognised) in enumerate(block.labels):
            y = top + _LINE * (line + 0.5)
            for column, (method, (colour, marker)) in enumerate(self._styles().items()):
                x = left + self.marks + _COLUMN * (column + 0.5)
                if method in recognised:
                    axes.plot(x, y, marker, color=colour, markersize=5)
                else:
                    axes.plot(x, y, "_", color=_MISSED, markersize=4)
            axes.text(left + self.names, y, _cut(label), va="center")

    def _styles(self) -> dict[str, tuple[str, str]]:
        """Colour and marker of each method; after eight of them the same colour has another marker."""
        colours, markers = len(COLOURS), len(MARKERS)
        return {
            method: (COLOURS[number % colours], MARKERS[(number + number // colours) % markers])
            for number, method in enumerate(self.methods)
        }


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
