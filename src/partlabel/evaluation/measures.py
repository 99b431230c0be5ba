"""The measures of an evaluation: the name of each, where it stands in `Evaluation.to_json`, and its words, once."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Measure(NamedTuple):
    """One measure.

    Args:
        path: keys that lead to it in `Evaluation.to_json()`; those of thresholded measures lead to it in the part for
            top-k predictions too.
        title: its row in a table.
        meaning: its convention, for a caption.
        thresholded: whether it depends on thresholds.
    """

    path: tuple[str, ...]
    title: str
    meaning: str
    thresholded: bool = False

    def of(self, result: Mapping[str, Any]) -> float | None:
        """Its value in 0..1; None where it does not exist."""
        return value_at(self.path, result)


def value_at(path: tuple[str | int, ...], result: Mapping[str, Any]) -> float | None:
    """The number that some keys lead to; None where it does not exist, or a list on the way ends before it."""
    value: Any = result
    for key in path:
        if isinstance(key, int) and key >= len(value):
            return None
        value = value[key]
    return None if value is None else float(value)


_AP = "mean over classes of average precision, "
MEASURES: dict[str, Measure] = {
    "mAP": Measure(
        ("mAP", "raw"),
        "mAP, raw (precision at the rank of each positive)",
        f"{_AP}raw (precision at the rank of each positive)",
    ),
    "mAP voc12": Measure(("mAP", "voc12"), "mAP, VOC12 (all-point envelope)", f"{_AP}VOC12 (all-point envelope)"),
    "mAP voc07": Measure(("mAP", "voc07"), "mAP, VOC07 (11-point)", f"{_AP}VOC07 (11-point)"),
    "AUC": Measure(("AUC",), "AUC", "mean over classes of the area under the ROC curve"),
    "OP": Measure(("OP",), "OP", "precision over all cells", True),
    "OR": Measure(("OR",), "OR", "recall over all cells", True),
    "OF1": Measure(("OF1",), "OF1", "F1 over all cells", True),
    "CP": Measure(("CP",), "CP", "mean over classes of precision", True),
    "CR": Measure(("CR",), "CR", "mean over classes of recall", True),
    "CF1": Measure(("CF1", "harmonic"), "CF1 (harmonic mean of CP and CR)", "harmonic mean of CP and CR", True),
    "CF1 mean": Measure(("CF1", "mean"), "CF1 (mean of class F1)", "mean over classes of F1", True),
}
