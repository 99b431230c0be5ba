"""`partlabel datasets`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from partlabel.datasets.base import Dataset


def datasets(
    name: Annotated[str | None, typer.Argument(help="Tell all about this one: files, options, states, counts.")] = None,
    side: Annotated[
        Path | None,
        typer.Option(help="With NAME:DIR: write the category of each image, such as a species, as CSV to this file."),
    ] = None,
) -> None:
    """The published data sets that can be given as NAME:DIR,option=value where a label file can be named."""
    from partlabel.datasets.catalogue import DATASETS
    from partlabel.errors import UsageError

    if side is not None:
        if name is None:
            raise UsageError("--side writes what one data set tells of its images: give NAME:DIR as well")
        from partlabel.opening import write_categories

        typer.echo(f"{side}: {write_categories(name, side):,} images")
        return
    if name is not None:
        name = name.partition(":")[0]
        if name not in DATASETS:
            raise UsageError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}")
        typer.echo("\n".join(_told(DATASETS[name])))
        return
    for dataset in DATASETS.values():
        typer.echo(f"{dataset.name}\n    {dataset.title}; options: {', '.join(one.name for one in dataset.options)}")
    typer.echo("\nWhere a label file can be named, NAME:DIR,option=value reads the official files in DIR.")
    typer.echo("`partlabel datasets NAME` tells files, options, states and published counts of one.")


def _told(dataset: "Dataset") -> list[str]:
    lines = [f"{dataset.name}: {dataset.title}", f"  {dataset.states}", "files in DIR:"]
    lines += [f"    {file}: {what}" for file, what in dataset.files]
    lines.append(f"options ({dataset.name}:DIR,option=value; the default comes first):")
    for option in dataset.options:
        if option.meanings:
            lines.append(f"    {option.name}")
            order = sorted(option.meanings, key=lambda value: value != option.default)
            lines += [f"        {value}: {option.meanings[value]}" for value in order]
        else:
            default = f" (default: {option.default})" if option.default else ""
            lines.append(f"    {option.name}: {option.help}{default}")
    counts = [
        f"    {stated.images:,} images with {', '.join(f'{key}={value}' for key, value in stated.options.items())}"
        f" ({stated.source})"
        for stated in dataset.published
    ]
    if dataset.classes is not None:
        counts.insert(0, f"    {dataset.classes:,} classes")
    return [*lines, *(["published counts, with which what is read is compared:", *counts] if counts else [])]
