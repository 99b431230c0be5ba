"""`partlabel explain`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def explain(
    run: Annotated[Path, typer.Argument(help="A run folder, or its model folder copied anywhere.")],
    paths: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    out: Annotated[Path, typer.Option(help="Folder for one PNG per image, and explained.json.")],
    labels: Annotated[str | None, typer.Option(help="Classes to show: a,b,c or a text file with one a line.")] = None,
    top: Annotated[int, typer.Option(help="Without --labels: how many of the most probable classes to show.")] = 5,
    maps: Annotated[
        Literal["method", "gradient", "all"],
        typer.Option(
            help="The method's own maps (gradient maps if it has none), gradient maps (Grad-CAM) beside them, or all "
            "that its head has."
        ),
    ] = "method",
    table: Annotated[
        Path | None, typer.Option(help="Label file of what training knew; the run's own labels without it.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Label file of the truth, to mark what is right, wrong or missed.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that the names in --table and --truth are relative to; as in training without it."),
    ] = None,
    broken: Annotated[
        Literal["fail", "skip"], typer.Option(help="What to do about images that cannot be read.")
    ] = "fail",
    *,
    read: ReadArguments,
    max_image_mb: o.MaxImageMb = None,
    quiet: o.Quiet = False,
) -> None:
    """Draw where in an image the model sees its labels. How to read label files (--codes and so on) holds for both of
    them.
    """
    o.check_there([table, truth], images)
    from partlabel.api.explain import explain as api

    overview = api(
        run,
        paths,
        out=out,
        labels=o.class_names(labels),
        top=top,
        maps=maps,
        table=table,
        truth=truth,
        images=images,
        broken=broken,
        max_image_mb=max_image_mb,
        reporter=o.reporter(quiet),
        read=read,
    )
    for entry in overview["images"]:
        typer.echo(out / entry["figure"])
