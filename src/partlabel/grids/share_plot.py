"""A measure by the share of labels that are known, and the gain over the baseline, where a grid has maskings that keep
different shares.
"""

from collections.abc import Mapping

from partlabel.grids.differences import difference
from partlabel.grids.lines import Panel, Point, lines_plot, percent, title_of
from partlabel.grids.schema import Masking
from partlabel.grids.summary import Results

_FEWEST = 3
_LABELS, _PRESENT = "known labels, %", "known present labels, %"
_SHARES = {
    "known_ratio": ("ratio", _LABELS),
    "legacy_numpy_ratio": ("ratio", _LABELS),
    "legacy_torch_ratio": ("ratio", _LABELS),
    "legacy_removal": ("removal", _LABELS),
    "per_class": ("fraction", _LABELS),
    "drop_positives": ("keep", _PRESENT),
}
"""Settings of maskings that say a share, and of what."""


def share_of(masking: Masking) -> float | None:
    """What share of labels a masking keeps known, in 0..1, by its settings; None where they do not say one."""
    setting, _ = _SHARES.get(masking.name, ("", ""))
    share = masking.settings.get(setting)
    if share is None:
        return None
    return 1 - float(share) if setting == "removal" else float(share)


def shares(maskings: Mapping[str, Masking]) -> dict[str, dict[str, float]]:
    """By the kind of masking, the share of each that keeps one, where there are at least three of a kind."""
    found: dict[str, dict[str, float]] = {}
    for label, masking in maskings.items():
        if (share := share_of(masking)) is not None:
            found.setdefault(masking.name, {})[label] = share
    return {name: ordered for name, ordered in found.items() if len(set(ordered.values())) >= _FEWEST}


def share_plot(results: Results, measure: str) -> bytes | None:
    """A PNG with a panel for each data set and kind of masking, and a line for each method; beside it, where the grid
    has a baseline, the gain over it. None if there is nothing to show.
    """
    return lines_plot(results, share_panels(results, measure), [*results.grid.rows])


def share_panels(results: Results, measure: str) -> list[Panel]:
    """The panels of such a figure; gains are differences to the baseline, paired by seed."""
    panels = []
    for data in results.grid.data:
        for kind, places in shares(results.grid.maskings).items():
            panels += _panels(results, measure, data, kind, places)
    return panels


def _panels(results: Results, measure: str, data: str, kind: str, places: Mapping[str, float]) -> list[Panel]:
    measured: dict[str, list[Point]] = {method: [] for method in results.grid.rows}
    gained: dict[str, list[Point]] = {method: [] for method in results.grid.rows}
    for masking, share in places.items():
        for method in results.grid.rows:
            measured[method] += percent(100 * share, results.entry(data, masking, method, measure))
            if gain := difference(results, data, masking, method, measure):
                gained[method].append(Point(100 * share, tuple(100 * value for value in gain.values)))
    if not any(measured.values()):
        return []
    title, of, baseline = title_of(results, data, kind), _SHARES[kind][1], results.grid.baseline
    panels = [Panel(title, of, f"{measure}, %", measured)]
    if baseline is not None:
        panels.append(Panel(title, of, f"{measure} above {baseline}, points", gained, baseline))
    return panels
