"""A `Look` as a page of text for a terminal."""

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO

import numpy as np
from rich.console import Console
from rich.table import Table

from partlabel.formats import ReadingReport
from partlabel.images.kinds import others
from partlabel.inspection.findings import explain, same, some
from partlabel.inspection.image_files import ImageFiles
from partlabel.inspection.look import Look
from partlabel.inspection.states import KnownStates
from partlabel.wording import amount, printable

_SHOWN = 10


def page(look: Look) -> str:
    """The page; sections without content are left out."""
    sections = [
        _overview(look.known),
        _classes(look.known),
        _gaps(look.known),
        reading_lines(look.report),
        reading_lines(look.against.report if look.against else None),
        _methods(look),
        _images(look.image_files),
        _across(look),
        _problems(look.problems),
    ]
    text = "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)
    return printable(text)


def _overview(known: KnownStates) -> Iterator[str]:
    present, absent, unknown = known.totals.values()
    share = (present + absent) / max(present + absent + unknown, 1)
    yield f"{amount(len(known.images), 'image')} × {amount(len(known.classes), 'class', 'classes')}"
    yield f"Cells: {present:,} present, {absent:,} absent, {unknown:,} unknown ({_percent(share)} known)"
    if known.unsure:
        yield f"{amount(known.unsure, 'unknown cell')} unsure: somebody was asked and could not decide"
    if known.declared_complete:
        yield f"Unlisted cells are absent by declaration in {amount(len(known.declared_complete), 'class', 'classes')}"
    for what, counts in (
        ("known", known.by_image.present + known.by_image.absent),
        ("present", known.by_image.present),
    ):
        if counts.size:
            lowest, middle, highest = np.quantile(counts, (0, 0.5, 1))
            spread = f"median {middle:,.10g}, mean {counts.mean():,.2f}"
            yield f"An image has {lowest:,.0f} to {highest:,.0f} {what} cells, {spread}"


def _classes(known: KnownStates) -> Iterator[str]:
    """The classes of which least is known, first by the rarer sign."""
    counts, prevalence = known.by_class, known.prevalence
    order = np.lexsort((known.known_by_class, np.minimum(counts.present, counts.absent)))
    more = len(known.classes) > _SHOWN
    which = f"the {_SHOWN} of {len(known.classes):,} that" if more else "those that"
    yield f"States by class, {which} know least first"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("class", max_width=40, no_wrap=True, overflow="ellipsis")
    for heading in ("present", "absent", "unknown", "prevalence"):
        table.add_column(heading, justify="right", no_wrap=True)
    for column in order[:_SHOWN]:
        name = known.classes[column]
        cells = [f"{count[column]:,}" for count in counts]
        share = "-" if np.isnan(prevalence[column]) else _percent(prevalence[column])
        table.add_row(name if name.isprintable() else repr(name), *cells, share)
    text = StringIO()
    Console(file=text, width=120, color_system=None, force_terminal=False, markup=False, emoji=False).print(table)
    yield from _indented(line.rstrip() for line in text.getvalue().splitlines())
    yield "  (prevalence: share of present among known cells)"


def _gaps(known: KnownStates) -> Iterator[str]:
    for what, names, one, several in (
        ("without a known cell", known.empty_classes, "class", "classes"),
        ("with known present cells only", known.only_present, "class", "classes"),
        ("with known absent cells only", known.only_absent, "class", "classes"),
        ("without a known cell", known.images_without_known_cell, "image", "images"),
    ):
        if names:
            yield f"{amount(len(names), one, several)} {what}: {some(names, _SHOWN)}"


def reading_lines(report: ReadingReport | None) -> Iterator[str]:
    """How a file was read; nothing where there was none."""
    if report is None:
        return
    left_out = f", {report.rows_filtered:,} left out by --where" if report.rows_filtered else ""
    yield (
        f"{report.path}: {report.format}, {report.encoding}; {amount(report.rows_read, 'row')} read, "
        f"{report.rows_used:,} used"
        f"{left_out}"
    )
    if report.ignored_columns:
        yield f"  ignored columns: {some(report.ignored_columns, _SHOWN)}"
    yield from (f"  {note}" for note in report.notes)
    if len(report.suggested):
        yield f"  {amount(len(report.suggested), 'suggestion')} beside the labels, which are no labels"
    if report.rows_skipped:
        yield f"  {amount(report.rows_skipped, 'row')} skipped"
        yield from _list([f"line {line}: {reason}" for line, reason in report.skipped[:_SHOWN]], report.rows_skipped)
    if report.duplicate_count:
        yield f"  {amount(report.duplicate_count, 'duplicate')} without contradiction, kept once"
        yield from _list([_cell(*found) for found in report.duplicates[:_SHOWN]], report.duplicate_count)
    if report.conflict_count:
        yield f"  {amount(report.conflict_count, 'cell')} both present and absent, or contradicted, taken as unknown"
        yield from _list([_cell(*found) for found in report.conflicts[:_SHOWN]], report.conflict_count)


def _cell(image: str, class_name: str | None, lines: tuple[int, ...]) -> str:
    of_class = "" if class_name is None else f", class {class_name!r}"
    more = ", ..." if len(lines) > _SHOWN else ""
    return f"image {image!r}{of_class}" + (f": lines {', '.join(map(str, lines[:_SHOWN]))}{more}" if lines else "")


def _methods(look: Look) -> Iterator[str]:
    fitting = [fit for fit in look.methods if fit.misfit is None]
    if fitting:
        yield "Methods that fit these labels"
        width = max(len(fit.method) for fit in fitting)
        yield from _indented(f"{fit.method:<{width}}  unknown cells are {fit.unknown}" for fit in fitting)
    if look.auto:
        if fitting:
            yield ""
        yield "What --method auto takes"
        networks: dict[str, list[str]] = {}
        for network, choice in look.auto.items():
            networks.setdefault(f"{choice.taken}: {choice.reason}", []).append(network)
        whichever = len(networks) == 1
        yield from _indented(
            sentence if whichever else f"{' or '.join(those)}: {sentence}" for sentence, those in networks.items()
        )
    if len(fitting) < len(look.methods):
        if fitting or look.auto:
            yield ""
        yield "Methods that do not fit"
        yield from _indented(fit.misfit for fit in look.methods if fit.misfit is not None)


def _images(image_files: ImageFiles | None) -> Iterator[str]:
    if image_files is None:
        return
    usable = image_files.checked - len(image_files.problems)
    yield f"Images in {image_files.folder!r}: {usable:,} of {image_files.checked:,} can be used"
    if image_files.problems:
        yield f"  {amount(len(image_files.problems), 'image')} cannot be used"
        shown = [f"{problem.kind}: {problem.reason}" for problem in image_files.problems[:_SHOWN]]
        yield from _list(shown, len(image_files.problems))
    for rename in image_files.renames[:3]:
        yield f"  {amount(rename.explains, 'missing name')}: {explain(rename)}"
    if image_files.left_out:
        yield f"  besides {amount(image_files.files, 'image file')} the folder holds {others(image_files.left_out)}"
    if image_files.unlisted:
        verb = "is" if len(image_files.unlisted) == 1 else "are"
        yield (
            f"  {amount(len(image_files.unlisted), 'image file')} of {image_files.files:,} {verb} in no table: "
            f"{some(image_files.unlisted, 3)}"
        )
    within = image_files.identical_within
    if within:
        yield f"  {amount(len(within), 'group')} of identical files within a table"
        yield from _list([same(group) for group in within[:_SHOWN]], len(within))


def _across(look: Look) -> Iterator[str]:
    against, image_files = look.against, look.image_files
    if against is None:
        return
    yield f"Against the other table, of {amount(against.images, 'image')}"
    yield f"  {amount(len(against.shared_names), 'name')} in both" + (
        f": {some(against.shared_names, _SHOWN)}" if against.shared_names else ""
    )
    if image_files is None:
        return
    copies = image_files.identical_across
    yield f"  {amount(len(copies), 'group')} of identical files across"
    yield from _list([same(group) for group in copies[:_SHOWN]], len(copies))
    verb = "looks" if len(image_files.near) == 1 else "look"
    yield f"  {amount(len(image_files.near), 'more image')} of it {verb} like one here"
    nearest = sorted(image_files.near, key=lambda near: near.distance)[:_SHOWN]
    rows = [
        f"{near.image!r} is {near.distance} bits from {near.closest!r}{_others(near.alike - 1)}" for near in nearest
    ]
    yield from _list(rows, len(image_files.near))
    if image_files.flat:
        yield f"  {amount(image_files.flat, 'flat image')} cannot be compared"


def _others(count: int) -> str:
    return f", and near {count:,} more" if count else ""


def _problems(found: Sequence[str]) -> Iterator[str]:
    yield f"Problems: {len(found)}" if found else "No problem found"
    yield from _list(list(found), len(found))


def _list(lines: Sequence[str], total: int) -> Iterator[str]:
    """Lines below a heading, and how many more there are."""
    yield from (f"    {line}" for line in lines)
    if total > len(lines):
        yield f"    and {total - len(lines):,} more"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    yield from (f"  {line}" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
