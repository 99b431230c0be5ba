"""`partlabel look`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def look(
    table: Annotated[Path, typer.Argument(help="Label file, or NAME:DIR (see `partlabel datasets`).")],
    images: Annotated[Path | None, typer.Option(help="Folder that the image names are relative to.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="A second label file (a test split) that should share no image.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    against_where: Annotated[
        list[str] | None, typer.Option(help="Rows of the second file, where --where does not suit it: COLUMN=VALUE.")
    ] = None,
    max_image_mb: o.MaxImageMb = None,
    max_distance: Annotated[
        int, typer.Option(help="Bits, of 64, in which images may differ from those of --against (0 to 16).")
    ] = 4,
    guess_codes: Annotated[
        bool,
        typer.Option("--guess-codes", help="Where values have no code, print a guess at each; nothing is applied."),
    ] = False,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """What is known: labels by class, gaps, conflicts, missing or broken images, duplicates, methods that fit.

    Exits with 1 where something is wrong with labels or images.
    """
    from partlabel.api.look import look as run
    from partlabel.files import write_json
    from partlabel.formats.uncoded import UncodedError
    from partlabel.inspection.page import page
    from partlabel.inspection.record import record
    from partlabel.wording import printable

    other: Any = {**read, "where": o.where_pairs(against_where)} if against_where else None
    try:
        found = run(
            table,
            images=images,
            against=against,
            max_distance=max_distance,
            **o.given(max_image_mb=max_image_mb),
            reporter=o.reporter(quiet),
            read=read,
            against_read=other,
        )
    except UncodedError as error:
        if guess_codes:
            typer.echo(printable("\n".join(error.lines())))
        raise
    if json is not None:
        write_json(json, record(found))
    typer.echo(page(found))
    if found.problems:
        raise typer.Exit(1)
