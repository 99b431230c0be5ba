"""Options that several verbs share, and how their text becomes arguments of the api."""

import csv
import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from partlabel.errors import UsageError
from partlabel.read_arguments import ReadArguments

Images = Annotated[
    Path | None,
    typer.Option(help="Folder that the image names are relative to; a published data set brings its own."),
]
MaxImageMb = Annotated[
    float | None,
    typer.Option(
        "--max-image-mb",
        help="Most memory in MB that decoding one image may take. Default: 1024, or as the run was trained.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print results only.")]


def takes_labels(verb: Callable[..., None], *, leave_out: Iterable[str] = (), **defaults: str) -> Callable[..., None]:
    """The verb as a command, with an option for each of `ReadArguments` where the verb has the parameter `read`.

    Args:
        verb: a function whose parameter `read` takes `ReadArguments`.
        leave_out: options that the command has not.
        **defaults: of options, where they differ from those of `ReadArguments`.
    """
    options = [_option(name, declared, defaults) for name, declared in _declared().items() if name not in leave_out]

    def command(**given: Any) -> None:
        read = {option.name: _ARGUMENT.get(option.name, _same)(given.pop(option.name)) for option in options}
        verb(**given, read=read)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb).parameters.values():
        parameters += options if parameter.name == "read" else [parameter]
    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _declared() -> dict[str, Any]:
    return get_type_hints(ReadArguments, include_extras=True)


def _option(name: str, declared: Any, defaults: Mapping[str, str]) -> inspect.Parameter:
    """A parameter as Typer wants it; the help and the words to choose from are those of the declaration."""
    kind, text = get_args(declared)
    words = get_args(kind) if get_origin(kind) is Literal else ()
    annotation: Any = Annotated[_TEXT.get(name, kind), typer.Option(help=text)]
    default = defaults.get(name, words[0] if words else None)
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def check_there(tables: Iterable[Path | None], images: Path | None) -> None:
    """Refuse mistyped paths at once, before the seconds that a verb with a network takes to start."""
    from partlabel.images.paths import image_root
    from partlabel.opening import check_source

    for table in tables:
        if table is not None:
            check_source(table)
    if images is not None:
        image_root(images)


def where_pairs(assignments: list[str] | None) -> dict[str, str]:
    """`--where COLUMN=VALUE` as a dictionary."""
    return dict(map(_pair, assignments or []))


def shares(text: str) -> dict[str, float]:
    """`train=0.8,test=0.2` as a dictionary.

    Raises:
        UsageError: an entry is no NAME=NUMBER, or a name is there twice.
    """
    pairs = [_pair(entry) for entry in text.split(",") if entry.strip()]
    try:
        found = {name: float(value) for name, value in pairs}
    except ValueError as error:
        raise UsageError(f"--shares {text!r}: {error}; write for example train=0.8,test=0.2") from error
    if len(found) < len(pairs):
        raise UsageError(f"--shares {text!r} names a part twice")
    return found


def class_names(text: str | None) -> list[str] | None:
    """Names from a comma-separated list, in which quotes hold a comma, or from a file with one per line."""
    if text is None:
        return None
    path = Path(text)
    if os.path.isfile(path):  # unlike Path.is_file it takes a list that is too long for a name
        return [line.strip() for line in _text(path).splitlines() if line.strip()]
    names = next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), [])
    return [name.strip() for name in names if name.strip()]


def _ignored(columns: list[str] | None) -> tuple[str, ...]:
    return tuple(columns or ())


def _same(value: Any) -> Any:
    return value


# Options that are written otherwise on the command line than they are given in Python.
_TEXT: dict[str, Any] = {"classes": str | None, "where": list[str] | None, "ignore": list[str] | None}
_ARGUMENT: dict[str, Callable[[Any], Any]] = {"classes": class_names, "where": where_pairs, "ignore": _ignored}


def settings(assignments: list[str] | None) -> dict[str, Any]:
    """`--set key=value` as a dictionary; values are read as JSON where they can be, else they are text."""
    return {name: _value(text) for name, text in map(_pair, assignments or [])}


def config_file(path: Path | None) -> dict[str, Any]:
    """Settings from a TOML, YAML or JSON file.

    Raises:
        UsageError: the file is missing or holds no table of settings.
    """
    if path is None:
        return {}
    from partlabel.runs.config_file import read_config

    return read_config(path)


def refuse_arguments(values: Mapping[str, Any], verb: Callable[..., Any]) -> None:
    """Refuse settings that have the name of an argument of the verb itself.

    Raises:
        UsageError: there is one.
    """
    for name in values:
        if name in inspect.signature(verb).parameters:
            raise UsageError(
                f"{name!r} is no setting; leave it out of --set and --config and give --{name.replace('_', '-')}"
            )


def given(**values: Any) -> dict[str, Any]:
    """The options that were given, so that the verb's own defaults count for the others."""
    return {name: value for name, value in values.items() if value is not None}


def reporter(quiet: bool) -> Any:
    """Progress on standard error, or none."""
    from partlabel.progress import SILENT, Terminal

    return SILENT if quiet else Terminal()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text; save it as UTF-8") from error


def _pair(assignment: str) -> tuple[str, str]:
    name, equals, value = assignment.partition("=")
    if not equals or not name:
        raise UsageError(f"{assignment!r} is not NAME=VALUE")
    return name.strip(), value.strip()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
