"""Image names as the rest of the program has them: relative to the folder of the images."""

from dataclasses import replace
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.formats.reading import Reading


def without_prefix(reading: Reading, prefix: str, path: Path) -> Reading:
    """The reading with `prefix` taken off the front of every image name.

    Raises:
        LabelError: no name begins so, or two names become one.
    """
    names = reading.table.images
    short = [name.removeprefix(prefix) for name in names]
    taken = sum(one != other for one, other in zip(names, short, strict=True))
    if not taken:
        raise LabelError(f"{path}: no image name begins with {prefix!r}; the first is {names[0]!r}")
    if "" in short or len(set(short)) < len(short):
        seen: set[str] = set()
        twice = next(name for name in short if not name or name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise LabelError(f"{path}: without {prefix!r} " + (f"two images are {twice!r}" if twice else "a name is empty"))
    note = f"{prefix!r} was taken off {taken:,} of {len(names):,} image names"
    suggested = reading.report.suggested
    report = replace(
        reading.report,
        notes=(*reading.report.notes, note),
        suggested=suggested.renamed(name.removeprefix(prefix) for name in suggested.images),
    )
    return Reading(replace(reading.table, images=tuple(short)), report)
