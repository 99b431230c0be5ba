"""All positives stay, all absents are hidden: what a tag list without "not in the image" looks like."""

from partlabel.labels import LabelTable, State
from partlabel.masking.blocks import thin


def positives_only(table: LabelTable) -> LabelTable:
    """Hide every absent cell. Nothing is drawn, so there is no seed."""
    return thin(table, lambda block: block.states == State.PRESENT)
