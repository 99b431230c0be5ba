"""`partlabel predict`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partlabel.cli import options as o


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder, or its model folder copied anywhere.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    out: Annotated[Path | None, typer.Option(help="Write all probabilities to this .csv or .parquet file.")] = None,
    broken: Annotated[
        Literal["fail", "skip"], typer.Option(help="What to do about images that cannot be read.")
    ] = "fail",
    max_image_mb: o.MaxImageMb = None,
    quiet: o.Quiet = False,
) -> None:
    """Tag images; without --out the tags above their class's threshold are printed, each with its probability."""
    from partlabel.api.predict import predict as run_predict

    table = run_predict(run, images, out=out, broken=broken, max_image_mb=max_image_mb, reporter=o.reporter(quiet))
    if out is not None:
        typer.echo(out)
        return
    tags: dict[str, list[tuple[float, str]]] = {}
    for row in table.to_pylist():
        found = tags.setdefault(row["image"], [])
        if row["predicted"]:
            found.append((row["probability"], row["class"]))
    for image, found in tags.items():
        typer.echo(
            f"{image}: " + (", ".join(f"{name} {p:.2f}" for p, name in sorted(found, reverse=True)) or "(no tag)")
        )
