"""The problems of a `Look`, one sentence each: what would stop a training, or make an evaluation say too much."""

from collections.abc import Iterable, Sequence

from partlabel.formats import ReadingReport
from partlabel.images.paths import two_spellings
from partlabel.inspection.folder import Rename
from partlabel.inspection.image_files import IdenticalFiles, ImageFiles
from partlabel.inspection.look import Against, MethodFit
from partlabel.inspection.states import KnownStates
from partlabel.names import names_alike
from partlabel.wording import amount

_NAMED = 3


def findings(
    known: KnownStates,
    methods: Sequence[MethodFit],
    report: ReadingReport | None,
    image_files: ImageFiles | None,
    against: Against | None,
) -> tuple[str, ...]:
    """All problem sentences of a look, none if nothing is wrong; arguments as in `Look`."""
    return (
        *_reading(report),
        *_names(known.images, known.classes),
        *_empty_classes(known),
        *([] if any(fit.misfit is None for fit in methods) else ["no method can learn from these labels"]),
        *(_images(image_files) if image_files else []),
        *(_split(against, image_files) if against else []),
    )


def some(names: Sequence[str], shown: int = _NAMED) -> str:
    """The first names, quoted, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more


def same(group: IdenticalFiles) -> str:
    """The names of identical files."""
    return " = ".join(map(repr, dict.fromkeys((*group.in_table, *group.in_against))))


def explain(rename: Rename) -> str:
    """A difference of names as a sentence without its end."""
    return f"{rename.change} ({rename.image!r} is probably {rename.file!r}; `partlabel convert --images` mends it)"


def _reading(report: ReadingReport | None) -> Iterable[str]:
    if report is not None and report.conflict_count:
        first = report.conflicts[0]
        yield (
            f"{report.path}: {amount(report.conflict_count, 'cell')} called present in one place and absent in "
            f"another, or contradicted by another cell, taken as unknown; first: image {first.image!r}, class "
            f"{first.class_name!r}" + (f", lines {', '.join(map(str, first.lines))}" if first.lines else "")
        )


def _names(images: Sequence[str], classes: Sequence[str]) -> Iterable[str]:
    for alike in names_alike(classes):
        both = " and ".join(map(repr, alike))
        yield f"classes {both} look alike; rename one if they are the same"
    if twice := two_spellings(images):
        yield f"{twice[0]!r} and {twice[1]!r} are the same image; write its name in one way"


def _empty_classes(known: KnownStates) -> Iterable[str]:
    empty = known.empty_classes
    if not empty:
        return
    if len(empty) == len(known.classes):
        yield "no cell is known, so that train refuses the table; label some images (partlabel review TABLE)"
        return
    yield (
        f"{amount(len(empty), 'class', 'classes')} without a known cell: {some(empty)}; train refuses the table, "
        f"unless told to leave them out (--drop-empty-classes)"
    )


def _images(image_files: ImageFiles) -> Iterable[str]:
    if image_files.none_found:
        yield _nothing_found(image_files)
        return
    for kind, what in (
        ("missing", "missing from the image folder"),
        ("outside", "named outside the image folder"),
        ("broken", "broken"),
        ("too large", "too large"),
    ):
        names = [problem.image for problem in image_files.problems if problem.kind == kind]
        if names:
            yield f"{amount(len(names), 'image')} of {image_files.checked:,} {_are(names)} {what}: {some(names)}"
    linked = [problem.image for problem in image_files.problems if problem.kind == "linked"]
    if linked:
        yield (
            f"{amount(len(linked), 'image')} of {image_files.checked:,} {'leads' if len(linked) == 1 else 'lead'} out "
            f"of the image folder by a link: {some(linked)}; copy the folder with its links followed (cp -rL)"
        )
    if image_files.depth.trouble:
        yield image_files.depth.trouble


def _nothing_found(image_files: ImageFiles) -> str:
    """One sentence: what was looked for, what the folder holds, and what to change where that can be told."""
    first = image_files.problems[0]
    holds = (
        f"{amount(image_files.files, 'image file')}, the first {image_files.first_file!r}"
        if image_files.files
        else "no image file"
    )
    advice = "give the folder that the names start from"
    if image_files.renames:
        best = image_files.renames[0]
        advice = f"{explain(best)}; that explains {best.explains:,} of {image_files.checked:,}"
    return (
        f"none of the {amount(image_files.checked, 'image')} of the table is in {image_files.folder!r}: the first "
        f"name is {first.image!r}, and the folder holds {holds}; {advice}"
    )


def _split(against: Against, image_files: ImageFiles | None) -> Iterable[str]:
    yield from _reading(against.report)
    if against.shared_names:
        names = against.shared_names
        yield f"{amount(len(names), 'image')} {_are(names)} in both tables: {some(names)}"
    if image_files is None:
        return
    if image_files.identical_across:
        groups = image_files.identical_across
        yield f"{amount(len(groups), 'image')} {_are(groups)} in both tables as identical files: {same(groups[0])}"
    if image_files.near:
        near = image_files.near[0]
        verb = "looks" if len(image_files.near) == 1 else "look"
        yield (
            f"{amount(len(image_files.near), 'image')} of the other table {verb} like one of this table: "
            f"{near.image!r} is near {near.closest!r}"
        )


def _are(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"
