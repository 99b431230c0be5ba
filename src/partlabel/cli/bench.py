"""`partlabel bench`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o
from partlabel.errors import UsageError


def bench(
    grid: Annotated[Path, typer.Argument(help="TOML file: data × masking × method × seeds.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of results; what it holds already is not run again.", show_default=False)
    ] = None,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="Try the file out: every row once, on built-in scenes with a tiny network. The numbers mean nothing.",
        ),
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Run nothing; tell trainings, steps and images from the file alone.")
    ] = False,
    images_per_second: Annotated[
        float | None,
        typer.Option(help="Images that your machine trains on in a second; --cost tells hours by it.", min=0),
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Run a grid of trainings one after the other, and make its tables and plots."""
    from partlabel.api.bench import bench as run
    from partlabel.api.bench import bench_cost

    if cost:
        typer.echo(bench_cost(grid, images_per_second=images_per_second))
        return
    if out is None:
        raise UsageError("--out is missing: the folder of results; without results there is --cost")
    outcome = run(grid, out=out, small=small, reporter=o.reporter(quiet))
    typer.echo(outcome.table.read_text(encoding="utf-8"))
    for cell, why in outcome.failed.items():
        typer.echo(f"no result for {cell}: {why}", err=True)
    if outcome.failed:
        raise typer.Exit(1)
