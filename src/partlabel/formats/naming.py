"""Image names as the rest of the program has them: relative to the folder of the images."""

import re
from dataclasses import replace
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.formats.reading import Reading
from partlabel.wording import amount

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


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


def with_note_on_addresses(reading: Reading) -> Reading:
    """The reading, with a note where image names are web addresses: pictures are files here."""
    addresses = [name for name in reading.table.images if _ADDRESS.match(name)]
    if not addresses:
        return reading
    note = (
        f"{amount(len(addresses), 'image name')} of addresses, first {addresses[0]!r}: images are read from a folder; "
        f"download them, and take the front of the names off with --strip"
    )
    return reading._replace(report=replace(reading.report, notes=(*reading.report.notes, note)))
