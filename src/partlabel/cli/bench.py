"""`partlabel bench`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o


def bench(
    grid: Annotated[Path, typer.Argument(help="TOML file: data × masking × method × seeds.")],
    out: Annotated[Path, typer.Option(help="Folder of results; what it holds already is not run again.")],
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="Try the file out: every row once, on built-in scenes with a tiny network. The numbers mean nothing.",
        ),
    ] = False,
    quiet: o.Quiet = False,
) -> None:
    """Run a grid of trainings one after the other, and make its tables and plots."""
    from partlabel.api.bench import bench as run

    outcome = run(grid, out=out, small=small, reporter=o.reporter(quiet))
    typer.echo(outcome.table.read_text(encoding="utf-8"))
    for cell, why in outcome.failed.items():
        typer.echo(f"no result for {cell}: {why}", err=True)
    if outcome.failed:
        raise typer.Exit(1)
