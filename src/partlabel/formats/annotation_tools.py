"""What the formats of annotation tools share when they are written and when their XML is read."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

import numpy as np
from defusedxml.common import DefusedXmlException

from partlabel.errors import LabelError, UsageError
from partlabel.formats.suggested import NO_SUGGESTIONS, Suggested, Suggestion
from partlabel.labels import LabelTable, Source, State

XML_ERRORS = (ParseError, DefusedXmlException, LookupError, RecursionError, UnicodeError, ValueError)
"""What reading hostile XML may raise."""
STATED = {
    "present": (State.PRESENT, Source.IMPORT),
    "absent": (State.ABSENT, Source.IMPORT),
    "unsure": (State.UNKNOWN, Source.UNSURE),
}
"""What is said of a class, in the words that controls, fields and attributes have for it."""
_WORDS = {state: word for word, (state, _) in STATED.items()}
_BLOCK = 1000  # images
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class ImageCells(NamedTuple):
    """What is said and what is suggested of one image.

    Args:
        image: its name.
        words: a word of `STATED` by class, in the order of the table.
        suggested: of cells that are undecided.
    """

    image: str
    words: Mapping[str, str]
    suggested: Sequence[Suggestion] = ()

    def named(self, word: str) -> list[str]:
        """The classes of which this is said."""
        return [name for name, found in self.words.items() if found == word]


def image_cells(table: LabelTable, suggested: Suggested = NO_SUGGESTIONS) -> Iterator[ImageCells]:
    """The known and the unsure cells of each image, those that a background implies included, and its suggestions."""
    by_image = suggested.by_image()
    for start in range(0, len(table), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(table)))
        for row, states, undecided in zip(rows, table.rows(rows), table.open_rows(rows), strict=True):
            said = {table.classes[column]: _WORDS[State(states[column])] for column in np.flatnonzero(~undecided)}
            image = table.images[row]
            yield ImageCells(image, said, by_image.get(image, []))


def check_roles(roles: Mapping[str, str], known: Iterable[str], format: str) -> None:
    """Refuse roles of `columns` that a format does not know.

    Raises:
        UsageError: there is one.
    """
    names = list(known)
    for role in roles:
        if role not in names:
            raise UsageError(f"--columns gives {role!r}, but of {format} it can name {', '.join(names)} only")


def brief(name: object) -> str:
    """A name from a file in quotes, short enough for a message."""
    text = str(name)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def brief_list(names: Iterable[object]) -> str:
    """The first eight of some names from a file, each short enough for a message."""
    first = [brief(name) for name in islice(names, 9)]
    return ", ".join(first[:8]) + (", ..." if len(first) > 8 else "")


def refuse_xml_unfit(names: Iterable[str], path: Path) -> None:
    """Refuse names with characters that XML cannot hold.

    Raises:
        LabelError: there is one.
    """
    for name in names:
        if _UNFIT.search(name):
            raise LabelError(f"{path}: the name {name!r} holds a character that XML cannot hold; rename it")


def xml_refusal(path: Path, error: Exception) -> LabelError:
    """The sentence for XML that cannot be read safely."""
    if isinstance(error, DefusedXmlException):
        return LabelError(
            f"{path} declares a document type or entities, which no annotation tool writes and which may be an "
            f"attack; it is not read"
        )
    return LabelError(f"{path} is no complete XML ({str(error)[:200]}); export it again")
