"""Column roles: which column holds what, and which format a header announces."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from partlabel.errors import LabelError

IMAGE_COLUMNS = ("image", "file", "filename", "path")
# What other tools call these columns; only used to advise.
_ELSEWHERE = {
    "image": "imageid imagename imagepath imagefile imgname imgpath img filename filepath fname file name photo id",
    "class": "labelname label labels classname category tag labelid",
    "state": "confidence value labelvalue score",
    "present": "tags labels choice choices categories classes label",
}


@dataclass(frozen=True)
class Columns:
    """The columns of a file that `where` and `ignore` leave, and those of `where`.

    Args:
        path: the file.
        names: all names of the header, without outer white space.
        free: positions of the columns that are neither in `where` nor in `ignore`.
        where: position of each column of `where`.
        said: roles that the user gave a column to.
    """

    path: Path
    names: tuple[str, ...]
    free: tuple[int, ...]
    where: dict[str, int]
    said: frozenset[str] = frozenset()

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


def columns_of(
    path: Path,
    header: Sequence[str],
    where: Iterable[str] = (),
    ignore: Iterable[str] = (),
    roles: Mapping[str, str] | None = None,
) -> Columns:
    """Find the columns of `where`, `ignore` and `roles`; outer white space of names does not count.

    A column of `roles` is called by its role from here on.

    Raises:
        LabelError: one of them is not in the header (names the closest), or a column of `where` or `roles` is there
            twice.
    """
    names = [name.strip() for name in header]
    names = _by_role(path, names, roles or {})
    chosen = {wanted: wanted.strip() for wanted in where}
    ignored = [wanted.strip() for wanted in ignore]
    for wanted in (*chosen.values(), *ignored):
        if wanted not in names:
            raise LabelError(f"{path} has no column {wanted!r}; {closest(wanted, names)}")
        if wanted in chosen.values() and names.count(wanted) > 1:
            raise LabelError(f"{path} has the column {wanted!r} more than once; rename one")
    left_out = {*chosen.values(), *ignored}
    free = tuple(i for i, name in enumerate(names) if name not in left_out)
    conditions = {wanted: names.index(name) for wanted, name in chosen.items()}
    return Columns(path, tuple(names), free, conditions, frozenset(roles or ()))


def _by_role(path: Path, names: list[str], roles: Mapping[str, str]) -> list[str]:
    """Names of columns, with the role of those that have one in place of their own name.

    Raises:
        LabelError: such a column is missing or there twice, or another column is called as the role.
    """
    renamed = list(names)
    for role, name in roles.items():
        if name not in names:
            raise LabelError(f"{path} has no column {name!r}; {closest(name, names)}")
        if names.count(name) > 1:
            raise LabelError(f"{path} has the column {name!r} more than once; rename one")
        if role != name and role in {plain(other) for other in names}:
            raise LabelError(f"{path}: --columns {role}={name}, but another column is called {role!r}; rename one")
        renamed[names.index(name)] = role
    return renamed


def csv_format(columns: Columns) -> str | None:
    """Format that a CSV header announces, None if it fits none or several; the rule is in `partlabel.formats`."""
    long, tags = _roles(columns, {"class", "state"}), _roles(columns, {"present", "absent"})
    lone = len(tags) == 1 and not tags <= columns.said  # a column present alone may be a class, unless the user says so
    if columns.image() is None or (long and tags) or len(long) == 1 or lone:
        return None
    return "long" if long else "tag_lists" if tags else "one_hot_csv"


def unclear(columns: Columns) -> LabelError:
    """The error for a header that announces no format."""
    if columns.image() is None:
        return LabelError(
            f"{columns.path}: no column is named image, file, filename or path (columns: {listed(columns.names)}); "
            + (renamings(columns.names) or "say which one it is with --columns image=NAME")
            + ", or say --format one_hot_csv to take the first column"
        )
    roles = _roles(columns, {"class", "state", "present", "absent"})
    return LabelError(
        f"{columns.path}: the format is not clear, because a long file has both class and state, tag lists have both "
        f"present and absent, and here is {listed(sorted(roles))}; say which with --format one_hot_csv, long or "
        f"tag_lists"
    )


def renamings(names: Sequence[str], roles: Sequence[str] = tuple(_ELSEWHERE)) -> str | None:
    """The option that reads a header with the words of another tool; None where nothing is known."""
    taken = {plain(name) for name in names}
    if taken & {*IMAGE_COLUMNS}:
        taken.add("image")
    advised: dict[str, str] = {}
    for role in roles:
        known = _ELSEWHERE[role].split()
        spelt = {name: re.sub(r"[\W_]+", "", plain(name)) for name in names if len(name) <= 60}
        found = sorted((known.index(word), name) for name, word in spelt.items() if word in known)
        if found and role not in taken:
            advised.setdefault(found[0][1], role)
    if "present" in roles and "state" not in {*advised.values()} | taken:  # one row per image: this column lists tags
        advised = {name: "present" if role == "class" else role for name, role in advised.items()}
    if not advised or len({*advised.values()}) < len(advised):
        return None
    roles_said = ",".join(f"{role}={name}" for name, role in advised.items())
    return f"if they mean that, say --columns {shlex.quote(roles_said)}"


def _roles(columns: Columns, wanted: set[str]) -> set[str]:
    return {plain(columns.names[column]) for column in columns.free} & wanted


def refuse_misspelt(path: Path, ignored: Iterable[str], roles: Iterable[str], left_out: Iterable[str]) -> None:
    """Refuse a column or key that would be ignored and is probably meant as one that is read: its labels would be lost.

    Raises:
        LabelError: there is one, and `left_out` does not name it.
    """
    for name in ignored:
        if name in {known.strip() for known in left_out}:
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
    near = close_names(name, known)
    return f"closest: {listed(near)}" if near else f"there are: {listed(known)}" if known else "there is none"


def close_names(name: str, names: Sequence[str]) -> list[str]:
    """Up to three names that are spelt much like one, the closest first."""
    return get_close_matches(name, names, n=3, cutoff=0.5)


def listed(names: Sequence[str]) -> str:
    """Names in quotes, the first eight of them, each cut short where it is long."""
    return ", ".join(repr(name if len(name) <= 60 else name[:60] + "...") for name in names[:8]) + (
        ", ..." if len(names) > 8 else ""
    )
