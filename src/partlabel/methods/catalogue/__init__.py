"""The methods by name: where the code is, which paper, what each assumes of labels. No torch here.

To add a method, write `methods/NAME.py` and one entry in the file of its family here.
"""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from partlabel.errors import AssumptionError, UsageError
from partlabel.labels import LabelTable
from partlabel.methods.catalogue.entry import Entry, Needs
from partlabel.methods.catalogue.heads import HEADS
from partlabel.methods.catalogue.losses import LOSSES
from partlabel.methods.catalogue.priors import PRIORS
from partlabel.methods.catalogue.query import QUERY
from partlabel.methods.catalogue.systems import SYSTEMS
from partlabel.methods.catalogue.transfer import TRANSFER
from partlabel.methods.catalogue.vision_language import VISION_LANGUAGE

CATALOGUE: dict[str, Entry] = {
    **LOSSES,
    **SYSTEMS,
    **HEADS,
    **QUERY,
    **TRANSFER,
    **PRIORS,
    **VISION_LANGUAGE,
}


def entry(name: str, settings: Mapping[str, Any] | None = None) -> Entry:
    """The entry of a method, as its settings have it; with its defaults if none are given.

    Raises:
        UsageError: no such method.
    """
    if name not in CATALOGUE:
        near = get_close_matches(name, CATALOGUE)
        similar = f"closest: {', '.join(near)}; " if near else ""
        raise UsageError(f"no method {name!r}; {similar}methods are {', '.join(CATALOGUE)}, or auto")
    found, settings = CATALOGUE[name], settings or {}
    if found.ignores_with and found.ignores_with in settings.items():
        return replace(found, reads_unknown="ignored", unknown="ignored")
    if found.may_assume_absent and settings.get("unknown") == "absent":
        return replace(found, needs=Needs.PRESENT, reads_unknown="absent", unknown="taken as absent")
    return found


def check_start(name: str, start: object) -> None:
    """Refuse (UsageError) a method that learns from an earlier run where there is none."""
    if entry(name).needs_start and start is None:
        raise UsageError(
            f"method {name} learns from the predictions of an earlier run; name it (init; in a grid, start)"
        )


def check_prior(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse (UsageError) a method that learns from scores of another tagger where its settings name no file."""
    if entry(name).needs_prior and not settings.get("prior"):
        raise UsageError(
            f"method {name} learns from scores of another tagger; name their file with the setting prior, such as one "
            "that `partlabel prior` writes"
        )


def notice(name: str, settings: Mapping[str, Any] | None = None) -> str | None:
    """What the user is told before training: how unknown cells are read, unless they are ignored or unlabelled."""
    found = entry(name, settings)
    return f"{name}: unknown cells are {found.unknown}" if found.reads_unknown in {"absent", "soft"} else None


def misfit(name: str, table: LabelTable, settings: Mapping[str, Any] | None = None) -> str | None:
    """Why a method with such settings cannot learn from a table, or None if it can."""
    needs = entry(name, settings).needs
    if needs is Needs.NOTHING:
        return None
    counts = table.counts_by_class()
    present, absent = int(counts.present.sum()), int(counts.absent.sum())
    if present == 0:
        return f"{name} needs {needs}, but the table holds no known present cell"
    if needs is not Needs.PRESENT and absent == 0:
        return f"{name} needs {needs}, but the table holds {present} present and no absent cell"
    if needs is Needs.PAIRS:
        of_image = table.counts_by_image()
        if not ((of_image.present > 0) & (of_image.absent > 0)).any():
            return f"{name} needs {needs}, but the table has no such image"
    return None


def check_fit(name: str, table: LabelTable, settings: Mapping[str, Any] | None = None) -> None:
    """Refuse a table that a method with such settings cannot learn from.

    Raises:
        AssumptionError: says what is missing, with counts, and names the methods that would fit.
    """
    reason = misfit(name, table, settings)
    if reason is None:
        return
    learning = [other for other, found in CATALOGUE.items() if found.needs is not Needs.NOTHING]
    fitting = [other for other in learning if misfit(other, table) is None]
    advice = "no method can learn from these labels"
    if fitting:
        advice = f"--method auto takes one that fits these labels; they are {', '.join(fitting)}"
    raise AssumptionError(f"{reason}; {advice}")
