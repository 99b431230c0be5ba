"""`partlabel review`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partlabel.cli import options as o
from partlabel.errors import UsageError
from partlabel.read_arguments import ReadArguments
from partlabel.wording import printable


def review(
    source: Annotated[
        Path,
        typer.Argument(
            help="What to decide: suggestions that recover wrote; or a label file, every unknown cell of it; or a text "
            "file (.txt) with one class name per line, for every picture below --images."
        ),
    ],
    images: o.Images = None,
    table: Annotated[
        Path | None, typer.Option(help="Label file of what is known; it is shown, and not asked again.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="A run, to show where its model sees a class, and to learn from your verdicts.")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="File that verdicts are appended to. Default: SOURCE.verdicts.jsonl.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Your name beside your verdicts. Default: the user's name.")] = None,
    port: Annotated[int, typer.Option(help="Port of the page on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    learn_every: Annotated[
        int, typer.Option(help="Verdicts after which the model of --run learns from them; 0: never.", min=0)
    ] = 25,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser, or only print its address.")
    ] = True,
    export: Annotated[
        Path | None,
        typer.Option(help="No page: write the table (or SOURCE, if it is one) with the verdicts to this file."),
    ] = None,
    prefer: Annotated[
        Literal["review", "table"] | None,
        typer.Option(help="For --export: which one is right where a verdict contradicts a label. Default: refuse."),
    ] = None,
    *,
    read: ReadArguments,
    max_image_mb: o.MaxImageMb = None,
    quiet: o.Quiet = False,
) -> None:
    """Decide cells on a page of this machine; every verdict is kept at once. Then --export makes labels of them."""
    o.check_there([source, table], images)
    if prefer is not None and export is None:
        raise UsageError("--prefer is for --export; leave it out, or say which file to write (--export FILE)")
    from partlabel.api.review import review as api
    from partlabel.api.review import reviewed

    reporter = o.reporter(quiet)
    if export is not None:
        found = reviewed(
            source, out=export, images=images, table=table, journal=journal, prefer=prefer, reporter=reporter, read=read
        )
        for line in found.lines():
            typer.echo(printable(line))
        typer.echo(export)
        return

    def opened(address: str) -> None:
        typer.echo(address)
        if open_browser:
            from partlabel.reviewing.serving import open_in_browser

            open_in_browser(address)

    api(
        source,
        images=images,
        table=table,
        run=run,
        journal=journal,
        who=who,
        port=port,
        learn_every=learn_every,
        opened=opened,
        max_image_mb=max_image_mb,
        reporter=reporter,
        read=read,
    )
