"""What the figures of a grid share: panels, colours, and pictures whose bytes depend on nothing but the results."""

import io
import math
from collections.abc import Callable

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that colour-blind people can tell apart (Okabe and Ito, 2008), with a grey for their yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#888888")
_STYLE = {
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
    """Draw under fixed settings, whatever those of the user are, and leave his as they were."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=inches, layout="constrained")
        draw(figure)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def columns_of(panels: int) -> int:
    """How many panels stand side by side."""
    return panels if panels <= 4 else 3


def rows_of(panels: int) -> int:
    """How many rows of panels there are."""
    return math.ceil(panels / columns_of(panels))


def axes_of(figure: Figure, panels: int, *, share_y: bool) -> list[Axes]:
    """That many panels, row by row."""
    grid = figure.subplots(rows_of(panels), columns_of(panels), sharey=share_y, squeeze=False)
    axes: list[Axes] = list(grid.flat)
    for spare in axes[panels:]:
        spare.remove()
    return axes[:panels]
