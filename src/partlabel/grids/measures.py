"""The measures that a table can show, and where they are in the record of a cell."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from partlabel.evaluation.measures import MEASURES as TEST_MEASURES
from partlabel.evaluation.measures import value_at


class Measure(NamedTuple):
    """One measure.

    Args:
        path: keys that lead to it in `Evaluation.to_json()` or, with `held_out`, in what the run says of its held-out
            cells.
        meaning: its convention, for the caption.
        thresholded: whether it depends on the thresholds of the run.
        held_out: whether it is measured on held-out training cells, in place of test ones.
    """

    path: tuple[str | int, ...]
    meaning: str
    thresholded: bool = False
    held_out: bool = False

    def of(self, record: Mapping[str, Any]) -> float | None:
        """Its value in 0..1; None where it does not exist."""
        found = record["held_out" if self.held_out else "test"]
        return None if not found else value_at(self.path, found)


_GROUPS = 5
"""As many as `evaluation.evaluate` makes."""

MEASURES: dict[str, Measure] = {
    **{name: Measure(one.path, one.meaning, one.thresholded) for name, one in TEST_MEASURES.items()},
    **{
        f"mAP group {number}": Measure(
            ("groups", number - 1, "mAP", "raw"),
            f"mAP, raw, of group {number} of {_GROUPS} equal groups of classes, from those with the fewest known "
            "training cells (as trained on, before any is held out) to those with the most",
        )
        for number in range(1, _GROUPS + 1)
    },
    "held-out mAP": Measure(
        ("mAP",), "mAP, raw, of held-out known training cells, where these have both signs", held_out=True
    ),
}
