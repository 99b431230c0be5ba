"""`partlabel convert`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def convert(
    table: Annotated[
        Path, typer.Argument(help="Label file or folder, or NAME:DIR (see `partlabel datasets`); it is not changed.")
    ],
    out: Annotated[Path, typer.Argument(help="File or folder to write.")],
    to: Annotated[str | None, typer.Option(help="A name of `partlabel formats`, where OUT does not tell.")] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images: a name not in it becomes that of the only file that it can mean."),
    ] = None,
    suggestions: Annotated[
        Path | None,
        typer.Option(
            help="What `recover` wrote, to be written as suggestions beside the labels; of an export of Label Studio, "
            "with --to label_studio and no --prefix, alone, for the tasks of that project."
        ),
    ] = None,
    suggestions_out: Annotated[
        Path | None, typer.Option(help="Write the suggestions of TABLE to this CSV: image, class, probability.")
    ] = None,
    lose: Annotated[
        list[str] | None,
        typer.Option(help="What may be lost where OUT cannot hold it: absent, unknown, images, classes or order."),
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="What to put before image names, such as '/data/local-files/?d=photos/'.")
    ] = None,
    write_codes: Annotated[
        str | None, typer.Option(help="The values to write, such as '1=present,0=absent,=unknown'.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over files that are there.")] = False,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """Write labels in the format of another tool; no state is lost unless you say which."""
    from partlabel.api.convert import convert as run
    from partlabel.inspection.page import reading_lines
    from partlabel.opening import is_published
    from partlabel.wording import amount, printable

    chosen: Any = lose or ()
    found = run(
        table,
        out,
        to=to,
        images=images,
        suggestions=suggestions,
        suggestions_out=suggestions_out,
        lose=chosen,
        prefix=prefix,
        write_codes=write_codes,
        replace=replace,
        reporter=o.reporter(quiet or not is_published(table)),  # of a file, the report below says it all
        read=read,
    )
    if not quiet:
        counts = found.table.counts_by_class()
        states = ", ".join(f"{int(count.sum()):,} {state}" for state, count in counts._asdict().items())
        size = f"{amount(len(found.table), 'image')} × {amount(len(found.table.classes), 'class', 'classes')}"
        lines = [*reading_lines(found.report), f"{size}: {states}", *found.notes]
        typer.echo(printable("\n".join(lines)))
    typer.echo(out)
