"""From a method's name and settings to the method, with its head on a backbone."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from partlabel.errors import UsageError
from partlabel.methods.auto import AUTO, RULES
from partlabel.methods.base import Context, Method, MethodConfig
from partlabel.methods.catalogue import entry
from partlabel.models.encoders.base import Backbone
from partlabel.models.tagger import Tagger


def method_class(name: str) -> type[Method[Any]]:
    """The class of a method; imports its module.

    Raises:
        UsageError: no such method.
    """
    module, _, attribute = entry(name).location.partition(":")
    return getattr(import_module(f"partlabel.methods.{module}"), attribute)  # type: ignore[no-any-return]


def setting_names(name: str) -> frozenset[str]:
    """Names of the settings of a method; for "auto", of all methods that it may take.

    Raises:
        UsageError: no such method.
    """
    names = {rule.method for rule in RULES} if name == AUTO else {name}
    return frozenset(field for method in names for field in method_class(method).Config.model_fields)


def method_config(name: str, settings: Mapping[str, Any]) -> MethodConfig:
    """Checked settings of a method.

    Raises:
        UsageError: a setting is unknown or out of range.
    """
    config = method_class(name).Config
    try:
        return config(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = str(first["loc"][0]) if first["loc"] else ""  # what follows is pydantic's name of a type
        if first["type"] == "extra_forbidden":
            near = get_close_matches(where, config.model_fields, 1)
            meant = f"did you mean {near[0]}? Its" if near else "its"
            known = ", ".join(config.model_fields)
            raise UsageError(f"method {name} has no setting {where!r}; {meant} settings are {known}") from error
        what = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        place = f"{where}: " if where else ""
        raise UsageError(f"method {name}: {place}{what[0].lower()}{what[1:]}{got}") from error


def build_method(name: str, settings: Mapping[str, Any], backbone: Backbone, context: Context) -> Method[Any]:
    """A method ready to train on the classes of the context's table.

    Raises:
        UsageError: unknown method or setting, or a frozen backbone where the method must change it.
    """
    kind, config = method_class(name), method_config(name, settings)
    if kind.needs_backbone and backbone.freeze:
        raise UsageError(f"method {name} changes or differentiates the whole backbone; train it without --freeze")
    tagger = Tagger(backbone, kind.head(config, context), context.labels.classes)
    return kind(tagger, config, context)
