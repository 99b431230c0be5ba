"""`partlabel methods`."""

from collections.abc import Collection
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from partlabel.methods.catalogue.entry import Entry

_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
"""Bounds of a number as pydantic keeps them, in words."""


def methods(
    name: Annotated[
        str | None, typer.Argument(help="Tell all about this one, with every setting of it and of training.")
    ] = None,
) -> None:
    """The methods: paper, what each needs of labels, what it does with unknown cells."""
    from partlabel.methods.auto import AUTO, RULES
    from partlabel.methods.catalogue import CATALOGUE

    if name == AUTO:
        _tell_rules()
        return
    if name is not None:
        _tell(name)
        return
    for method, entry in CATALOGUE.items():
        by_name = ", or taken as absent with unknown=absent, which needs no known absent cell"
        setting, value = entry.ignores_with or ("", None)
        ignoring = f", or ignored with {setting}={str(value).lower()}" if setting else ""
        typer.echo(
            f"{method}\n    {entry.title}, {entry.venue}\n    needs {entry.needs}; unknown cells are {entry.unknown}"
            f"{by_name if entry.may_assume_absent else ''}{ignoring}{_asks(entry)}"
        )
    taken = ", ".join(dict.fromkeys(rule.method for rule in RULES))
    typer.echo(f"\n`--method auto` takes one by the labels ({taken}); `partlabel methods auto` shows its rules.")
    typer.echo("`partlabel methods NAME` tells all about one, and the settings for --set and config files.")


def _asks(entry: "Entry") -> str:
    """What a method asks for besides labels."""
    return (
        f"{'; fitted at once, on frozen features (--freeze)' if entry.fitted else ''}"
        f"{'; needs a backbone that shares a space with texts' if entry.joint_space else ''}"
        f"{'; needs a run to start from (--init)' if entry.needs_start else ''}"
        f"{'; needs scores of another tagger (--set prior=FILE)' if entry.needs_prior else ''}"
    )


def _tell_rules() -> None:
    from partlabel.methods.auto import RULES

    typer.echo(
        "`--method auto` takes the first of these that holds; settings that are given go before those of a rule."
    )
    for rule in RULES:
        settings = "".join(f" {name}={value}" for name, value in rule.all_settings.items())
        typer.echo(f"{', '.join(rule.when)}: {rule.method}{settings}\n    {rule.reason} ({rule.evidence})")


def _tell(name: str) -> None:
    import inspect

    from partlabel.methods.build import method_class
    from partlabel.methods.catalogue import entry
    from partlabel.runs.settings import TrainSettings, of_steps_alone

    kind = method_class(name)
    typer.echo(inspect.getdoc(inspect.getmodule(kind)) or "")
    typer.echo(f"\nSettings of {name} (--set NAME=VALUE, or a config file):")
    _settings(kind.Config)
    without_effect = of_steps_alone(TrainSettings.model_fields) if entry(name).fitted else ()
    typer.echo(f"\nSettings of every training{' without steps' if entry(name).fitted else ''}:")
    _settings(TrainSettings, {"method", "method_settings", *without_effect})


def _settings(config: "type[BaseModel]", left_out: Collection[str] = ()) -> None:
    for name, field in config.model_fields.items():
        if name in left_out:
            continue
        default = field.get_default(call_default_factory=True)
        others = [value for value in _choices(field.annotation) if value != default]
        bounds = [
            f"{words} {getattr(one, key)}" for one in field.metadata for key, words in _BOUNDS if hasattr(one, key)
        ]
        allowed = f" (or {', '.join(map(repr, others))})" if others else f" ({', '.join(bounds)})" if bounds else ""
        typer.echo(f"    {name} = {default!r}{allowed}")
        if field.description:
            typer.echo(f"        {' '.join(field.description.split())}")


def _choices(annotation: Any) -> list[Any]:
    """The values of a choice, or of those in a union."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if annotation is bool:
        return [True, False]
    parts = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else ()
    return [value for part in parts for value in _choices(part)]
