"""`convert`: a label file in the format of another tool, with three states kept or the user's word that one is lost."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.files import write_text
from partlabel.formats import FORMATS, Format, ReadingReport, Suggested, label_source, write_table
from partlabel.formats.catalogue import written_format
from partlabel.formats.options import ReadOptions
from partlabel.formats.suggested import NO_SUGGESTIONS, Suggestion
from partlabel.formats.text import formula_safe
from partlabel.images.kinds import image_files
from partlabel.images.paths import image_root
from partlabel.inspection.folder import meant_files
from partlabel.labels import LabelTable, Source
from partlabel.names import names_alike, same_file_key, told_apart
from partlabel.opening import ReadArguments, Table, open_table, refuse_to_overwrite
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.suggestions_file import read_probabilities
from partlabel.wording import amount

Losable = Literal["absent", "unknown", "images", "classes", "order"]


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was read and written.

    Args:
        table: the labels, with the names that were written.
        suggested: the suggestions that were written, or kept aside.
        report: how the file was read; None for a table in memory or a published data set.
        notes: what changed on the way, and what the target does not hold, a sentence each.
    """

    table: LabelTable
    suggested: Suggested
    report: ReadingReport | None
    notes: tuple[str, ...]


def convert(
    table: Table,
    out: Path | str,
    *,
    to: str | None = None,
    images: Path | str | None = None,
    suggestions: Path | str | None = None,
    suggestions_out: Path | str | None = None,
    lose: Iterable[Losable] = (),
    prefix: str | None = None,
    write_codes: str | None = None,
    replace: bool = False,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> Converted:
    """Write labels in another format.

    Args:
        table: label table, the path of a label file, or `NAME:DIR` of a published data set; it is not changed.
        out: file or folder to write.
        to: key of `partlabel.formats.FORMATS`, where the ending of `out` does not tell.
        images: folder of the images; a name that is not in it becomes that of the only file that it can mean, of other
            case, ending or folder.
        suggestions: file that `recover` wrote; its suggestions are written beside the labels, as those of the table's
            own file are. Where the table is an export of Label Studio, and so is what is written, they are written
            alone, as predictions for the tasks of that project; with a prefix they are in tasks of a new project.
        suggestions_out: CSV to write the suggestions to, with image, class and probability.
        lose: what may be lost where the format cannot hold it, as `partlabel.formats.write_table` explains.
        prefix: what to put before image names, such as the address that an annotation tool shows images from.
        write_codes: the values of the states, in formats that have values.
        replace: write over files that are there; those that are read are never written over.
        reporter: where findings go.
        read: how to read the label file.

    Raises:
        LabelError: the file cannot be read, the format cannot hold the table, or suggestions are of other images.
        UsageError: an argument cannot be used.
        StorageError: the file cannot be written.
    """
    chosen, read = written_format(Path(out), to), read or {}
    targets = [Path(file) for file in (out, suggestions_out) if file is not None]
    sources = [table, *(file for file in (suggestions, read.get("rename"), read.get("relations")) if file is not None)]
    companions = chosen.companions(Path(out))
    refuse_to_overwrite(companions, *sources)
    _check_targets(targets, sources, replace)
    labels, reading = open_table(table, reporter, read)
    suggested = NO_SUGGESTIONS if reading is None else reading.report.suggested
    notes = _names_alike(labels)
    if images is not None:
        labels, suggested = _as_files(labels, suggested, image_root(images), notes)
    if suggestions is not None:
        _refuse_without_suggestions(chosen)
        report = None if reading is None else reading.report
        alone = _alone(chosen, report, labels, suggestions, Path(out), read) if prefix is None else None
        if alone is not None:
            if suggestions_out is not None:
                _write_suggested(alone[0], Path(suggestions_out))
            return Converted(table=labels, suggested=alone[0], report=report, notes=(*notes, *alone[1]))
        suggested = _joined(suggested, suggestions, labels)
    _check_targets([*targets, *companions], sources, replace)
    suggested = _open(suggested, labels, notes)
    written = suggested if "suggested" in chosen.written_with else NO_SUGGESTIONS
    write_table(
        labels, out, codes=write_codes, format=chosen.name, suggested=written, prefix=prefix, lose=frozenset(lose)
    )
    if suggestions_out is not None:
        _write_suggested(suggested, Path(suggestions_out))
    notes += _not_kept(labels, suggested, chosen, frozenset(lose), aside=suggestions_out is not None)
    notes += [f"{out}: {chosen.advice}"] if chosen.advice else []
    return Converted(
        table=labels, suggested=suggested, report=None if reading is None else reading.report, notes=tuple(notes)
    )


def _names_alike(labels: LabelTable) -> list[str]:
    spelt = {same_file_key(name): name for name in labels.images}
    alike = [(spelt[key], name) for name in labels.images if spelt[key := same_file_key(name)] != name]
    return [
        *(_alike("class", pair) for pair in names_alike(labels.classes)),
        *(_alike("image", pair) for pair in alike),
    ]


def _alike(what: str, names: Sequence[str]) -> str:
    return (
        f"{' and '.join(told_apart(*names[:2]))} are two {'classes' if what == 'class' else 'images'} that look alike"
    )


def _check_targets(targets: list[Path], sources: list[Table], replace: bool) -> None:
    """Refuse to write over what is read, over one another, and, unless it is asked for, over what is there."""
    refuse_to_overwrite(targets, *sources)
    resolved = [target.resolve() for target in targets]
    if len({*resolved}) < len(resolved):
        raise UsageError(f"two things would be written to {targets[-1]}; name another file")
    there = next((target for target in targets if target.is_file() or target.is_symlink()), None)
    if there is not None and not replace:
        raise UsageError(f"{there} is there already; name another file, or write over it with --replace")


def _as_files(labels: LabelTable, suggested: Suggested, root: Path, notes: list[str]) -> tuple[LabelTable, Suggested]:
    """Names as those of files, where only one file can be meant."""
    files, _ = image_files(root)
    there = {*files}
    lost = [name for name in labels.images if name not in there]
    meant = meant_files(files, lost)
    taken: dict[str, list[str]] = {}
    for name, file in meant.items():
        taken.setdefault(file, []).append(name)
    new = {names[0]: file for file, names in taken.items() if len(names) == 1 and file not in labels.image_positions}
    if new:
        first = next(iter(new))
        notes.append(f"{amount(len(new), 'name')} became those of files in {root}, first: {first!r} is {new[first]!r}")
    if left := [name for name in lost if name not in new]:
        notes.append(f"{amount(len(left), 'image')} cannot be found in {root}, first: {left[0]!r}")
    names = tuple(new.get(name, name) for name in labels.images)
    return dataclasses.replace(labels, images=names), suggested.renamed(
        new.get(name, name) for name in suggested.images
    )


def _refuse_without_suggestions(chosen: Format) -> None:
    if "suggested" not in chosen.written_with:
        able = ", ".join(format.name for format in FORMATS.values() if "suggested" in format.written_with)
        raise UsageError(f"{chosen.name} does not hold suggestions; {able} do")


def _alone(
    chosen: Format,
    report: ReadingReport | None,
    labels: LabelTable,
    suggestions: Path | str,
    out: Path,
    read: ReadArguments,
) -> tuple[Suggested, tuple[str, ...]] | None:
    """Suggestions written for the project that the table was exported from, with notes; None where it was not."""
    if report is None or report.format != chosen.name:
        return None
    given, notes = _given(suggestions), list[str]()
    strange = [one for one in given if one.class_name not in labels.class_positions]  # the format says what is missing
    suggested = _open(Suggested.of(one for one in given if one.class_name in labels.class_positions), labels, notes)
    _refuse_others([one for one in given if one.image not in labels.image_positions], suggestions)
    source, wanted = label_source(report.path), Suggested.of([*strange, *suggested])
    found = chosen.suggestions_alone(source, ReadOptions.of(read), labels.images, wanted)
    if found is None:
        return None
    write_text(out, found[0])
    return suggested, (*notes, *found[1])


def _open(suggested: Suggested, labels: LabelTable, notes: list[str]) -> Suggested:
    """The suggestions of cells that nobody has decided."""
    left = suggested.open_in(labels)
    if dropped := len(suggested) - len(left):
        notes.append(f"{amount(dropped, 'suggestion')} left out: of cells that are decided, not chosen or there twice")
    return left


def _given(path: Path | str) -> list[Suggestion]:
    given = [Suggestion(*one) for one in read_probabilities(path)]
    if not given:
        raise LabelError(
            f"{path} holds nothing that is suggested to be present, and nothing else can be suggested; if it is an "
            f"audit, answer it with `partlabel review {path}`"
        )
    return given


def _joined(suggested: Suggested, path: Path | str, labels: LabelTable) -> Suggested:
    """The suggestions of the label file and of a file of suggestions, which counts where both have a cell."""
    given = _given(path)
    _refuse_others([one for one in given if one.class_name not in labels.class_positions], path)
    _refuse_others([one for one in given if one.image not in labels.image_positions], path)
    cells = {(one.image, one.class_name): one for one in (*suggested, *given)}
    return Suggested.of(cells.values())


def _refuse_others(others: Sequence[Suggestion], path: Path | str) -> None:
    if others:
        raise LabelError(
            f"{path} suggests class {others[0].class_name!r} for {others[0].image!r}, which the labels do not have; "
            f"give the labels that the suggestions were made for"
        )


def _write_suggested(suggested: Suggested, path: Path) -> None:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "class", "probability"])
    rows.writerows([formula_safe(one.image), formula_safe(one.class_name), one.probability] for one in suggested)
    write_text(path, text.getvalue())


def _not_kept(
    labels: LabelTable, suggested: Suggested, chosen: Format, lose: frozenset[str], *, aside: bool
) -> Iterable[str]:
    """What the target does not hold besides states."""
    told = int(np.isin(labels.sources, (Source.IMPORT, Source.UNSURE), invert=True).sum())
    if labels.unsure and not chosen.keeps_unsure:
        yield f"{chosen.name} does not tell unsure from unknown: {amount(labels.unsure, 'cell')} will be asked again"
    if told and not chosen.keeps_sources:
        yield f"{chosen.name} does not keep where labels came from, which {amount(told, 'cell')} say"
    yield from _of_two_states(labels, chosen, lose)
    if len(suggested) and "suggested" in chosen.written_with:
        yield f"{amount(len(suggested), 'suggestion')} written beside the labels"
    if len(suggested) and "suggested" not in chosen.written_with and not aside:
        yield f"{chosen.name} holds no suggestions: {len(suggested):,} are left out; --suggestions-out FILE keeps them"


def _of_two_states(labels: LabelTable, chosen: Format, lose: frozenset[str]) -> Iterable[str]:
    """What a file that tells present from the rest does not say itself."""
    counts = labels.counts_by_class()
    if not chosen.two_states or not counts.absent.any() or "absent" in lose:
        return
    unknown = int(counts.unknown.sum())
    declared = f", which then holds for {amount(unknown, 'cell')} that are unknown here" if unknown else ""
    yield f"{chosen.name} does not say that the rest is absent: read it with --unlisted absent{declared}"
