"""`partlabel train`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from partlabel.cli import options as o
from partlabel.errors import UsageError
from partlabel.read_arguments import ReadArguments


def train(
    context: typer.Context,
    table: Annotated[Path | None, typer.Argument(help="Label file, or NAME:DIR (see `partlabel datasets`).")] = None,
    images: o.Images = None,
    out: Annotated[Path | None, typer.Option(help="Run folder to make.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with this run; nothing else is needed (--images DIR if the folder was moved)."),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="See `partlabel methods`; auto takes one by the labels and says why. Default: bce."),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="What turns maps into logits, for methods that are a loss: pooled (the default), ml_decoder or "
            "query2label; its settings are head_settings."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="timm name, hf-hub:NAME or local-dir:FOLDER. Default: resnet50.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option(help="Start the backbone from random weights.")] = False,
    freeze: Annotated[bool, typer.Option(help="Train on maps computed once: enough for a laptop.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Default: 15.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: 64.")] = None,
    lr: Annotated[
        float | None, typer.Option(help="Highest learning rate. Default: 1e-3 frozen or from scratch, 1e-4 otherwise.")
    ] = None,
    find_lr: Annotated[bool, typer.Option(help="Search the learning rate on held-out known cells first.")] = False,
    holdout: Annotated[
        float | None,
        typer.Option(help="Share of the known cells, or of the labelled images, kept from training. Default: 0.1."),
    ] = None,
    refit: Annotated[bool, typer.Option(help="Then train once more on all known cells.")] = False,
    amp: Annotated[Literal["none", "bf16", "fp16"] | None, typer.Option(help="Mixed precision.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode images. Default: 0.")] = None,
    max_image_mb: o.MaxImageMb = None,
    init: Annotated[Path | None, typer.Option(help="A run whose weights to start from.")] = None,
    refine: Annotated[
        str | None,
        typer.Option(
            help="Continue from a fit of --method (default: auto) in steps of this one, which the other settings are "
            "for: bce, asl, focal or self_training."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(help="Complete labels, for log.csv alone: what the method sets aside is counted against them."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML, YAML or JSON file of settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting of the training or method: NAME=VALUE.")
    ] = None,
    broken: Annotated[
        Literal["fail", "skip"], typer.Option(help="What to do about images that cannot be read.")
    ] = "fail",
    drop_empty_classes: Annotated[bool, typer.Option(help="Leave out classes without a known cell.")] = False,
    *,
    read: ReadArguments,
    quiet: o.Quiet = False,
) -> None:
    """Train a tagger on what is known, or go on with one (--resume RUN)."""
    o.check_there([table, truth], images)
    from partlabel.api import train as api
    from partlabel.opening import published_root
    from partlabel.runs.processes import process_rank

    if resume is not None:
        _refuse_beside_resume(context)
        api.resume(resume, images=images, reporter=o.reporter(quiet))
        if not process_rank():
            typer.echo(resume)
        return
    folder = images or published_root(table) or published_root(truth)
    if table is None or folder is None or out is None:
        needed = {"TABLE": table, "--images DIR": folder, "--out RUN": out}
        missing = " and ".join(name for name, value in needed.items() if value is None)
        raise UsageError(f"train needs TABLE, --images DIR and --out RUN, or --resume RUN; here is no {missing}")
    given: dict[str, Any] = {
        "method": method,
        "head": head,
        "backbone": backbone,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "holdout": holdout,
        "amp": amp,
        "seed": seed,
        "workers": workers,
        "max_image_mb": max_image_mb,
        "freeze": freeze or None,
        "refit": refit or None,
        "pretrained": False if from_scratch else None,
    }
    named = {name: value for name, value in given.items() if value is not None}
    merged = o.config_file(config) | o.settings(set_) | named
    twice = [name for name in o.settings(set_) if name in named]
    if twice:
        raise UsageError(f"{twice[0]} is given twice, with --set and as an option of its own; leave one of them out")
    o.refuse_arguments(merged, api.train)
    api.train(
        table,
        images=folder,
        out=out,
        broken=broken,
        drop_empty_classes=drop_empty_classes,
        find_lr=find_lr,
        init=init,
        refine=refine,
        truth=truth,
        reporter=o.reporter(quiet),
        read=read,
        **merged,
    )
    if not process_rank():
        typer.echo(out)


def _refuse_beside_resume(context: typer.Context) -> None:
    """A run goes on as it began; an option that would be ignored is refused."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in {"resume", "images", "quiet"}:
            raise UsageError(f"--resume goes on with the run's own settings; leave {_written(name)} out or train anew")


def _written(name: str) -> str:
    """A parameter as it is written on the command line."""
    return "TABLE" if name == "table" else f"--{name.strip('_').replace('_', '-')}"
