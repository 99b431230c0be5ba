"""What all figures share: style, panels, colours, and bytes that depend on nothing but what is drawn."""

import io
import math
from collections.abc import Callable
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partlabel.drawing.thumbnails import data_uri

# Colours that colour-blind people can tell apart (Okabe and Ito, 2008), with a grey for their yellow, which is faint on
# white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
MARKERS = "os^vDPX*"
_STYLE = {
    "svg.hashsalt": "partlabel",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "text.parse_math": False,  # labels are the user's; a dollar sign in them is one
}


def png(inches: tuple[float, float], draw: Callable[[Figure], None]) -> bytes:
    """Draw a PNG at 120 dots per inch."""
    return _drawn(inches, draw, format="png", dpi=120, metadata={"Software": None})


def svg(inches: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    """Draw an SVG, as a data URI."""
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return data_uri("image/svg+xml", _drawn(inches, draw, format="svg", metadata=nothing))


def _drawn(inches: tuple[float, float], draw: Callable[[Figure], None], **options: Any) -> bytes:
    """Draw under fixed settings, whatever the user's are, and leave theirs as they were."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, **options)
    return stream.getvalue()


def columns_of(panels: int) -> int:
    """How many panels stand side by side."""
    return panels if panels <= 4 else 3


def rows_of(panels: int) -> int:
    """How many rows of panels there are."""
    return math.ceil(panels / columns_of(panels))


def axes_of(figure: Figure, panels: int, *, share_y: bool, columns: int | None = None) -> list[Axes]:
    """That many panels, row by row; as many side by side as suit if `columns` is left out."""
    columns = columns or columns_of(panels)
    grid = figure.subplots(math.ceil(panels / columns), columns, sharey=share_y, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for spare in axes[panels:]:
        spare.remove()
    return axes[:panels]
