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
    """What a cell trains with: settings, learning rates to search, the cell whose weights it begins from, and the key
    of all that its result depends on.
    """

    settings: dict[str, Any]
    rates: tuple[float, ...]
    start: Cell | None
    key: str


class Waiting(NamedTuple):
    """A cell that cannot be planned yet, because another one comes first, to find its learning rate or its first
    weights.
    """

    first: Cell


class Settled(NamedTuple):
    """A cell that is not run, because one that it rests on has failed or does not fit; its record says why."""

    record: Record


class HeldOut(NamedTuple):
    """What models of a run were chosen by: mAP of held-out cells in 0..1, or, where no absent cell is known, their mAP
    among unknown cells.
    """

    value: float
    among_unknown: bool


def cells_of(grid: Grid) -> list[Cell]:
    """All cells there may be, each after those that it rests on: the first seed of a setting before the others, a row
    before those that begin from it.
    """
    labels = sorted((*grid.starts, *grid.rows), key=lambda label: _starts_before(grid, label))
    return [
        Cell(data, masking, method, seed)
        for data, masking, seed, method in itertools.product(grid.data, grid.maskings, grid.seeds, labels)
    ]


def _starts_before(grid: Grid, label: str) -> int:
    """How many rows are trained one after the other before this one."""
    start = grid.row(label).start
    return 0 if start is None else 1 + _starts_before(grid, start)


def search_of(grid: Grid, cell: Cell) -> Cell | None:
    """The cell whose search finds the learning rate of this one; None if it needs no other's."""
    takes_over = grid.row(cell.method).rates and cell.seed != grid.seeds[0]
    return cell._replace(seed=grid.seeds[0]) if takes_over else None


def start_of(grid: Grid, cell: Cell) -> Cell | None:
    """The cell whose weights this one begins from."""
    start = grid.row(cell.method).start
    return None if start is None else cell._replace(method=start)


def begun_by(grid: Grid, cell: Cell) -> list[Cell]:
    """The cells that begin from the weights of this one."""
    return [
        cell._replace(method=label) for label, row in {**grid.starts, **grid.rows}.items() if row.start == cell.method
    ]


def make_plan(grid: Grid, data: Loaded, records: Mapping[Cell, Record], cell: Cell) -> Plan | Waiting | Settled:
    """What a cell trains with, if that is known by now and it can be run at all."""
    row, masking = grid.row_of(cell.data, cell.masking, cell.method), grid.maskings[cell.masking]
    settings, rates = {**row.settings, "seed": cell.seed}, row.rates
    search, start = search_of(grid, cell), start_of(grid, cell)
    for first, what in ((search, f"the search of its learning rate, on seed {grid.seeds[0]},"), (start, "its start")):
        if first is not None:
            found = records.get(first)
            if found is None:
                return Waiting(first)
            if found["status"] != "done":
                return Settled(_settled(found, what))
    if search is not None:
        settings["lr"], rates = records[search]["lr"], ()
    key = digest(
        {
            "train": data.train.hash,
            "test": data.test.hash,
            "masking": masking.name,
            "masking settings": masking.settings,
            "settings": row.written,
            "lr": rates or settings.get("lr"),
            "seed": cell.seed,
            **({"start": records[start].get("key")} if start else {}),
            **_rules(row),
            **_recovered(data),
        }
    )
    return Plan(settings, rates, start, key)


def _settled(first: Record, what: str) -> Record:
    """The record of a cell that rests on another one without a result."""
    if first["status"] == "misfit":
        return {"status": "misfit", "lacking": first["lacking"], "error": first["error"]}
    return {"status": "failed", "error": f"{what} failed"}


def _recovered(data: Loaded) -> dict[str, Any]:
    """Which cells are recovered, since these are never held out; hashes of tables leave sources out."""
    known = data.train.without_recovered()
    return {} if known is data.train else {"without recovered": known.hash}


def _rules(row: Row) -> dict[str, Any]:
    """What a row that leaves its method to the rules depends on besides."""
    if row.settings["method"] != AUTO:
        return {}
    return {"rules": [[rule.when, rule.method, rule.settings, rule.stages] for rule in RULES]}


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
    """Whether a cell is to be run, as far as is known by now: for the table, or for one that begins from it."""
    if cell.method in grid.rows and (
        cell.seed == grid.seeds[0] or cell.method in (finalists(grid, records, cell.data, cell.masking) or ())
    ):
        return True
    return any(one not in records and wanted(grid, records, one) for one in begun_by(grid, cell))


def outstanding(grid: Grid, records: Mapping[Cell, Record]) -> int:
    """How many cells are still to be run; at most, while it is not known which rows go on."""
    count = sum(cell not in records and wanted(grid, records, cell) for cell in cells_of(grid))
    undecided = sum(
        finalists(grid, records, data, masking) is None for data, masking in itertools.product(grid.data, grid.maskings)
    )
    return count + undecided * min(grid.top or 0, len(grid.rows)) * len(grid.seeds[1:])
