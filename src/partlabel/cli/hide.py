"""`partlabel hide`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o
from partlabel.read_arguments import ReadArguments


def hide(
    table: Annotated[
        Path, typer.Argument(help="Label file, or NAME:DIR (see `partlabel datasets`); it is not changed.")
    ],
    out: Annotated[Path, typer.Option(help="Label file to write; OUT.json records how.")],
    masking: Annotated[
        str,
        typer.Option(help="known_ratio, drop_positives, single_positive, positives_only, per_class or a legacy_ one."),
    ] = "known_ratio",
    ratio: Annotated[float | None, typer.Option(help="Share that stays known, for maskings that take one.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draw.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting of the masking: NAME=VALUE.")] = None,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """Make an incomplete table from a complete one, the same on any machine."""
    from partlabel.api.hide import hide as run

    chosen = o.settings(set_) | ({} if ratio is None else {"ratio": ratio})
    o.refuse_arguments(chosen, run)
    run(table, masking=masking, out=out, seed=seed, reporter=o.reporter(quiet), read=read, **chosen)
