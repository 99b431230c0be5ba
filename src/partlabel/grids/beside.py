"""Ours beside the numbers that a paper prints, as a part of the table and as a CSV."""

import csv
import io
import statistics
from typing import NamedTuple

from partlabel.grids.measures import MEASURES
from partlabel.grids.published import AVERAGE, COLUMNS, Number, Published, measure_of
from partlabel.grids.summary import Entry, Results


class Pair(NamedTuple):
    """A printed number, and ours; `label` is None where the grid has no such row or data set."""

    number: Number
    label: str | None
    measure: str
    ours: Entry | None

    @property
    def difference(self) -> float | None:
        """Ours less theirs, in percentage points."""
        mean = None if self.ours is None else self.ours.mean
        return None if mean is None else 100 * mean - self.number.value


def pairs(results: Results, published: Published) -> list[Pair]:
    """Every number of the paper's table with each of our rows that stand for it, in the order of the paper."""
    data = {name: label for label, name in published.data.items()}
    found = []
    for number in published.numbers:
        measure, place = measure_of(number, results.grid.measures), data.get(number.data)
        labels: list[str | None] = [label for label, row in published.rows.items() if row == number.row and place]
        for label in labels or [None]:
            ours = None
            if label is not None and place is not None and measure in MEASURES:
                ours = _entry(results, published, number, (place, label, measure))
            found.append(Pair(number, label, measure, ours))
    return found


def beside_section(results: Results) -> list[str]:
    """The part of `table.md` that compares with the paper; nothing without published numbers."""
    published = results.grid.published
    if published is None:
        return []
    found = pairs(results, published)
    kept = set(results.grid.maskings) | {AVERAGE}
    ours = [_line(results, pair) for pair in found if pair.label and pair.number.masking in kept]
    parts = ["## Beside the paper", _caption(published)]
    if ours:
        head = ("row", "data", "masking", "measure", "ours", "published", "difference", "convention", "model chosen by")
        parts.append("\n".join([_joined(head), "|---|---|---|---|---:|---:|---:|---|---|", *ours]))
    others = [pair.number for pair in found if pair.label is None]
    return [*parts, "### Rows of the paper without one here", _others(others)] if others else parts


def beside_csv(results: Results) -> str:
    """One line per printed number: as in the CSV of the paper, then ours as a fraction of 1, seeds, difference."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*COLUMNS, "our_row", "our_measure", "ours", "sd", "n", "difference"))
    published = results.grid.published
    for pair in pairs(results, published) if published else []:
        ours = (None, None, 0) if pair.ours is None else (pair.ours.mean, pair.ours.sd, len(pair.ours.seeds))
        writer.writerow((*pair.number, pair.label, pair.measure, *ours, pair.difference))
    return stream.getvalue()


def _entry(results: Results, published: Published, number: Number, at: tuple[str, str, str]) -> Entry | None:
    data, label, measure = at
    if number.masking != AVERAGE:
        known = number.masking in results.grid.maskings
        return results.entry(data, number.masking, label, measure) if known else None
    maskings = published.averaged(number, results.grid.maskings)
    if maskings is None:
        return None
    entries = [results.entry(data, masking, label, measure) for masking in maskings]
    seeds = [seed for seed in results.grid.seeds if all(seed in entry.by_seed for entry in entries)]
    values = tuple(statistics.fmean(entry.by_seed[seed] for entry in entries) for seed in seeds)
    return Entry(values, tuple(seeds), any(entry.untuned for entry in entries))


def _line(results: Results, pair: Pair) -> str:
    number, mean = pair.number, None if pair.ours is None else pair.ours.mean
    if mean is None or pair.ours is None:
        ours = "-"
    else:
        spread = "" if pair.ours.sd is None else f" ± {100 * pair.ours.sd:.1f}"
        ours = f"{100 * mean:.1f}{spread} (n = {len(pair.ours.seeds)}){'†' * pair.ours.untuned}"
    row = number.row if pair.label == number.row else f"{pair.label} ({number.row})"
    difference = "-" if pair.difference is None else f"{pair.difference:+.1f}"
    return _joined(
        (
            *(row, number.data, number.masking, pair.measure, ours, _printed(number.value), difference),
            *(number.convention or "-", number.selection),
        )
    )


def _caption(published: Published) -> str:
    lines = [
        f"Published: {published.source}; difference: ours less theirs, in percentage points.",
        "Convention: how the published mAP was computed; ours is the same, or the first mAP of this grid where it is "
        "unknown. The envelope (voc12) is never below the raw one.",
        "Model chosen by: a published number of the epoch that was best on the test set is too high; ours never looks "
        "at test cells before the end.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _others(numbers: list[Number]) -> str:
    """Rows are those of the paper, columns its maskings; no number of ours."""
    maskings = list(dict.fromkeys(number.masking for number in numbers))
    rows: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for number in numbers:
        key = (number.row, number.data, number.measure, number.convention or "-")
        rows.setdefault(key, {})[number.masking] = number.value
    head = ("row", "data", "measure", "convention", "ours", *maskings)
    lines = [_joined(head), "|---|---|---|---|---:|" + "---:|" * len(maskings)]
    for key, values in rows.items():
        lines.append(_joined((*key, "—", *(_printed(values[name]) if name in values else "" for name in maskings))))
    return "\n".join(lines)


def _printed(value: float) -> str:
    """With one decimal, or as many as the paper prints."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


def _joined(values: tuple[str, ...]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"
