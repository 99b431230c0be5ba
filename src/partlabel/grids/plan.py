"""What a cell trains with, and the key that tells whether an earlier result answers the same question."""

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


def search_of(grid: Grid, cell: Cell) -> Cell | None:
    """The cell whose search finds the learning rate of this one; None if it needs no other's."""
    takes_over = grid.rows[cell.method].rates and cell.seed != grid.seeds[0]
    return cell._replace(seed=grid.seeds[0]) if takes_over else None


def make_plan(grid: Grid, data: Loaded, records: Mapping[Cell, Record], cell: Cell) -> Plan | None:
    """What a cell trains with; None while the first seed has not found its learning rate."""
    row, masking = grid.rows[cell.method], grid.maskings[cell.masking]
    settings, rates = {**row.settings, "seed": cell.seed}, row.rates
    if search := search_of(grid, cell):
        found = records.get(search, {})
        if found.get("status") != "done":
            return None
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
