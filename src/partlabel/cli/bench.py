"""`partlabel bench`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partlabel.cli import options as o
from partlabel.errors import UsageError


def bench(
    grid: Annotated[Path, typer.Argument(help="TOML file: data × masking × method × seeds.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of results; what it holds already is not run again.", show_default=False)
    ] = None,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="Try the file out: every row once, on built-in scenes with a tiny network. The numbers mean nothing.",
        ),
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Run nothing; tell trainings, steps and images from the file alone.")
    ] = False,
    images_per_second: Annotated[
        float | None,
        typer.Option(help="Images that your machine trains on in a second; --cost tells hours by it."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Processes on this machine; with --submit, most jobs at a time.")
    ] = None,
    worker: Annotated[
        bool, typer.Option("--worker", help="Only help to run the grid, beside others; print no table.")
    ] = False,
    submit: Annotated[
        Literal["slurm", "ray"] | None, typer.Option(help="Hand each training out as a job of this cluster.")
    ] = None,
    slurm: Annotated[
        list[str] | None, typer.Option(help="Options of sbatch: partition=NAME,gpus=1,time=MINUTES.")
    ] = None,
    ray: Annotated[
        list[str] | None, typer.Option(help="Options of Ray's tasks: num_gpus=1,num_cpus=4,address=HOST:PORT.")
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Run a grid of trainings, and make its tables and plots."""
    for name, given in (("slurm", slurm), ("ray", ray)):
        if given and submit != name:
            raise UsageError(f"--{name} gives options of jobs; add --submit {name}")
    if worker and (submit or jobs):
        raise UsageError("--worker is one process that helps; start it without --jobs and --submit")
    from partlabel.api.bench import bench as run
    from partlabel.api.bench import bench_cost
    from partlabel.grids.hand_out import options_of

    if cost:
        typer.echo(bench_cost(grid, images_per_second=images_per_second))
        return
    if out is None:
        raise UsageError("--out is missing: the folder of results; without results there is --cost")
    options = options_of(slurm or ray or [])
    outcome = run(grid, out=out, small=small, jobs=jobs, submit=submit, options=options, reporter=o.reporter(quiet))
    if not worker:
        typer.echo(outcome.table.read_text(encoding="utf-8"))
    for cell, why in outcome.failed.items():
        typer.echo(f"no result for {cell}: {why}", err=True)
    if outcome.failed:
        raise typer.Exit(1)
