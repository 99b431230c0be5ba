"""`partlabel recover`."""

from pathlib import Path
from typing import Annotated, Literal

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
    precision: Annotated[
        float | None, typer.Option(help="Share of the suggestions that are right, at least. Default: 0.9.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(help="With which that is promised. Default: 0.9.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Aim at the precision without a promise, where known cells are too few.")
    ] = False,
    state: Annotated[
        Literal["present", "absent"] | None, typer.Option(help="What to suggest. Default: present.")
    ] = None,
    each: Annotated[
        str | None,
        typer.Option(
            help="What keeps the promise by itself: 'class', or a CSV file with the columns class and group. Default: "
            "all suggestions together."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Cross-fit so many models, so that all known cells count; 0: use the held-out ones. Default: 5 for a "
            "fitted method, 0 for others, each of whose folds is a training.",
        ),
    ] = None,
    image_labels: Annotated[
        bool | None, typer.Option("--image-labels", help="Let the known labels of an image inform its unknown ones.")
    ] = None,
    audit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Draw so many suggestions at random to be judged, and write these; 0: as many as are expected to be "
            "needed. For labels that are not missing by chance, or too few.",
        ),
    ] = None,
    audited: Annotated[
        Path | None,
        typer.Option(
            help="A judged audit: write what its verdicts release, by the options that it was drawn with. With "
            "--audit: draw more."
        ),
    ] = None,
    doubtful: Annotated[
        Path | None,
        typer.Option(help="CSV file to write of known labels that the models contradict, to be reviewed."),
    ] = None,
    *,
    read: ReadArguments,
    max_image_mb: o.MaxImageMb = None,
    quiet: o.Quiet = False,
) -> None:
    """Suggest labels for unknown cells, with a promise on their precision."""
    o.check_there([table, truth], images)
    from partlabel.api.recover import recover as api
    from partlabel.recovery.groups import read_groups

    suggestions = api(
        run,
        table,
        images=images,
        out=out,
        truth=truth,
        precision=precision,
        confidence=confidence,
        estimate=estimate,
        state=state,
        each="class" if each == "class" else None if each is None else read_groups(Path(each)),
        folds=folds,
        image_labels=image_labels,
        audit=audit,
        audited=audited,
        doubtful=doubtful,
        max_image_mb=max_image_mb,
        reporter=o.reporter(quiet),
        read=read,
    )
    typer.echo(f"{out}: {len(suggestions)} {'suggestions' if audit is None else 'cells to judge'}")
