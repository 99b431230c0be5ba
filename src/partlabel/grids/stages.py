"""Which cells of a grid are to be run: all of them, or, with `top`, the best rows of a first seed with the other
seeds.

What is chosen follows from the grid and the records of the first seed alone, so that it does not matter how often a
grid was interrupted, or what was chosen before. Test labels have no part in it.
"""

import itertools
from collections.abc import Mapping

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid


def held_out_map(record: Record) -> float | None:
    """What models of a run were chosen by: mAP of held-out cells, among unknown ones where no absent cell is known."""
    judged = record.get("held_out") or {}
    value = judged["mAP"] if judged.get("mAP") is not None else judged.get("mAP_among_unknown")
    return None if value is None else float(value)


def finalists(grid: Grid, records: Mapping[Cell, Record], data: str, masking: str) -> tuple[str, ...] | None:
    """The rows that all seeds run, the best first; None while the first seed has not been through every row.

    Equal rows stay in the order of the grid; those without a held-out mAP are not chosen.
    """
    if grid.top is None:
        return tuple(grid.rows)
    first = {method: records.get(Cell(data, masking, method, grid.seeds[0])) for method in grid.rows}
    values = {}
    for method, record in first.items():
        if record is None:
            return None
        if record["status"] == "done" and (value := held_out_map(record)) is not None:
            values[method] = value
    return tuple(sorted(values, key=lambda method: -values[method])[: grid.top])


def wanted(grid: Grid, records: Mapping[Cell, Record], cell: Cell) -> bool:
    """Whether a cell is to be run, as far as is known by now."""
    return cell.seed == grid.seeds[0] or cell.method in (finalists(grid, records, cell.data, cell.masking) or ())


def outstanding(grid: Grid, records: Mapping[Cell, Record]) -> int:
    """How many cells are still to be run; at most, while it is not known which rows go on."""
    count = 0
    for data, masking in itertools.product(grid.data, grid.maskings):
        chosen, first, later = finalists(grid, records, data, masking), grid.seeds[0], grid.seeds[1:]
        count += sum(Cell(data, masking, method, first) not in records for method in grid.rows)
        if chosen is None:
            count += min(grid.top or 0, len(grid.rows)) * len(later)
        else:
            count += sum(Cell(data, masking, method, seed) not in records for method in chosen for seed in later)
    return count
