"""Options that several verbs share, and how their text becomes arguments of the api."""

import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from partlabel.errors import UsageError

Images = Annotated[Path, typer.Option(help="Folder that the image names are relative to.")]
Codes = Annotated[
    str | None,
    typer.Option(help="What values mean, such as '1=present,0=absent,=unknown' (blank left side: empty cell)."),
]
Unlisted = Annotated[
    Literal["unknown", "absent"],
    typer.Option(help="What cells are that the file does not list. 'absent' is your declaration that it is complete."),
]
Classes = Annotated[str | None, typer.Option(help="Classes to use: a,b,c or a text file with one a line.")]
Where = Annotated[list[str] | None, typer.Option(help="Keep rows whose column has this value: COLUMN=VALUE.")]
Ignore = Annotated[list[str] | None, typer.Option(help="A column that is no class.")]
Conflicts = Annotated[
    Literal["fail", "unknown"], typer.Option(help="A cell both present and absent: refuse, or make it unknown.")
]
Format = Annotated[str | None, typer.Option(help="one_hot_csv, long or tag_lists, where name and header do not tell.")]
Separator = Annotated[str | None, typer.Option(help="What stands between names in CSV tag lists.")]
MaxImageMb = Annotated[
    float | None,
    typer.Option("--max-image-mb", help="Most memory in MB that decoding one image may take. Default: 1024."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print results only.")]


def reading(
    codes: str | None,
    unlisted: str,
    classes: str | None,
    where: list[str] | None,
    ignore: list[str] | None,
    conflicts: str,
    format: str | None,
    separator: str | None = None,
) -> Any:
    """Arguments of `partlabel.formats.read_table`."""
    return {
        "codes": codes,
        "unlisted": unlisted,
        "classes": class_names(classes),
        "where": where_pairs(where),
        "ignore": tuple(ignore or ()),
        "conflicts": conflicts,
        "format": format,
        "separator": separator,
    }


def check_there(tables: Iterable[Path | None], images: Path | None) -> None:
    """Refuse mistyped paths at once, before the seconds that a verb with a network takes to start."""
    from partlabel.formats import label_source
    from partlabel.images.paths import image_root

    for table in tables:
        if table is not None:
            label_source(table)
    if images is not None:
        image_root(images)


def where_pairs(assignments: list[str] | None) -> dict[str, str]:
    """`--where COLUMN=VALUE` as a dictionary."""
    return dict(map(_pair, assignments or []))


def class_names(text: str | None) -> list[str] | None:
    """Names from a comma-separated list or from a file with one a line."""
    if text is None:
        return None
    path = Path(text)
    if os.path.isfile(path):  # unlike Path.is_file it takes a list that is too long for a name
        return [line.strip() for line in _text(path).splitlines() if line.strip()]
    return [name.strip() for name in text.split(",") if name.strip()]


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
