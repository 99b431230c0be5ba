"""The methods by name: where the code is, which paper, what each assumes of labels. No torch here.

To add a method, write `methods/NAME.py` and one entry below.
"""

from dataclasses import dataclass
from enum import StrEnum

from partlabel.errors import AssumptionError, UsageError
from partlabel.labels import LabelTable


class Needs(StrEnum):
    """What a table must hold so that a method can learn from it."""

    BOTH_SIGNS = "known present and known absent cells"
    PRESENT = "known present cells"


@dataclass(frozen=True)
class Entry:
    """One method of the catalogue.

    Args:
        location: "module:Class" below `partlabel.methods`.
        title: the paper's, or what it is.
        venue: where and when it was published.
        needs: what it needs of a label table.
        unknown: what it does with unknown cells, in a few words.
    """

    location: str
    title: str
    venue: str
    needs: Needs
    unknown: str


CATALOGUE: dict[str, Entry] = {
    "assume_negative": Entry(
        "assume_negative:AssumeNegative", "Binary cross-entropy with unknown taken as absent", "baseline",
        Needs.PRESENT, "taken as absent",
    ),
    "bce": Entry(
        "bce:KnownBCE", "Binary cross-entropy on known cells; partial BCE (Durand et al.)", "CVPR 2019",
        Needs.BOTH_SIGNS, "ignored",
    ),
    "asl": Entry(
        "asl:Asymmetric", "Asymmetric loss for multi-label classification (Ridnik et al.)", "ICCV 2021",
        Needs.BOTH_SIGNS, "ignored",
    ),
    "focal": Entry(
        "asl:Focal", "Focal loss for dense object detection (Lin et al.)", "ICCV 2017",
        Needs.BOTH_SIGNS, "ignored",
    ),
    "saliency": Entry(
        "saliency:Saliency", "Saliency regularization for self-training with partial annotations (Wang et al.)", "ICCV 2023",
        Needs.BOTH_SIGNS, "given confident pseudo-labels",
    ),
}  # fmt: skip


def entry(name: str) -> Entry:
    """The entry of a method.

    Raises:
        UsageError: no such method.
    """
    if name not in CATALOGUE:
        raise UsageError(f"no method {name!r}; methods are {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def misfit(name: str, table: LabelTable) -> str | None:
    """Why a method cannot learn from a table, or None if it can."""
    counts = table.counts_by_class()
    present, absent = int(counts.present.sum()), int(counts.absent.sum())
    if present == 0:
        return f"{name} needs {entry(name).needs}, but the table holds no known present cell"
    if entry(name).needs is Needs.BOTH_SIGNS and absent == 0:
        return f"{name} needs {entry(name).needs}, but the table holds {present} present and no absent cell"
    return None


def check_fit(name: str, table: LabelTable) -> None:
    """Refuse a table that a method cannot learn from.

    Raises:
        AssumptionError: says what is missing, with counts, and names the methods that would fit.
    """
    reason = misfit(name, table)
    if reason is None:
        return
    fitting = [other for other in CATALOGUE if misfit(other, table) is None]
    advice = f"methods that fit these labels: {', '.join(fitting)}" if fitting else "no method can learn from these labels"
    raise AssumptionError(f"{reason}; {advice}")
