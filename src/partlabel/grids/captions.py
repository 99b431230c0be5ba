"""What the tables of a grid say of themselves, as sentences."""

from collections.abc import Iterable

from partlabel.grids.cell import Record
from partlabel.grids.data import Loaded
from partlabel.grids.grid import Grid
from partlabel.grids.measures import MEASURES
from partlabel.grids.summary import Results


def caption(results: Results) -> str:
    """What holds for all tables."""
    grid = results.grid
    seeds = joined(grid.seeds, ", ")
    several = len(grid.seeds) > 1
    lines = [
        f"In %, mean ± sample standard deviation over seeds {seeds}." if several else f"In %, of one seed ({seeds}).",
        "A seed decides which cells are hidden, which of the known ones are held out, and the training.",
        *(f"{name}: {MEASURES[name].meaning}." for name in grid.measures),
        *_stages(grid),
        *_starts(grid),
    ]
    if any(MEASURES[name].thresholded for name in grid.measures):
        lines.append(
            "Precision, recall and F1 use thresholds set on held-out known training cells; † marks entries where a "
            "run decides by probability 0.5, because its held-out cells lack a sign."
        )
    if any(row.rates for row in grid.rows.values()):
        lines.append(
            "A learning rate followed by candidates was chosen among them by the mAP of held-out known training "
            f"cells, on seed {grid.seeds[0]}, and used for all seeds; at the edge: a better one may lie beyond them."
        )
    releases = sorted({record["versions"]["partlabel"] for record in results.done.values()})
    if len(releases) > 1:
        lines.append(f"Computed by several releases of partlabel: {joined(releases, ', ')}.")
    lines += _label_vectors(results)
    if results.misfits:
        lines.append("—: the method cannot learn from such labels, and was not run on them.")
    return _listed(lines)


def _stages(grid: Grid) -> list[str]:
    if grid.top is None or len(grid.seeds) == 1:
        return []
    return [
        f"Seed {grid.seeds[0]} ran every method; the other seeds only the best {grid.top} of each data set and "
        f"masking, by the mAP of held-out known training cells on seed {grid.seeds[0]} (their mAP among unknown cells "
        "where no absent cell is known), never by test cells. Others stand on that seed (n = 1)."
    ]


def _starts(grid: Grid) -> list[str]:
    begun: dict[str, list[str]] = {}
    for label, row in {**grid.starts, **grid.rows}.items():
        if row.start is not None:
            begun.setdefault(row.start, []).append(label)
    return [
        f"{', '.join(labels)} begin{'s' * (len(labels) == 1)} from the weights of {start}, trained on the same labels "
        "with the same seed."
        for start, labels in begun.items()
    ]


def _label_vectors(results: Results) -> list[str]:
    """Which vectors of the class names stood behind each row, where rows or cells of a data set differ."""
    of_data: dict[str, set[str]] = {}
    of_row: dict[str, dict[str, None]] = {}
    for cell, record in results.done.items():
        if used := record.get("label_vectors"):
            digest = used["sha256"]
            name = used["source"] if digest is None else f"{used['source']} (SHA-256 {digest[:8]}…)"
            of_data.setdefault(cell.data, set()).add(name)
            of_row.setdefault(cell.method, {})[name] = None
    if all(len(names) == 1 for names in of_data.values()):
        return []
    rows = [f"{row}: {', '.join(names)}" for row, names in of_row.items()]
    return [f"Label vectors: {'; '.join(rows)}."]


def data_caption(data: Loaded, records: list[Record]) -> str:
    """How large a data set is, and what its test measures rest on, by the results there are."""
    classes = f"{len(data.train.classes)} classes"
    if len(data.train.classes) < data.all_classes:
        classes += f" of {data.all_classes} (those with at least {data.min_present} known present training cells)"
    text = f"{len(data.train)} training and {len(data.test)} test images, {classes}."
    if records:
        scored, known = records[0]["test"]["classes"]["scored"], records[0]["test"]["known"]
        text += (
            f" Class means over {scored} classes; test measures rest on {known['present'] + known['absent']:,} known "
            f"cells, {known['present']:,} of them present."
        )
    return text


def rank_caption(results: Results) -> str:
    """How to read the ranks."""
    first = results.grid.seeds[0]
    lines = [
        "Rank 1 is best, by the mean over the seeds that all ranked methods of a setting have; equal ones share the "
        "mean of their ranks.",
        f"A method without a result on seed {first} has no rank. Mean ranks that stand on different settings do not "
        f"compare.",
    ]
    return _listed(lines)


def share_caption(results: Results) -> str:
    """How to read a measure by the share of known labels."""
    baseline = results.grid.baseline
    lines = [
        "A line for each method over the maskings that state a share of labels, or of present labels, to keep known "
        "(per_class: of each class and sign).",
        *_basis(results),
    ]
    if baseline is not None:
        lines.append(f"The gain over {baseline} is paired by seed: both learned from the same known cells.")
    return _listed(lines)


def sweep_caption(results: Results) -> str:
    """How to read a measure by a setting."""
    return _listed(["A line for each masking over rows that differ in one number alone.", *_basis(results)])


def _basis(results: Results) -> list[str]:
    """Seeds and classes behind values that are drawn."""
    grid = results.grid
    scored = {data: results.scored_classes(data) for data in grid.data}
    classes = ", ".join(f"{count} classes of {data}" for data, count in scored.items() if count is not None)
    several = (
        f"Means over those of the seeds {joined(grid.seeds, ', ')} that have a result; bars are one sample standard "
        "deviation to each side where there are several."
    )
    return [
        several if len(grid.seeds) > 1 else f"Of one seed ({grid.seeds[0]}).",
        f"Class means over {classes}. What each measure is stands at the head of this file.",
    ]


def choice_caption() -> str:
    """What stands in the table of choices."""
    return (
        "mAP, raw, of held-out known training cells; ‡ where no absent cell is known: their mAP among unknown cells, "
        "which is another measure."
    )


def curve_caption() -> str:
    """How to read the curves."""
    return (
        "Measured on known training cells that are held out, never on test cells, after each epoch that was judged. "
        "Lines are means over the seeds that a method has; bands reach one sample standard deviation to each side."
    )


def test_curve_caption() -> str:
    """How to read the curves of test mAP."""
    return (
        "To be looked at: measured on test cells while the rows trained, and read by nothing that chooses a learning "
        "rate, an epoch, a threshold or a row."
    )


def set_aside_caption() -> str:
    """How to read what methods set aside."""
    return (
        "Unknown cells that a method does not learn as absent, counted in each epoch of training against the complete "
        "labels, which the training never sees: how many of them are present, and how many of all unknown cells that "
        "are present they are. Means over networks and seeds."
    )


def recognised_caption(grid: Grid) -> str:
    """How to read which labels are recognised."""
    asked = grid.recognised
    if asked is None:
        return ""
    return (
        f"The first {asked.images} test images with a present label, and their present labels, marked for each method "
        f"that has them among the {asked.top} highest of all predictions of the image (of equal ones the earlier class "
        f"comes first); what fewest methods recognise stands on top. Seed {grid.seeds[0]}. A few images are no measure."
    )


def joined(values: Iterable[float], separator: str = " ") -> str:
    """Numbers as short as they can be."""
    return separator.join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
