"""`partlabel recover`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def recover(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    table: Annotated[Path, typer.Argument(help="Label file whose unknown cells are to be filled; it is not changed.")],
    out: Annotated[Path, typer.Option(help="CSV file of suggestions to write; OUT.json says how they were chosen.")],
    images: o.Images = None,
    truth: Annotated[
        Path | None, typer.Option(help="True labels, to mark suggestions as right or wrong in report.html.")
    ] = None,
    min_precision: Annotated[float, typer.Option(help="Precision the suggestions should reach.")] = 0.95,
    *,
    read: ReadArguments,
    max_image_mb: o.MaxImageMb = None,
    quiet: o.Quiet = False,
) -> None:
    """Suggest labels for unknown cells, each with a calibrated probability."""
    o.check_there([table, truth], images)
    from partlabel.api.recover import recover as api

    suggestions = api(
        run,
        table,
        images=images,
        out=out,
        truth=truth,
        min_precision=min_precision,
        max_image_mb=max_image_mb,
        reporter=o.reporter(quiet),
        read=read,
    )
    typer.echo(f"{out}: {len(suggestions)} suggestions")
