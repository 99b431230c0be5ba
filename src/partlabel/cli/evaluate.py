"""`partlabel evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from partlabel.cli import options as o
from partlabel.errors import UsageError
from partlabel.read_arguments import ReadArguments


def evaluate(
    paths: Annotated[list[Path], typer.Argument(metavar="[RUN] TRUTH", help="A finished run and a label file.")],
    images: o.Images = None,
    scores: Annotated[
        Path | None, typer.Option(help="Judge these scores instead of a run: image, one column per class.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="A class counts as predicted from this probability (with --scores: score) on, as the network gives it."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    *,
    read: ReadArguments,
    max_image_mb: o.MaxImageMb = None,
    quiet: o.Quiet = False,
) -> None:
    """Judge a run, or scores from any tool, by known labels. Thresholds come from held-out training cells, never from
    TRUTH.
    """
    from partlabel.opening import published_root

    if scores is not None and (len(paths) != 1 or threshold is None or images is not None or max_image_mb is not None):
        raise UsageError(
            "evaluate --scores FILE TRUTH needs --threshold (0.5 for probabilities, 0 for logits), no run and no "
            "--images or --max-image-mb"
        )
    folder = images or published_root(paths[-1])
    if scores is None and (len(paths) != 2 or folder is None):
        raise UsageError("evaluate needs RUN TRUTH --images DIR (or --scores FILE TRUTH --threshold T)")
    o.check_there(paths[-1:], images)
    from partlabel.api import evaluate as api

    if scores is not None and threshold is not None:
        result = api.evaluate_scores(
            scores, paths[0], threshold=threshold, json=json, reporter=o.reporter(quiet), read=read
        )
    elif folder is not None:
        result = api.evaluate(
            paths[0],
            paths[1],
            images=folder,
            thresholds="held_out" if threshold is None else threshold,
            json=json,
            max_image_mb=max_image_mb,
            reporter=o.reporter(quiet),
            read=read,
        )
    typer.echo(result.to_markdown())
