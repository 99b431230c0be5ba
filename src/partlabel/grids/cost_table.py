"""What the cells of a grid took, apart from the tables of results: times are never the same twice."""

from collections.abc import Mapping, Sequence
from typing import Any

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid

_HEADS = ("row", "trainings", "seconds each", "seconds in all", "memory, MB", "GPU memory, MB", "device")
_CAPTION = """\
- A training with its judging on the test labels. Where learning rates are searched, the first seed has the seconds of
  all of them.
- Memory is the most that the training process had resident; processes that decode images are not counted. GPU memory is
  the most that torch had allocated.
- *: some were stopped and went on; their seconds are those of the last part.
- Seconds of machines that did other things besides, or of different machines, do not compare."""


def cost_table(grid: Grid, records: Mapping[Cell, Record]) -> str:
    """Markdown with a table for each data set and masking, rows that others begin from first."""
    parts = ["# What it took", _CAPTION]
    for data in grid.data:
        for masking in grid.maskings:
            lines = [_line(_HEADS), "|---|" + "---:|" * (len(_HEADS) - 2) + "---|"]
            for label in (*grid.starts, *grid.rows):
                cells = [Cell(data, masking, label, seed) for seed in grid.seeds]
                costs = [record["cost"] for cell in cells if "cost" in (record := records.get(cell, {}))]
                if costs:
                    lines.append(_line((label, *_entries(costs))))
            if len(lines) > 2:
                parts += [f"## {data} / {masking}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _entries(costs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    seconds = [cost["seconds"] for cost in costs]
    star = "*" * any(cost["resumed"] for cost in costs)
    gpu = [cost["gpu_memory_mb"] for cost in costs if cost["gpu_memory_mb"] is not None]
    return (
        str(len(costs)),
        f"{sum(seconds) / len(seconds):.1f}{star}",
        f"{sum(seconds):.1f}{star}",
        f"{max(cost['memory_mb'] for cost in costs):,}",
        f"{max(gpu):,}" if gpu else "-",
        ", ".join(sorted({cost["device"] for cost in costs})),
    )


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
