"""The section of predicted probabilities by state, and the counts that `recover` keeps in the run for it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from partlabel.evaluation.histogram import BINS, Group, Histogram
from partlabel.files import write_json
from partlabel.report.plots import Plot, histogram_plot
from partlabel.runs.folder import RunFolder

_FILE = "probabilities.json"
_COUNTS: TypeAdapter[dict[Group, list[int]]] = TypeAdapter(dict[Group, list[int]])


class HistogramPart(NamedTuple):
    """Cells of one table.

    Args:
        where: which table.
        plot: the counts as bars.
        columns: groups of cells.
        rows: an interval of probability and the count of each group, one after the other; sums in the last.
    """

    where: str
    plot: Plot
    columns: Sequence[str]
    rows: list[list[str]]


def histogram_json(histogram: Histogram) -> dict[str, list[int]]:
    """Counts as JSON values."""
    return {group: counts.tolist() for group, counts in histogram.items()}


def keep_histogram(run: RunFolder, histogram: Histogram) -> None:
    """Keep the counts of a completed table in the run, for its reports."""
    write_json(run.path / _FILE, histogram_json(histogram))


def kept_histogram(run: RunFolder) -> Histogram | None:
    """What `keep_histogram` kept; None if there is none, or the file does not hold it."""
    try:
        return _checked((run.path / _FILE).read_bytes())
    except (OSError, ValidationError, ValueError):
        return None


def histogram_of_test(evaluation: Mapping[str, Any] | None) -> Histogram | None:
    """What a test of a run counted; None for one of an earlier release."""
    try:
        return None if evaluation is None else _counts(_COUNTS.validate_python(evaluation["probabilities"]))
    except (KeyError, ValidationError, ValueError):
        return None


def histogram_parts(of_table: Histogram | None, of_test: Histogram | None) -> list[HistogramPart]:
    """What there is to show."""
    tables = {
        "the table that `recover` completed": of_table,
        "the test": of_test,
    }
    return [_part(where, found) for where, found in tables.items() if found is not None]


def _checked(content: bytes) -> Histogram:
    return _counts(_COUNTS.validate_json(content))


def _counts(values: Mapping[Group, list[int]]) -> Histogram:
    if not {"present", "absent", "unknown"} <= values.keys() or {len(counts) for counts in values.values()} != {BINS}:
        raise ValueError("no counts of present, absent and unknown cells")
    return {group: np.asarray(counts, np.int64) for group, counts in values.items()}


def _part(where: str, histogram: Histogram) -> HistogramPart:
    rows = [
        [f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}", *(f"{counts[place]:,}" for counts in histogram.values())]
        for place in range(BINS)
    ]
    rows.append(["all", *(f"{counts.sum():,}" for counts in histogram.values())])
    return HistogramPart(where, histogram_plot(histogram, where), list(histogram), rows)
