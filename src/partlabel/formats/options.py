"""The options of reading a label file, checked. `partlabel.read_arguments` declares them, with their help."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from partlabel.errors import UsageError
from partlabel.formats.codes import CodeMap
from partlabel.formats.header import close_names, closest
from partlabel.labels import State

BY_ALL_FORMATS = frozenset({"classes", "conflicts", "format", "strip", "rename", "relations"})
ROLES = ("image", "class", "state", "source", "present", "absent", "unknown", "unsure", "suggested")
"""What `columns` can find under another name."""


class ReadOptions(BaseModel):
    """How to read a label file.

    Args:
        codes: what values mean, as in `'1=present,0=absent,=unknown'`; an empty left side is an empty cell. The words
            present, absent, unknown and unsure need no code. Tag lists have no values, and so no codes.
        unlisted: "absent" declares that every cell which the file does not list is absent; a declaration in the file
            takes precedence.
        classes: the classes, in this order. In long files and tag lists any other class is an error, unless it is
            renamed; of other formats these are chosen, after what follows from others by `relations`.
        where: keep rows whose column has this value, white space around it aside; such a column is no class.
        ignore: columns to leave out.
        conflicts: "fail" refuses a cell that is present on one line and absent on another; "unknown" makes it unknown
            and reports it.
        format: key of `partlabel.formats.FORMATS`, where name and content do not tell.
        separator: what stands between names in CSV tag lists; `;` by default.
        columns: what the file calls the column, field, control or attribute that holds a role, as in
            `'image=ImageID,present=tags'`; the roles are those of `ROLES`.
        rename: CSV with the columns `from` and `to`; `classes` are then by their new names.
        relations: file of implications and exclusions (`partlabel.formats.relations_file`), by which known cells are
            completed.
        strip: what to take off the front of every image name, such as the address of a server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codes: str | None = None
    unlisted: Literal["unknown", "absent"] = "unknown"
    classes: tuple[str, ...] | None = None
    where: dict[str, str] = Field(default={})
    ignore: tuple[str, ...] = ()
    conflicts: Literal["fail", "unknown"] = "fail"
    format: str | None = None
    separator: str | None = None
    columns: str | None = None
    rename: str | None = None
    relations: str | None = None
    strip: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "ReadOptions":
        """Options from keyword arguments.

        Raises:
            UsageError: there is no such option, or its value cannot be used.
        """
        given = dict(arguments)
        strange = sorted(set(given) - set(cls.model_fields))
        if strange:
            raise UsageError(f"read has no {strange[0]!r}; it takes {', '.join(cls.model_fields)}")
        given["where"] = dict(given.get("where") or {})
        for name in ("rename", "relations"):
            if given.get(name) is not None:
                given[name] = str(given[name])
        for name in ("classes", "ignore"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        try:
            return cls(**given)
        except ValidationError as error:
            raise UsageError(_sentence(error)) from error

    @field_validator("codes")
    @classmethod
    def _codes(cls, text: str | None) -> str | None:
        CodeMap.parse(text)
        return text

    @field_validator("classes")
    @classmethod
    def _classes(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is not None and (not names or "" in names or len(set(names)) < len(names)):
            raise ValueError("the list of classes is empty, holds an empty name or holds a name twice")
        return names

    @field_validator("separator")
    @classmethod
    def _separator(cls, separator: str | None) -> str | None:
        return check_separator(separator)

    @field_validator("columns")
    @classmethod
    def _columns(cls, text: str | None) -> str | None:
        _by_role(text)
        return text

    @cached_property
    def roles(self) -> Mapping[str, str]:
        """What the file calls each role that `columns` names."""
        return _by_role(self.columns)

    @cached_property
    def code_map(self) -> CodeMap:
        """The states that values stand for."""
        return CodeMap.parse(self.codes)

    @property
    def background(self) -> State:
        """State of a cell that the file does not list."""
        return State.ABSENT if self.unlisted == "absent" else State.UNKNOWN

    def unused(self, used: frozenset[str]) -> list[str]:
        """Options that are set, but not among those that a format uses."""
        fields = type(self).model_fields
        return [
            name
            for name in ReadOptions.model_fields
            if name not in used | BY_ALL_FORMATS and getattr(self, name) != fields[name].default
        ]

    def without(self, names: Iterable[str]) -> "ReadOptions":
        """The same with these options as if nobody had set them."""
        kept = {name: getattr(self, name) for name in set(type(self).model_fields) - {*names}}
        return type(self)(**kept)


def check_separator(separator: str | None) -> str | None:
    """The separator, if a CSV cell can be split at it.

    Raises:
        UsageError: it cannot.
    """
    if separator is not None and (not separator or '"' in separator):
        raise UsageError(f"separator {separator!r} is empty or holds a quote; give what stands between two names")
    return separator


def _by_role(text: str | None) -> Mapping[str, str]:
    """`'image=ImageID,present=tags'` as a mapping.

    Raises:
        UsageError: an entry is not `role=name`, or a role is given twice.
    """
    found: dict[str, str] = {}
    for entry in [] if text is None else next(csv.reader([text], skipinitialspace=True), []):
        role, equals, name = (part.strip() for part in entry.partition("="))
        if not equals or not name:
            raise UsageError(
                f"--columns entry {entry!r} is not ROLE=NAME; write for example 'image=ImageID,present=tags'"
            )
        if one_of("--columns role", role, ROLES) in found:
            raise UsageError(f"--columns {text!r} gives the role {role!r} two names; give it one")
        found[role] = name
    return found


def one_of(what: str, value: str, known: Iterable[str]) -> str:
    """The value, if it is known.

    Raises:
        UsageError: it is not; names the closest.
    """
    names = list(known)
    if value not in names:
        raise UsageError(_not_among(what, value, names))
    return value


def _not_among(what: str, value: str, names: Sequence[str]) -> str:
    near = f"; {closest(value, names)}" if close_names(value, names) else ""  # without one, all would stand twice
    return f"{what} {value!r} is not one of {', '.join(names)}{near}"


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name, message = str(first["loc"][0]), str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "literal_error":
        known = str(first["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return _not_among(name, str(first["input"]), known)
    return message if first["type"] == "value_error" else f"{name} {first['input']!r}: {message}"
