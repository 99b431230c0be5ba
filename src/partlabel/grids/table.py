"""The tables of a grid: Markdown to read, CSV to compute with. No times in them: the same results give the same
bytes.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from partlabel.files import write_text
from partlabel.grids.beside import beside_csv, beside_section
from partlabel.grids.captions import (
    caption,
    choice_caption,
    curve_caption,
    data_caption,
    joined,
    rank_caption,
    recognised_caption,
    set_aside_caption,
    share_caption,
    sweep_caption,
    test_curve_caption,
)
from partlabel.grids.cell import Cell, Record
from partlabel.grids.data import Loaded
from partlabel.grids.differences import differences_section
from partlabel.grids.figures import Shown
from partlabel.grids.grid import Grid
from partlabel.grids.latex import to_latex
from partlabel.grids.plan import finalists, held_out, outstanding
from partlabel.grids.summary import Entry, Rate, Results, Standing, standings

_COLUMNS = (
    "data",
    "masking",
    "method",
    "measure",
    "mean",
    "sd",
    "n",
    "seeds",
    "lr",
    "lr_candidates",
    "lr_at_edge",
    "rank",
    "mean_rank",
    "mean_rank_settings",
    "misfit",
)


def write_tables(
    out: Path, grid: Grid, data: Mapping[str, Loaded], records: Mapping[Cell, Record], figures: Sequence[Shown] = ()
) -> None:
    """Write `table.csv`, `table.tex` and `table.md`, and `published.csv` where a paper is named.

    Args:
        out: their folder.
        grid: the grid.
        data: its data.
        records: records of the cells that were run; others count as still to be run.
        figures: the figures beside the table.
    """
    write_text(out / "table.csv", to_csv(Results(grid, records)))
    write_text(out / "table.tex", to_latex(Results(grid, records)))
    if grid.published:
        write_text(out / "published.csv", beside_csv(Results(grid, records)))
    write_text(out / "table.md", to_markdown(grid, data, records, figures))


def to_csv(results: Results) -> str:
    """One line per entry; numbers as fractions, in full; lists separated by spaces."""
    grid = results.grid
    standing = {measure: standings(results, measure) for measure in grid.measures}
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for setting in results.settings:
        for method in grid.rows:
            rate, misfit = results.rate(*setting, method), results.misfit(*setting, method)
            learning = (rate.value, joined(rate.candidates), rate.at_edge) if rate else ("", "", "")
            for measure in grid.measures:
                entry, stands = results.entry(*setting, method, measure), standing[measure][method]
                spread = (entry.mean, entry.sd, len(entry.seeds), joined(entry.seeds))
                ranks = (stands.ranks.get(setting), stands.mean, len(stands.ranks))
                writer.writerow((*setting, method, measure, *spread, *learning, *ranks, misfit))
    return stream.getvalue()


def to_markdown(
    grid: Grid, data: Mapping[str, Loaded], records: Mapping[Cell, Record], figures: Sequence[Shown] = ()
) -> str:
    """A section for each data set with its tables, then ranks and figures, what is missing at the end."""
    results = Results(grid, records)
    parts = [f"# {grid.title}", caption(results)]
    for label, loaded in data.items():
        parts += [
            f"## {label}",
            data_caption(loaded, [record for cell, record in results.done.items() if cell.data == label]),
        ]
        for measure in grid.measures:
            parts += [f"### {measure}", _table(grid, _entries(results, label, measure))]
        parts += ["### Learning rates", _table(grid, _rates(results, label))]
        if grid.top is not None:
            chosen = _table(grid, _held_out(results, records, label))
            parts += [f"### What rows were chosen by, on seed {grid.seeds[0]}", choice_caption(), chosen]
    links = {figure.shows: figure for figure in figures}
    parts += beside_section(results)
    parts += differences_section(results)
    parts += _rank_section(results, links)
    parts += _line_section(links, "share", "By share of known labels", share_caption(results))
    parts += _line_section(links, "sweep", "By setting", sweep_caption(results))
    if "" in links:
        parts += ["## Held-out mAP by epoch", curve_caption(), f"![Held-out mAP by epoch]({links[''].name})"]
    if "test" in links:
        parts += ["## Test mAP by epoch", test_curve_caption(), f"![Test mAP by epoch]({links['test'].name})"]
    if "set aside" in links:
        picture = f"![Truly missed among the cells set aside]({links['set aside'].name})"
        parts += ["## What methods set aside", set_aside_caption(), picture]
    if "recognised" in links:
        picture = f"![Which methods recognise each label]({links['recognised'].name})"
        parts += ["## Recognised labels", recognised_caption(grid), picture]
    failed = [f"- {cell}: {record['error']}" for cell, record in records.items() if record["status"] == "failed"]
    if failed:
        parts += ["## Failed", "\n".join(failed)]
    if waiting := outstanding(grid, records):
        parts.append(f"{waiting} cell(s) are still to be run.")
    return "\n\n".join(parts) + "\n"


def _rank_section(results: Results, links: Mapping[str, Shown]) -> list[str]:
    """Ranks and plots of each measure; nothing as long as there is nothing to rank."""
    parts = []
    for measure in results.grid.measures:
        standing = standings(results, measure)
        if any(stands.ranks for stands in standing.values()):
            parts += [f"### Ranks by {measure}", _rank_table(results, standing)]
            if measure in links:
                parts.append(f"![{measure} of each method]({links[measure].name})")
    return ["## Ranks", rank_caption(results), *parts] if parts else []


def _line_section(links: Mapping[str, Shown], kind: str, title: str, words: str) -> list[str]:
    """The pictures of each measure along numbers; nothing where none was drawn."""
    measures = {shows.removeprefix(f"{kind} "): shown.name for shows, shown in links.items() if shows.startswith(kind)}
    pictures = [f"![{measure}: {title.lower()}]({name})" for measure, name in measures.items()]
    return [f"## {title}", words, *pictures] if pictures else []


def _rank_table(results: Results, standing: Mapping[str, Standing]) -> str:
    """Rows are methods, the best first; columns the mean, how many settings it stands on, and the rank in each."""
    counts = {setting: sum(setting in stands.ranks for stands in standing.values()) for setting in results.settings}
    heads = [f"{' / '.join(setting)} (of {count})" for setting, count in counts.items()]
    lines = [_line(("method", "mean rank", "settings", *heads)), "|---|" + "---:|" * (2 + len(heads))]
    for method, stands in standing.items():
        mean = "-" if stands.mean is None else f"{stands.mean:.2f}"
        ranks = [f"{stands.ranks[setting]:g}" if setting in stands.ranks else "-" for setting in counts]
        lines.append(_line((method, mean, f"{len(stands.ranks)} of {len(counts)}", *ranks)))
    return "\n".join(lines)


def _table(grid: Grid, entry: Callable[[str, str], str]) -> str:
    """Rows are methods, columns maskings."""
    lines = [_line(("method", *grid.maskings)), "|---|" + "---:|" * len(grid.maskings)]
    lines += [_line((method, *(entry(masking, method) for masking in grid.maskings))) for method in grid.rows]
    return "\n".join(lines)


def _line(values: Iterable[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def _entries(results: Results, data: str, measure: str) -> Callable[[str, str], str]:
    def entry(masking: str, method: str) -> str:
        found = results.entry(data, masking, method, measure)
        return _number(found, len(results.grid.seeds), results.misfit(data, masking, method))

    return entry


def _number(entry: Entry, seeds: int, misfit: str | None) -> str:
    if entry.mean is None:
        return f"—, {misfit}" if misfit else "-"
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


def _held_out(results: Results, records: Mapping[Cell, Record], data: str) -> Callable[[str, str], str]:
    grid = results.grid

    def entry(masking: str, method: str) -> str:
        record = results.done.get(Cell(data, masking, method, grid.seeds[0]))
        judged = None if record is None else held_out(record)
        if judged is None:
            return "-"
        goes_on = method in (finalists(grid, records, data, masking) or ())
        return f"{100 * judged.value:.1f}{'‡' * judged.among_unknown}{', goes on' * goes_on}"

    return entry
