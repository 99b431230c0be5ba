"""`partlabel formats`."""

import typer


def formats() -> None:
    """The label formats: what is read and written, and how each tells present, absent and unknown apart."""
    from partlabel.formats import FORMATS

    for one in FORMATS.values():
        how = "read and written" if one.writes else "read only"
        places = [end + " (read only)" * (one.writes and end in one.read_only) for end in one.suffixes]
        where = ", ".join([*places, *(["a folder"] if "folder" in one.takes else [])])
        more = " and suggestions" if "suggested" in one.written_with else ""
        typer.echo(f"{one.name}\n    {one.title} ({where}); {how}{more}\n    states: {one.states}")
        if used := sorted(one.options):
            typer.echo(f"    options: {', '.join(f'--{name}' for name in used)}")
