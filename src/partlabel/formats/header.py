"""Column roles: which column holds what, and which format a header announces."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from partlabel.errors import LabelError
from partlabel.formats.reading import ReadOptions

IMAGE_COLUMNS = ("image", "file", "filename", "path")


@dataclass(frozen=True)
class Columns:
    """The columns of a file that `where` and `ignore` leave, and those of `where`.

    Args:
        path: the file.
        names: all names, as they stand in the header.
        free: positions of the columns that are neither in `where` nor in `ignore`.
        where: position of each column of `where`.
    """

    path: Path
    names: tuple[str, ...]
    free: tuple[int, ...]
    where: dict[str, int]

    def image(self) -> int | None:
        """Position of the first free column named image, file, filename or path."""
        return next((column for column in self.free if plain(self.names[column]) in IMAGE_COLUMNS), None)

    def named(self, role: str) -> int | None:
        """Position of the free column with this name, in any case.

        Raises:
            LabelError: two columns have it.
        """
        found = [column for column in self.free if plain(self.names[column]) == role]
        if len(found) > 1:
            raise LabelError(
                f"{self.path}: columns {found[0] + 1} and {found[1] + 1} are both named {role!r}; rename one"
            )
        return found[0] if found else None

    def required(self, role: str) -> int:
        """`named`, where the column must be there."""
        column = self.image() if role == "image" else self.named(role)
        if column is None:
            wanted = "image, file, filename or path" if role == "image" else role
            raise LabelError(f"{self.path} has no column named {wanted}; its columns are {listed(self.names)}")
        return column

    def others(self, used: Iterable[int]) -> tuple[str, ...]:
        """Names of the columns that are neither used nor in `where`."""
        taken = {*used, *self.where.values()}
        return tuple(name for column, name in enumerate(self.names) if column not in taken)


def columns_of(path: Path, names: Sequence[str], options: ReadOptions) -> Columns:
    """Find the columns of `where` and `ignore`.

    Raises:
        LabelError: one of them is not in the header; names the closest.
    """
    for wanted in (*options.where, *options.ignore):
        if wanted not in names:
            raise LabelError(f"{path} has no column {wanted!r}; {closest(wanted, names)}")
    where = {wanted: names.index(wanted) for wanted in options.where}
    left_out = {*options.where, *options.ignore}
    return Columns(path, tuple(names), tuple(i for i, name in enumerate(names) if name not in left_out), where)


def csv_format(columns: Columns) -> str:
    """Format that a CSV header announces; the rule is in `partlabel.formats`.

    Raises:
        LabelError: the header fits none or several.
    """
    names = {plain(columns.names[column]) for column in columns.free}
    say = "say which with --format one_hot_csv, long or tag_lists"
    if columns.image() is None:
        mark = next((mark for mark in ";\t|" if len(columns.names) == 1 and mark in columns.names[0]), None)
        if mark is not None:
            raise LabelError(f"{columns.path}: its columns seem to be separated by {mark!r}; save it with commas")
        raise LabelError(
            f"{columns.path}: no column is named image, file, filename or path (columns: {listed(columns.names)}); "
            f"rename one, or say --format one_hot_csv to take the first column"
        )
    long, tags = names & {"class", "state"}, names & {"present", "absent"}
    if (long and tags) or len(long) == 1 or len(tags) == 1:
        raise LabelError(
            f"{columns.path}: the format is not clear, because a long file has both class and state, tag lists have "
            f"both present and absent, and here is {listed(sorted(long | tags))}; {say}"
        )
    return "long" if long else "tag_lists" if tags else "one_hot_csv"


def refuse_misspelt(path: Path, ignored: Iterable[str], roles: Iterable[str], options: ReadOptions) -> None:
    """Refuse a column or key that would be ignored and is probably meant as one that is read: its labels would be lost.

    Raises:
        LabelError: there is one, and `options.ignore` does not name it.
    """
    for name in ignored:
        if name in options.ignore:
            continue
        near = get_close_matches(plain(name), [role for role in roles if role != name], n=1, cutoff=0.85)
        if near:
            raise LabelError(
                f"{path}: nothing is read from {name!r}; did you mean {near[0]!r}? Rename it, or leave it out with "
                f"--ignore {shlex.quote(name)}"
            )


def plain(name: str) -> str:
    """A column name without case and outer white space."""
    return name.strip().casefold()


def closest(name: str, names: Iterable[str]) -> str:
    """A phrase that names the closest existing names."""
    known = list(names)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"closest: {listed(near)}" if near else f"there are: {listed(known)}" if known else "there is none"


def listed(names: Sequence[str]) -> str:
    """Names in quotes, the first eight of them."""
    return ", ".join(repr(name) for name in names[:8]) + (", ..." if len(names) > 8 else "")
