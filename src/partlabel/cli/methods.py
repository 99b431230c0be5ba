"""`partlabel methods`."""

import typer


def methods() -> None:
    """The methods: paper, what each needs of labels, what it does with unknown cells."""
    from partlabel.methods.catalogue import CATALOGUE

    for name, entry in CATALOGUE.items():
        typer.echo(f"{name}\n    {entry.title}, {entry.venue}\n    needs {entry.needs}; unknown cells are {entry.unknown}")
