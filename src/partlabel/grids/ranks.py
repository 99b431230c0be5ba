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
        ranks: its rank in each setting where it has a result; 1 is best, equal means share the mean of their ranks.
    """

    ranks: dict[Setting, float]

    @property
    def mean(self) -> float | None:
        """Mean over the settings where it has a result; None if it has none."""
        return statistics.fmean(self.ranks.values()) if self.ranks else None


def standings(results: Results, measure: str) -> dict[str, Standing]:
    """Every method of the grid, the best mean rank first, those without a result last; equal ones as in the grid.

    A method is ranked by its mean over the seeds it has, and only in the settings where it has any.
    """
    ranks: dict[str, dict[Setting, float]] = {method: {} for method in results.grid.rows}
    for setting in results.settings:
        means = {method: results.entry(*setting, method, measure).mean for method in ranks}
        ranked = {method: mean for method, mean in means.items() if mean is not None}
        for method, rank in zip(ranked, rankdata([-mean for mean in ranked.values()]), strict=True):
            ranks[method][setting] = float(rank)
    found = {method: Standing(mine) for method, mine in ranks.items()}
    return dict(sorted(found.items(), key=lambda item: float("inf") if item[1].mean is None else item[1].mean))
