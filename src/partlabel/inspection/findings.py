"""The problems of a `Look`, one sentence each: what would stop a training, or make an evaluation say too much."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from partlabel.formats import ReadingReport
from partlabel.images.paths import two_spellings
from partlabel.inspection.folder import Suggestion
from partlabel.inspection.image_files import IdenticalFiles, ImageFiles
from partlabel.names import names_alike
from partlabel.wording import amount

if TYPE_CHECKING:
    from partlabel.inspection.look import Against, Look

_NAMED = 3


def findings(look: "Look") -> tuple[str, ...]:
    """All problem sentences of a look, none if nothing is wrong."""
    return (
        *_reading(look.report),
        *_names(look.known.images, look.known.classes),
        *([] if any(fit.misfit is None for fit in look.methods) else ["no method can learn from these labels"]),
        *(_images(look.image_files) if look.image_files else []),
        *(_split(look.against, look.image_files) if look.against else []),
    )


def some(names: Sequence[str], shown: int = _NAMED) -> str:
    """The first names, quoted, and how many more there are."""
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more


def same(group: IdenticalFiles) -> str:
    """The names of identical files."""
    return " = ".join(map(repr, dict.fromkeys((*group.in_table, *group.in_against))))


def explain(suggestion: Suggestion) -> str:
    """A suggestion as a sentence without its end."""
    return f"{suggestion.change} ({suggestion.image!r} is probably {suggestion.file!r})"


def _reading(report: ReadingReport | None) -> Iterable[str]:
    if report is not None and report.conflict_count:
        first = report.conflicts[0]
        yield (
            f"{report.path}: {amount(report.conflict_count, 'cell')} called present on one line and absent on another, "
            f"taken as unknown; first: image {first.image!r}, class {first.class_name!r}, "
            f"lines {', '.join(map(str, first.lines))}"
        )


def _names(images: Sequence[str], classes: Sequence[str]) -> Iterable[str]:
    for alike in names_alike(classes):
        both = " and ".join(map(repr, alike))
        yield f"classes {both} look alike; rename one if they are the same"
    if twice := two_spellings(images):
        yield f"{twice[0]!r} and {twice[1]!r} are the same image; write its name in one way"


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


def _nothing_found(image_files: ImageFiles) -> str:
    """One sentence: what was looked for, what the folder holds, and what to change where that can be told."""
    first = image_files.problems[0]
    holds = (
        f"{amount(image_files.files, 'image file')}, the first {image_files.first_file!r}"
        if image_files.files
        else "no image file"
    )
    advice = "give the folder that the names start from"
    if image_files.suggestions:
        best = image_files.suggestions[0]
        advice = f"{explain(best)}; that explains {best.explains:,} of {image_files.checked:,}"
    return (
        f"none of the {amount(image_files.checked, 'image')} of the table is in {image_files.folder!r}: the first "
        f"name is {first.image!r}, and the folder holds {holds}; {advice}"
    )


def _split(against: "Against", image_files: ImageFiles | None) -> Iterable[str]:
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
