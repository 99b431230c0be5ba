"""`partlabel look`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o


def look(
    table: Annotated[Path, typer.Argument(help="Label file.")],
    images: Annotated[Path | None, typer.Option(help="Folder that the image names are relative to.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="A second label file (a test split) that should share no picture.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    codes: o.Codes = None,
    unlisted: o.Unlisted = "unknown",
    classes: o.Classes = None,
    where: o.Where = None,
    ignore: o.Ignore = None,
    conflicts: o.Conflicts = "fail",
    format: o.Format = None,
    quiet: o.Quiet = False,
) -> None:
    """What is known: labels by class, gaps, conflicts, missing or broken pictures, duplicates, methods that fit."""
    from partlabel.api.look import look as run
    from partlabel.files import write_json

    read = o.reading(codes, unlisted, classes, where, ignore, conflicts, format)
    found = run(table, images=images, against=against, reporter=o.reporter(quiet), read=read)
    if json is not None:
        write_json(json, found.to_json())
    typer.echo(found.to_text())
