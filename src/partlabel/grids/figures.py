"""The figures beside the table of a grid."""

from pathlib import Path
from typing import NamedTuple

from partlabel.files import write_bytes
from partlabel.grids.curves import curve_plot
from partlabel.grids.measures import MEASURES
from partlabel.grids.plots import measure_plot
from partlabel.grids.summary import Results


class Figure(NamedTuple):
    """A figure beside the table.

    Args:
        name: of the file.
        shows: a measure, or "" for the curves over training.
    """

    name: str
    shows: str


def write_figures(out: Path, results: Results) -> list[Figure]:
    """Draw each measure of the grid, and its curves; a figure of an earlier call with nothing to show now is deleted.

    Args:
        out: the folder of the table, with the run folders in `runs`.
        results: what to draw.

    Returns:
        What was drawn.
    """
    drawn = []
    for measure in MEASURES:
        content = measure_plot(results, measure) if measure in results.grid.measures else None
        drawn += _put(out, Figure(f"plot-{measure.replace(' ', '-')}.png", measure), content)
    return drawn + _put(out, Figure("curves.png", ""), curve_plot(results, out / "runs"))


def _put(out: Path, figure: Figure, content: bytes | None) -> list[Figure]:
    if content is None:
        (out / figure.name).unlink(missing_ok=True)
        return []
    write_bytes(out / figure.name, content)
    return [figure]
