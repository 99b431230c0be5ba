"""The options of reading a label file, checked. `partlabel.read_arguments` declares them, with their help."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from partlabel.errors import UsageError
from partlabel.formats.codes import CodeMap
from partlabel.formats.header import close_names, closest
from partlabel.labels import State

BY_ALL_FORMATS = frozenset({"classes", "where", "ignore", "conflicts", "format"})


class ReadOptions(BaseModel):
    """How to read a label file.

    Args:
        codes: what values mean, as in `'1=present,0=absent,=unknown'`; an empty left side is an empty cell. The words
            present, absent and unknown need no code. Tag lists have no values, and so no codes.
        unlisted: "absent" declares that every cell which the file does not list is absent; a declaration in the file
            takes precedence.
        classes: the classes, in this order. Only these columns of a one-hot file are read; in other formats any other
            class is an error.
        where: keep rows whose column has this value, white space around it aside; such a column is no class.
        ignore: columns to leave out.
        conflicts: "fail" refuses a cell that is present on one line and absent on another; "unknown" makes it unknown
            and reports it.
        format: key of `partlabel.formats.FORMATS`, where name and content do not tell.
        separator: what stands between names in CSV tag lists; `;` by default.
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
        return self.model_copy(update={name: type(self).model_fields[name].default for name in names})


def check_separator(separator: str | None) -> str | None:
    """The separator, if a CSV cell can be split at it.

    Raises:
        UsageError: it cannot.
    """
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise UsageError(f"separator {separator!r} is not a single character other than a quote or a line end")
    return separator


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
