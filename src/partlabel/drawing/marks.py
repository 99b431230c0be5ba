"""What a shown label is: observed, recovered and right, wrong or not annotated, missed. Never told by colour alone."""

from itertools import product
from typing import Literal, NamedTuple

from partlabel.labels import State

MarkKind = Literal["observed", "right", "wrong", "open", "missed"]

SIGNS: dict[MarkKind, str] = {"observed": "●", "right": "✓", "wrong": "✗", "open": "?", "missed": "○"}
COLOURS: dict[MarkKind, str] = {
    "observed": "#0b5cad",
    "right": "#00704f",
    "wrong": "#b3400a",
    "open": "#6b3fa0",
    "missed": "#1c2430",
}

JUDGED: dict[int, tuple[MarkKind, str]] = {
    State.PRESENT: ("right", "right"),
    State.ABSENT: ("wrong", "wrong"),
    State.UNKNOWN: ("open", "not annotated"),
}


class Mark(NamedTuple):
    """What a label is, as a kind, which has a sign and a colour, and in words."""

    kind: MarkKind
    words: str

    @property
    def text(self) -> str:
        """Sign and words."""
        return f"{SIGNS[self.kind]} {self.words}"


def mark(state: int | None, truth: int | None, predicted: bool) -> Mark | None:
    """What a label of an image is; None where there is nothing to say.

    A predicted label is "recovered" if the label table has the image and leaves the label unknown.

    Args:
        state: in the label table; None if the image is in none.
        truth: unknown where the truth does not tell; None if no truth was given.
        predicted: whether the label reaches the threshold of its class.
    """
    if state == State.PRESENT:
        return Mark("observed", "observed")
    if state == State.ABSENT:
        return Mark("observed", "observed as absent")
    if not predicted:
        return Mark("missed", "missed") if truth == State.PRESENT else None
    word = "predicted" if state is None else "recovered"
    if truth is None:
        return None if state is None else Mark("open", word)
    kind, verdict = JUDGED[truth]
    return Mark(kind, f"{word} and {verdict}")


def possible_marks(in_table: bool, judged: bool) -> list[Mark]:
    """All marks that an image can have, for a legend, in the order of the signs.

    Args:
        in_table: whether the label table has the image.
        judged: whether a truth was given.
    """
    known: list[int | None] = [State.PRESENT, State.ABSENT, State.UNKNOWN]
    states, truths = (known if in_table else [None]), (known if judged else [None])
    found = [mark(*case) for case in product(states, truths, (True, False))]
    return sorted(dict.fromkeys(one for one in found if one is not None), key=lambda one: list(SIGNS).index(one.kind))
