"""What of a grid is to be run, and what each cell trains with.

Every cell is run, or, with `top`, the best rows of a first seed with the other seeds. What is chosen follows from the
grid and the records of the first seed alone, so that it does not matter how often a grid was interrupted, which
processes ran it, or what was chosen before. Test labels have no part in it.
"""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from partlabel.grids.cell import Cell, Record, digest
from partlabel.grids.data import Loaded
from partlabel.grids.grid import Grid, Row
from partlabel.methods.auto import AUTO, RULES


class Plan(NamedTuple):
    """What a cell trains with: settings, learning rates to search, and the key of all that its result depends on."""

    settings: dict[str, Any]
    rates: tuple[float, ...]
    key: str


class Waiting(NamedTuple):
    """A cell that cannot be planned yet: another one is to find its learning rate first."""

    search: Cell


class Failed(NamedTuple):
    """A cell that cannot be run, and why."""

    error: str


class HeldOut(NamedTuple):
    """What models of a run were chosen by: mAP of held-out cells in 0..1, or, where no absent cell is known, their mAP
    among unknown cells.
    """

    value: float
    among_unknown: bool


def search_of(grid: Grid, cell: Cell) -> Cell | None:
    """The cell whose search finds the learning rate of this one; None if it needs no other's."""
    takes_over = grid.rows[cell.method].rates and cell.seed != grid.seeds[0]
    return cell._replace(seed=grid.seeds[0]) if takes_over else None


def make_plan(grid: Grid, data: Loaded, records: Mapping[Cell, Record], cell: Cell) -> Plan | Waiting | Failed:
    """What a cell trains with, if that is known by now and it can be run at all."""
    row, masking = grid.rows[cell.method], grid.maskings[cell.masking]
    settings, rates = {**row.settings, "seed": cell.seed}, row.rates
    if search := search_of(grid, cell):
        found = records.get(search)
        if found is None:
            return Waiting(search)
        if found["status"] != "done":
            return Failed(f"the search of its learning rate, on seed {search.seed}, failed")
        settings["lr"], rates = found["lr"], ()
    key = digest(
        {
            "train": data.train.hash,
            "test": data.test.hash,
            "masking": masking.name,
            "masking settings": masking.settings,
            "settings": row.written,
            "lr": rates or settings.get("lr"),
            "seed": cell.seed,
            **_rules(row),
            **_recovered(data),
        }
    )
    return Plan(settings, rates, key)


def _recovered(data: Loaded) -> dict[str, Any]:
    """Which cells are recovered, since these are never held out; hashes of tables leave sources out."""
    known = data.train.without_recovered()
    return {} if known is data.train else {"without recovered": known.hash}


def _rules(row: Row) -> dict[str, Any]:
    """What a row that leaves its method to the rules depends on besides."""
    if row.settings["method"] != AUTO:
        return {}
    return {"rules": [[rule.when, rule.method, rule.settings] for rule in RULES]}


def held_out(record: Record) -> HeldOut | None:
    """What models of a run were chosen by; None if nothing was held out."""
    judged = record.get("held_out") or {}
    for name in ("mAP", "mAP_among_unknown"):
        if judged.get(name) is not None:
            return HeldOut(float(judged[name]), name != "mAP")
    return None


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
        if record["status"] == "done" and (judged := held_out(record)) is not None:
            values[method] = judged.value
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
