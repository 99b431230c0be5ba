"""Unknown cells taken as absent because the user says so, in methods that ignore them otherwise."""

from typing import Literal

from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.methods.base import Labels, MethodConfig

Unknown = Literal["ignored", "absent"]


class UnknownConfig(MethodConfig):
    """Settings of every method that can be told to take unknown cells as absent."""

    unknown: Unknown = "ignored"
    """What unknown cells are: "ignored", or "absent", learned as if they were known to be; then known present cells are
    all the method needs. CLS trains its single networks so (Table 2).
    """


def as_told(labels: Labels, unknown: Unknown) -> Labels:
    """The labels to learn, with unknown cells called absent if that is what the setting says."""
    return unknown_as_absent(labels) if unknown == "absent" else labels
