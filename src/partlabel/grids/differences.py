"""How far each row is from the baseline of a grid, seed by seed: both were trained on the same masks."""

import statistics
from dataclasses import dataclass

from scipy.stats import ttest_1samp

from partlabel.grids.summary import Results

FEW = 5
"""Below so many seeds the test says little."""


@dataclass(frozen=True)
class Difference:
    """A row less the baseline, by one measure on the same labels.

    Args:
        values: one per seed that both have, in -1..1.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean by Student's t; None below two seeds, or where all are equal."""
        if not self._spread:
            return None
        low, high = ttest_1samp(self.values, 0).confidence_interval(0.95)
        return float(low), float(high)

    @property
    def p(self) -> float | None:
        """Of a paired, two-sided t-test; None below two seeds, or where all are equal."""
        return float(ttest_1samp(self.values, 0).pvalue) if self._spread else None

    @property
    def _spread(self) -> bool:
        return len(self.values) > 1 and statistics.stdev(self.values) > 0


def difference(results: Results, data: str, masking: str, method: str, measure: str) -> Difference | None:
    """A row less the baseline over the seeds that both have; None if there are none, or it is the baseline."""
    baseline = results.grid.baseline
    if baseline is None or method == baseline:
        return None
    ours, theirs = (results.entry(data, masking, label, measure).by_seed for label in (method, baseline))
    shared = [seed for seed in results.grid.seeds if seed in ours and seed in theirs]
    return Difference(tuple(ours[seed] - theirs[seed] for seed in shared)) if shared else None


def differences_section(results: Results) -> list[str]:
    """The part of `table.md` on the baseline; nothing without one."""
    grid = results.grid
    if grid.baseline is None:
        return []
    parts = [f"## Differences to {grid.baseline}", _caption(results)]
    head = ("method", "data", "masking", "difference", "95 % interval", "p", "n")
    for measure in grid.measures:
        lines = []
        for data, masking in results.settings:
            for method in grid.rows:
                found = difference(results, data, masking, method, measure)
                if found is not None:
                    lines.append(_line((method, data, masking, *_numbers(found))))
        if lines:
            parts += [f"### {measure}", "\n".join([_line(head), "|---|---|---|---:|---:|---:|---:|", *lines])]
    return parts


def _numbers(found: Difference) -> tuple[str, str, str, str]:
    interval, p = found.interval, found.p
    return (
        f"{100 * found.mean:+.1f}",
        "-" if interval is None else f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}",
        "-" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001",
        str(len(found.values)),
    )


def _caption(results: Results) -> str:
    lines = [
        "In percentage points, a row less the baseline, paired by seed: both learned from the same known cells.",
        "p: paired two-sided t-test over the seeds, for each line by itself; of many lines some are small by chance.",
    ]
    if len(results.grid.seeds) < FEW:
        lines.append(
            f"With fewer than {FEW} seeds the test rests on the differences being normal, which so few cannot show."
        )
    return "\n".join(f"- {line}" for line in lines)


def _line(values: tuple[str, ...]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
