"""What the sections of a report share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LeftOut:
    """In place of a section: why there is none, as half a sentence."""

    reason: str
