"""What keywords say of an image, and what their classes are called."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from partlabel.formats.sidecars.xmp import Keywords, Path_, split_path
from partlabel.labels import Source, State
from partlabel.wording import amount

PREFIX = "partlabel"
PRESENT, ABSENT, SUGGESTED = "present", "absent", "suggested"
KNOWN_ABSENT, UNSURE = "known absent", "unsure"
_STATES = {
    PRESENT: (State.PRESENT, Source.REVIEW),
    ABSENT: (State.ABSENT, Source.REVIEW),
    UNSURE: (State.UNKNOWN, Source.UNSURE),
    KNOWN_ABSENT: (State.ABSENT, Source.IMPORT),
}


class Statement(NamedTuple):
    """The state of a class, or a suggestion of it with its probability."""

    path: Path_
    state: State
    source: Source
    probability: float | None = None


@dataclass
class LeftOut:
    """How many keywords were left out, by why."""

    ancestors: int = 0
    copies_alone: int = 0
    unread: dict[str, int] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """In words."""
        found = []
        if self.ancestors:
            found.append(
                f"{amount(self.ancestors, 'flat keyword')} repeating what a hierarchical keyword of the same image "
                f"stands under: nothing is present by that"
            )
        if self.copies_alone:
            found.append(
                f"left out: the keywords of {amount(self.copies_alone, 'image')} that are flat copies of keywords "
                f"under {PREFIX!r}, without the hierarchy that tells present from absent"
            )
        if self.unread:
            shown = ", ".join(f"{text!r} ({count:,})" for text, count in list(self.unread.items())[:5])
            words = ", ".join((*_STATES, f"{SUGGESTED} (CLASS|PROBABILITY)"))
            found.append(f"keywords under {PREFIX!r} that are none of {words} were not read: {shown}")
        return found


def statements(keywords: Keywords, left_out: LeftOut) -> list[Statement]:
    """What the keywords of one image say; a cell that is known has no suggestion."""
    paths = dict.fromkeys(keywords.paths)
    flat: dict[str, None] = {}
    for word in keywords.flat:
        levels = split_path(word, "/" if word.startswith(f"{PREFIX}/") else "|")
        if len(levels) > 1:
            paths[levels] = None
        elif levels:
            flat[levels[0]] = None
    own = [path for path in paths if path[0] == PREFIX]
    given = [path for path in paths if path[0] != PREFIX and (path[0] != "darktable" or len(path) == 1)]
    if PREFIX in flat and not own:
        left_out.copies_alone += 1
        flat.clear()
    leaves = {path[-1] for path in given}
    above = {level for path in given for level in path} - leaves
    covered = leaves | above | {level for path in own for level in path}
    left_out.ancestors += len(above & flat.keys())
    found = [one for path in own if (one := _own(path, left_out)) is not None]
    found += [Statement(path, State.PRESENT, Source.IMPORT) for path in given]
    return found + [Statement((word,), State.PRESENT, Source.IMPORT) for word in flat if word not in covered]


def _own(path: Path_, left_out: LeftOut) -> Statement | None:
    word, rest = path[1] if len(path) > 1 else PRESENT, path[2:]
    if not rest and word in {*_STATES, SUGGESTED}:
        return None  # programs list what a keyword stands under, too
    if word in _STATES:
        return Statement(rest, *_STATES[word])
    probability = _probability(rest[-1]) if word == SUGGESTED and len(rest) > 1 else None
    if probability is None:
        text = "|".join(path)
        left_out.unread[text] = left_out.unread.get(text, 0) + 1
        return None
    return Statement(rest[:-1], State.UNKNOWN, Source.IMPORT, probability)


def _probability(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


class ClassPaths:
    """Names of classes: the leaf, or the whole path where leaves of one name stand under different parents.

    Args:
        paths: all that occur.
    """

    def __init__(self, paths: Iterable[Path_]) -> None:
        self._parents: dict[str, set[Path_]] = {}
        for path in paths:
            if len(path) > 1:
                self._parents.setdefault(path[-1], set()).add(path)

    def name(self, path: Path_) -> str:
        """The class of a keyword."""
        several = len(self._parents.get(path[-1], ())) > 1
        return "|".join(path) if several else path[-1]

    def note(self) -> str | None:
        """The leaves that stand under different parents, in words."""
        twice = [leaf for leaf, paths in self._parents.items() if len(paths) > 1]
        if not twice:
            return None
        shown = "; ".join(f"{leaf!r}: {', '.join(map('|'.join, sorted(self._parents[leaf])))}" for leaf in twice[:3])
        return f"{amount(len(twice), 'keyword')} under several parents: each path is a class ({shown})"
