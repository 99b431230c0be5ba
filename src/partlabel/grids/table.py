"""The tables of a grid: Markdown to read, CSV to compute with. No times in them: the same results give the same bytes."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from partlabel.files import write_text
from partlabel.grids.cell import Cell, Record
from partlabel.grids.data import Loaded
from partlabel.grids.grid import Grid
from partlabel.grids.measures import MEASURES
from partlabel.grids.summary import Entry, Rate, Results

_COLUMNS = ("data", "masking", "method", "measure", "mean", "sd", "n", "seeds", "lr", "lr_candidates", "lr_at_edge")


def write_tables(out: Path, grid: Grid, data: Mapping[str, Loaded], records: Mapping[Cell, Record]) -> None:
    """Write `table.csv` and `table.md`.

    Args:
        out: their folder.
        grid: the grid.
        data: its data.
        records: records of the cells that were run; others count as still to be run.
    """
    write_text(out / "table.csv", to_csv(Results(grid, records)))
    write_text(out / "table.md", to_markdown(grid, data, records))


def to_csv(results: Results) -> str:
    """One line an entry; numbers as fractions, in full; lists separated by spaces."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    grid = results.grid
    for data in grid.data:
        for masking in grid.maskings:
            for method in grid.rows:
                rate = results.rate(data, masking, method)
                learning = (rate.value, _joined(rate.candidates), rate.at_edge) if rate else ("", "", "")
                for measure in grid.measures:
                    entry = results.entry(data, masking, method, measure)
                    spread = (entry.mean, entry.sd, len(entry.seeds), _joined(entry.seeds))
                    writer.writerow((data, masking, method, measure, *spread, *learning))
    return stream.getvalue()


def to_markdown(grid: Grid, data: Mapping[str, Loaded], records: Mapping[Cell, Record]) -> str:
    """A section for each data set with a table for each measure and one of learning rates; in the end what is missing."""
    results = Results(grid, records)
    parts = [f"# {grid.title}", _caption(grid)]
    for label, loaded in data.items():
        parts += [f"## {label}", _data_caption(loaded, [record for cell, record in results.done.items() if cell.data == label])]
        for measure in grid.measures:
            parts += [f"### {measure}", _table(grid, _entries(results, label, measure))]
        parts += ["### Learning rates", _table(grid, _rates(results, label))]
    failed = [f"- {cell}: {record['error']}" for cell, record in records.items() if record["status"] == "failed"]
    if failed:
        parts += ["## Failed", "\n".join(failed)]
    waiting = len(data) * len(grid.maskings) * len(grid.rows) * len(grid.seeds) - len(records)
    if waiting:
        parts.append(f"{waiting} cell(s) are still to be run.")
    return "\n\n".join(parts) + "\n"


def _caption(grid: Grid) -> str:
    seeds = _joined(grid.seeds, ", ")
    several = len(grid.seeds) > 1
    lines = [
        f"In %, mean ± sample standard deviation over seeds {seeds}." if several else f"In %, of one seed ({seeds}).",
        "A seed decides which cells are hidden, which of the known ones are held out, and the training.",
        *(f"{name}: {MEASURES[name].meaning}." for name in grid.measures),
    ]
    if any(MEASURES[name].thresholded for name in grid.measures):
        lines.append(
            "Precision, recall and F1 use thresholds set on held-out known training cells; † marks entries where a run decides "
            "by probability 0.5, because its held-out cells lack a sign."
        )
    if any(row.rates for row in grid.rows.values()):
        lines.append(
            "A learning rate followed by candidates was chosen among them by the mAP of held-out known training cells, on seed "
            f"{grid.seeds[0]}, and used for all seeds; at the edge: a better one may lie beyond them."
        )
    return "\n".join(f"- {line}" for line in lines)


def _data_caption(data: Loaded, records: list[Record]) -> str:
    classes = f"{len(data.train.classes)} classes"
    if len(data.train.classes) < data.all_classes:
        classes += f" of {data.all_classes} (those with at least {data.min_present} known present training cells)"
    text = f"{len(data.train)} training and {len(data.test)} test images, {classes}."
    if records:
        scored, known = records[0]["test"]["classes"]["scored"], records[0]["test"]["known"]
        text += (
            f" Class means over {scored} classes; test measures rest on {known['present'] + known['absent']:,} known cells, "
            f"{known['present']:,} of them present."
        )
    return text


def _table(grid: Grid, entry: Callable[[str, str], str]) -> str:
    """Rows are methods, columns maskings."""
    lines = [_line(("method", *grid.maskings)), "|---|" + "---:|" * len(grid.maskings)]
    lines += [_line((method, *(entry(masking, method) for masking in grid.maskings))) for method in grid.rows]
    return "\n".join(lines)


def _line(values: Iterable[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def _entries(results: Results, data: str, measure: str) -> Callable[[str, str], str]:
    return lambda masking, method: _number(results.entry(data, masking, method, measure), len(results.grid.seeds))


def _number(entry: Entry, seeds: int) -> str:
    if entry.mean is None:
        return "-"
    spread = "" if entry.sd is None else f" ± {100 * entry.sd:.1f}"
    short = f" (n = {len(entry.seeds)})" if len(entry.seeds) < seeds else ""
    return f"{100 * entry.mean:.1f}{spread}{short}{'†' * entry.untuned}"


def _rates(results: Results, data: str) -> Callable[[str, str], str]:
    return lambda masking, method: _rate(results.rate(data, masking, method))


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    if not rate.candidates:
        return f"{rate.value:g}"
    candidates = ", ".join(f"{value:g}" for value in rate.candidates)
    return f"{rate.value:g} [{candidates}]{', at the edge' * rate.at_edge}"


def _joined(values: Iterable[float], separator: str = " ") -> str:
    return separator.join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
