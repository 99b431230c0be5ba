"""The pictures beside the table of a grid."""

from pathlib import Path
from typing import NamedTuple

from partlabel.files import write_bytes
from partlabel.grids.curves import curve_plot
from partlabel.grids.measures import MEASURES
from partlabel.grids.plots import measure_plot
from partlabel.grids.summary import Results


class Picture(NamedTuple):
    """A picture beside the table.

    Args:
        name: of the file.
        shows: a measure, or "" for the curves over training.
    """

    name: str
    shows: str


def write_figures(out: Path, results: Results) -> list[Picture]:
    """Draw each measure of the grid, and its curves; a picture of an earlier call with nothing to show now is deleted.

    Args:
        out: the folder of the table, with the run folders in `runs`.
        results: what to draw.

    Returns:
        What was drawn.
    """
    drawn = []
    for measure in MEASURES:
        content = measure_plot(results, measure) if measure in results.grid.measures else None
        drawn += _put(out, Picture(f"plot-{measure.replace(' ', '-')}.png", measure), content)
    return drawn + _put(out, Picture("curves.png", ""), curve_plot(results, out / "runs"))


def _put(out: Path, picture: Picture, content: bytes | None) -> list[Picture]:
    if content is None:
        (out / picture.name).unlink(missing_ok=True)
        return []
    write_bytes(out / picture.name, content)
    return [picture]
