"""`partlabel bench`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o


def bench(
    grid: Annotated[Path, typer.Argument(help="TOML file: data × masking × method × seeds.")],
    out: Annotated[Path, typer.Option(help="Folder of results; what it holds already is not run again.")],
    quiet: o.Quiet = False,
) -> None:
    """Run a grid of trainings one after the other, and make its table."""
    from partlabel.api.bench import bench as run

    run(grid, out=out, reporter=o.reporter(quiet))
    typer.echo((out / "table.md").read_text(encoding="utf-8"))
