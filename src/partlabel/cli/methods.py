"""`partlabel methods`."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Tell all about this one, with every setting of it and of training.")
    ] = None,
) -> None:
    """The methods: paper, what each needs of labels, what it does with unknown cells."""
    from partlabel.methods.catalogue import CATALOGUE

    if name is not None:
        _tell(name)
        return
    for method, entry in CATALOGUE.items():
        typer.echo(f"{method}\n    {entry.title}, {entry.venue}\n    needs {entry.needs}; unknown cells are {entry.unknown}")
    typer.echo("\n`partlabel methods NAME` tells all about one, and the settings for --set and config files.")


def _tell(name: str) -> None:
    import inspect

    from partlabel.methods.build import method_class
    from partlabel.training.settings import TrainSettings

    kind = method_class(name)
    typer.echo(inspect.getdoc(inspect.getmodule(kind)) or "")
    typer.echo(f"\nSettings of {name} (--set NAME=VALUE, or a config file):")
    _settings(kind.Config)
    typer.echo("\nSettings of every training:")
    _settings(TrainSettings)


def _settings(config: "type[BaseModel]") -> None:
    for name, field in config.model_fields.items():
        if name == "method_settings":
            continue
        typer.echo(f"    {name} = {field.get_default(call_default_factory=True)!r}")
        if field.description:
            typer.echo(f"        {' '.join(field.description.split())}")
