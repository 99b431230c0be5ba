"""`partlabel demo`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o


def demo(
    out: Annotated[Path, typer.Option(help="Folder for images, runs, summary.json and report.html.")] = Path("demo"),
    quiet: o.Quiet = False,
) -> None:
    """The whole path on built-in data: hide 80 % of the labels, train three ways, evaluate, recover."""
    from partlabel.api.demo import demo as run

    typer.echo(run(out, reporter=o.reporter(quiet)))
