"""`partlabel merge`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def merge(
    table: Annotated[
        Path, typer.Argument(help="Label file, or NAME:DIR (see `partlabel datasets`); it is not changed.")
    ],
    other: Annotated[
        Path, typer.Argument(help="Another one, such as checked suggestions; --codes hold for it as well.")
    ],
    out: Annotated[Path, typer.Option(help="Label file to write.")],
    prefer: Annotated[
        Literal["first", "second"] | None,
        typer.Option(help="Which one is right where one says present and the other absent. Default: refuse."),
    ] = None,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """Make one table of two: a known state beats an unknown one."""
    from partlabel.api.merge import merge as api

    api(table, other, out=out, prefer=prefer, reporter=o.reporter(quiet), read=read)
    typer.echo(out)
