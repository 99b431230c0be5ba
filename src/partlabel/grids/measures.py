"""The measures that a table can show, and where they are in the record of a cell."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Measure(NamedTuple):
    """One measure.

    Args:
        path: keys that lead to it in `Evaluation.to_json()` or, with `held_out`, in what the run says of its held-out
            cells.
        meaning: its convention, for the caption.
        thresholded: whether it depends on the thresholds of the run.
        held_out: whether it is measured on held-out training cells, in place of test ones.
    """

    path: tuple[str, ...]
    meaning: str
    thresholded: bool = False
    held_out: bool = False

    def of(self, record: Mapping[str, Any]) -> float | None:
        """Its value in 0..1; None where it does not exist."""
        value: Any = record["held_out" if self.held_out else "test"] or {self.path[0]: None}
        for key in self.path:
            value = value[key]
        return None if value is None else float(value)


MEASURES: dict[str, Measure] = {
    "mAP": Measure(
        ("mAP", "raw"), "mean over classes of average precision, raw (precision at the rank of each positive)"
    ),
    "mAP voc12": Measure(("mAP", "voc12"), "mean over classes of average precision, VOC12 (all-point envelope)"),
    "mAP voc07": Measure(("mAP", "voc07"), "mean over classes of average precision, VOC07 (11-point)"),
    "AUC": Measure(("AUC",), "mean over classes of the area under the ROC curve"),
    "OP": Measure(("OP",), "precision over all cells", True),
    "OR": Measure(("OR",), "recall over all cells", True),
    "OF1": Measure(("OF1",), "F1 over all cells", True),
    "CP": Measure(("CP",), "mean over classes of precision", True),
    "CR": Measure(("CR",), "mean over classes of recall", True),
    "CF1": Measure(("CF1", "harmonic"), "harmonic mean of CP and CR", True),
    "held-out mAP": Measure(
        ("mAP",), "mAP, raw, of held-out known training cells, where these have both signs", held_out=True
    ),
    "CF1 mean": Measure(("CF1", "mean"), "mean over classes of F1", True),
}
