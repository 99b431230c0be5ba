"""What the catalogue says of a method."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class Needs(StrEnum):
    """What a table must hold so that a method can learn from it."""

    BOTH_SIGNS = "known present and known absent cells"
    PRESENT = "known present cells"
    PAIRS = "images with both a known present and a known absent cell"
    NOTHING = "no label"


ReadsUnknown = Literal["ignored", "absent", "soft", "unlabelled"]
"""How a method reads unknown cells. "ignored": no gradient reaches them. "absent": as if they were known absent, at
least in the first epoch. "soft": by a target or a weight of their own, such as a prediction or a smaller share in the
loss. "unlabelled": as every cell that is not known present, known absent ones included.
"""


@dataclass(frozen=True)
class Entry:
    """One method of the catalogue.

    Args:
        location: "module:Class" below `partlabel.methods`.
        title: the paper's, or what it is.
        venue: where and when it was published.
        needs: what it needs of a label table.
        reads_unknown: how it reads unknown cells.
        unknown: the same in a few words, after "unknown cells are".
        may_assume_absent: whether its setting `unknown="absent"` has it take unknown cells as absent; known present
            cells are all it needs then.
        ignores_with: a setting, and the value with which it ignores unknown cells instead.
        fitted: whether it is fitted to the features of a frozen backbone at once, without steps of an optimizer.
        joint_space: the `joint_space` of the backbone unless it is given; "": none.
        needs_start: whether it learns from the predictions of an earlier run, whose weights it starts from.
        needs_prior: whether it learns from scores of another tagger, in a file that its setting `prior` names.
    """

    location: str
    title: str
    venue: str
    needs: Needs
    reads_unknown: ReadsUnknown
    unknown: str
    may_assume_absent: bool = False
    ignores_with: tuple[str, Any] | None = None
    fitted: bool = False
    needs_start: bool = False
    joint_space: str = ""
    needs_prior: bool = False

    @property
    def learns_in_seconds(self) -> bool:
        """Whether it is fitted at once to labels, so that a model can follow the verdicts of a review."""
        return self.fitted and self.needs is not Needs.NOTHING

    @property
    def takes_absence_from_unknown(self) -> bool:
        """Whether unknown cells, held-out ones among them, teach it what is absent; a fitted method only where no
        absent cell is known, and then whole images are held out.
        """
        soft = self.reads_unknown == "soft" and self.needs is Needs.PRESENT and not self.fitted
        return self.reads_unknown == "absent" or soft
