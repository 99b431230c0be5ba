"""Ranks of the methods of a grid: in each setting, a data set with a masking, and their mean over settings."""

import statistics
from dataclasses import dataclass

from scipy.stats import rankdata

from partlabel.grids.summary import Results

Setting = tuple[str, str]
"""Labels of a data set and a masking."""


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
