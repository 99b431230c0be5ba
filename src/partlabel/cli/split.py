"""`partlabel split`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def split(
    table: Annotated[
        Path, typer.Argument(help="Label file, or NAME:DIR (see `partlabel datasets`); it is not changed.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write PART.csv and split.json to.")],
    shares: Annotated[str, typer.Option(help="Parts and their shares of the images.")] = "train=0.8,test=0.2",
    by: Annotated[
        list[str] | None,
        typer.Option(help="What keeps images together: folder, date or near-duplicates. May be given several times."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="CSV with the columns image and group; groups stay together.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of the images, for date and near-duplicates.")] = None,
    max_distance: Annotated[int, typer.Option(help="Bits, of 64, in which near-duplicates may differ (0 to 16).")] = 4,
    stratified: Annotated[
        bool, typer.Option("--stratified/--by-images-alone", help="Share out the known cells of each class as well.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of the order in which equals are dealt out.")] = 0,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """Split a table so that nothing leaks: copies and groups stay together, every class is known in each part."""
    from partlabel.api.split import split as run

    run(
        table,
        out=out,
        shares=o.shares(shares),
        by=by or (),
        groups=groups,
        images=images,
        max_distance=max_distance,
        stratified=stratified,
        seed=seed,
        reporter=o.reporter(quiet),
        read=read,
    )
    typer.echo(out)
