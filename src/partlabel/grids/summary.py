"""From the records of single trainings to the entries and ranks of a table."""

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scipy.stats import rankdata

from partlabel.grids.cell import Cell, Record
from partlabel.grids.grid import Grid
from partlabel.grids.measures import MEASURES

Setting = tuple[str, str]
"""Labels of a data set and a masking."""


class Entry(NamedTuple):
    """One measure of one method on one masked data set, over the seeds that have it.

    Args:
        values: one per seed, in 0..1.
        seeds: those seeds.
        untuned: whether a value rests on thresholds at probability 0.5, because the held-out cells of a run lack a
            sign.
    """

    values: tuple[float, ...]
    seeds: tuple[int, ...]
    untuned: bool

    @property
    def by_seed(self) -> dict[int, float]:
        """Each seed's value."""
        return dict(zip(self.seeds, self.values, strict=True))

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation, divided by n - 1; None below two seeds."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class Rate(NamedTuple):
    """A learning rate as used, and the candidates it was chosen from; none if the grid says it."""

    value: float
    candidates: tuple[float, ...]

    @property
    def at_edge(self) -> bool:
        """Whether it is the lowest or highest candidate, so that a better one may lie beyond."""
        return bool(self.candidates) and self.value in {min(self.candidates), max(self.candidates)}


class Results:
    """The cells of a grid that have a result, and those that cannot have one.

    Args:
        grid: the grid.
        records: records of its cells.
    """

    def __init__(self, grid: Grid, records: Mapping[Cell, Record]) -> None:
        self.grid = grid
        self.done = {cell: record for cell, record in records.items() if record["status"] == "done"}
        self.misfits = {cell: record for cell, record in records.items() if record["status"] == "misfit"}

    @property
    def settings(self) -> list[Setting]:
        """Each data set with each masking."""
        return list(itertools.product(self.grid.data, self.grid.maskings))

    def of_seeds(self, data: str, masking: str, method: str) -> dict[int, Record]:
        """The results of a method by seed, in the order of the grid."""
        cells = {seed: Cell(data, masking, method, seed) for seed in self.grid.seeds}
        return {seed: self.done[cell] for seed, cell in cells.items() if cell in self.done}

    def entry(self, data: str, masking: str, method: str, measure: str) -> Entry:
        """Mean and spread of a measure."""
        measured, values, seeds, untuned = MEASURES[measure], [], [], False
        for seed, record in self.of_seeds(data, masking, method).items():
            value = measured.of(record)
            if value is not None:
                values.append(value)
                seeds.append(seed)
                untuned |= measured.thresholded and record["thresholds"] != "held_out"
        return Entry(tuple(values), tuple(seeds), untuned)

    def scored_classes(self, data: str) -> int | None:
        """How many classes the class means of a data set's test are over; None without a result."""
        found = (record["test"]["classes"]["scored"] for cell, record in self.done.items() if cell.data == data)
        return next(found, None)

    def misfit(self, data: str, masking: str, method: str) -> str | None:
        """Why a method has no result on these labels, in a few words; None if it can learn from them."""
        for seed in self.grid.seeds:
            if record := self.misfits.get(Cell(data, masking, method, seed)):
                return f"needs {record['lacking']}" if record["lacking"] else "does not fit"
        return None

    def rate(self, data: str, masking: str, method: str) -> Rate | None:
        """The learning rate of all seeds; None if the first of them has no result, or the method takes no steps."""
        record = self.done.get(Cell(data, masking, method, self.grid.seeds[0]))
        return None if record is None or record["lr"] is None else Rate(record["lr"], self.grid.rows[method].rates)


@dataclass(frozen=True)
class Standing:
    """How a method stands among the others by one measure.

    Args:
        ranks: its rank in each setting where it is ranked; 1 is best, equal means share the mean of their ranks.
    """

    ranks: dict[Setting, float]

    @property
    def mean(self) -> float | None:
        """Mean over the settings where it is ranked; None if there are none."""
        return statistics.fmean(self.ranks.values()) if self.ranks else None


def standings(results: Results, measure: str) -> dict[str, Standing]:
    """Every method of the grid, the best mean rank first, those without one last; equal ones as in the grid.

    In each setting the methods are ranked that have the first seed, by the mean over the seeds that all of them have: a
    method that ran on more seeds is compared with the others on the same masks.
    """
    ranks: dict[str, dict[Setting, float]] = {method: {} for method in results.grid.rows}
    for setting in results.settings:
        entries = {method: results.entry(*setting, method, measure).by_seed for method in ranks}
        ranked = {method: values for method, values in entries.items() if results.grid.seeds[0] in values}
        shared = set(results.grid.seeds).intersection(*ranked.values())
        means = [statistics.fmean(values[seed] for seed in sorted(shared)) for values in ranked.values()]
        for method, rank in zip(ranked, rankdata([-mean for mean in means]), strict=True):
            ranks[method][setting] = float(rank)
    found = {method: Standing(mine) for method, mine in ranks.items()}
    return dict(sorted(found.items(), key=lambda item: float("inf") if item[1].mean is None else item[1].mean))
