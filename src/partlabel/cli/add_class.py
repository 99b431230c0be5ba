"""`partlabel add-class`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def add_class(
    table: Annotated[
        Path, typer.Argument(help="Label file, or NAME:DIR (see `partlabel datasets`); it is not changed.")
    ],
    names: Annotated[
        list[str], typer.Argument(help="New classes. With --run, the table may have them, if the run does not.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Label file to write: the table with the new classes, unknown in every image.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="A finished run that ranks the images for them: by the names, or by known present images."),
    ] = None,
    images: o.Images = None,
    label_vectors: Annotated[
        str,
        typer.Option(help="Vectors of names: minilm (extra `words`), a .txt or .vec file of words, a text encoder."),
    ] = "minilm",
    queue: Annotated[
        Path | None, typer.Option(help="CSV of the images to ask about, for `review`. Default: OUT.queue.csv.")
    ] = None,
    top: Annotated[int, typer.Option(help="Images of each class in the queue.")] = 200,
    model: Annotated[
        Path | None,
        typer.Option(help="Folder for the run's model with the new classes, nothing else in it changed."),
    ] = None,
    max_image_mb: o.MaxImageMb = None,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """Add classes to a table, unknown everywhere; with a run, rank images for them to review, and extend its model.

    Review the queue with the new table, export, and give the table of the verdicts with --run and --model once more:
    the class is then fitted to them.
    """
    o.check_there([table], images)
    from partlabel.api.add_class import add_class as api

    added = api(
        table,
        names,
        out=out,
        run=run,
        images=images,
        label_vectors=label_vectors,
        queue=queue,
        top=top,
        model=model,
        max_image_mb=max_image_mb,
        reporter=o.reporter(quiet),
        read=read,
    )
    for path in added.written:
        typer.echo(path)
