"""One evaluation of scores against tri-state truth: every measure, what it rests on, as JSON and as a short table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from partlabel.errors import LabelError
from partlabel.evaluation.average_precision import CONVENTIONS, RankingMeasures, ranking_measures
from partlabel.evaluation.cells import BoolArray, FloatArray, check_cells, count_states, mean_over, scored_classes
from partlabel.evaluation.f_measures import FMeasures, check_thresholds, f_measures
from partlabel.evaluation.grouped import ClassGroup, grouped_map
from partlabel.evaluation.measures import MEASURES
from partlabel.labels import Counts


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found. Measures are fractions in 0..1; only `to_markdown` prints percent.

    Args:
        classes: the C class names.
        counts: known present, known absent and unknown test cells of each class.
        ranking: average precision of three conventions and AUC of each class.
        decided: precision, recall and F1 of thresholded scores.
        top: the same for the `top_k` highest known cells of each image.
        top_k: most predictions an image in `top`.
        thresholds: float64 `[C]`, in the unit of the scores.
        groups: mAP of groups of classes from rare to frequent in training; None if no training counts were given.
    """

    classes: tuple[str, ...]
    counts: Counts
    ranking: RankingMeasures
    decided: FMeasures
    top: FMeasures
    top_k: int
    thresholds: FloatArray = field(repr=False)
    groups: list[ClassGroup] | None = None

    @property
    def scored(self) -> BoolArray:
        """Bool `[C]`: the classes that take part in class means."""
        return scored_classes(self.counts)

    @property
    def mean_average_precision(self) -> dict[str, float]:
        """By convention (raw, voc12, voc07), the mean over the scored classes."""
        return {name: mean_over(getattr(self.ranking, name), self.scored) for name in CONVENTIONS}

    @property
    def mean_auc(self) -> float:
        """Mean ROC AUC over the scored classes."""
        return mean_over(self.ranking.auc, self.scored)

    def left_out(self) -> list[tuple[str, str]]:
        """Name and reason of each class that no class mean includes."""
        reasons = []
        for column in np.flatnonzero(~self.scored):
            lacking = [kind for kind in ("present", "absent") if getattr(self.counts, kind)[column] == 0]
            reason = f"no known {lacking[0]} cell" if len(lacking) == 1 else "no known cell"
            reasons.append((self.classes[column], reason))
        return reasons

    def to_json(self) -> dict[str, Any]:
        """The evaluation as a value that JSON can hold: fractions in 0..1, null where a measure does not exist.

        `thresholds` is one number if all classes share it, else a list in the order of the classes.
        """
        present, absent, unknown = (int(part.sum()) for part in self.counts)
        shared = np.unique(self.thresholds).size == 1
        result: dict[str, Any] = {
            "mAP": self.mean_average_precision,
            **_f_json(self.decided),
            f"top{self.top_k}": _f_json(self.top),
            "AUC": self.mean_auc,
            "classes": {
                "scored": int(self.scored.sum()),
                "total": len(self.classes),
                "left_out": [{"class": name, "reason": reason} for name, reason in self.left_out()],
            },
            "known": {"present": present, "absent": absent, "unknown": unknown},
            "prevalence": present / (present + absent),
            "thresholds": float(self.thresholds[0]) if shared else self.thresholds.tolist(),
        }
        if self.groups is not None:
            result["groups"] = [self._group_json(group) for group in self.groups]
        result["per_class"] = [self._class_json(column) for column in range(len(self.classes))]
        return {key: _without_nan(value) for key, value in result.items()}

    def _group_json(self, group: ClassGroup) -> dict[str, Any]:
        return {
            "classes": [self.classes[column] for column in group.columns],
            "scored": group.scored,
            "training_annotations": {"fewest": group.fewest, "most": group.most},
            "mAP": {name: getattr(group, name) for name in CONVENTIONS},
        }

    def _class_json(self, column: int) -> dict[str, Any]:
        return {
            "class": self.classes[column],
            "AP": {name: float(getattr(self.ranking, name)[column]) for name in CONVENTIONS},
            "AUC": float(self.ranking.auc[column]),
            "precision": float(self.decided.precision_by_class[column]),
            "recall": float(self.decided.recall_by_class[column]),
            "F1": float(self.decided.f1_by_class[column]),
            "threshold": float(self.thresholds[column]),
            "present": int(self.counts.present[column]),
            "absent": int(self.counts.absent[column]),
            "unknown": int(self.counts.unknown[column]),
        }

    def to_markdown(self) -> str:
        """A short table in percent, with what it rests on."""
        left_out = len(self.classes) - int(self.scored.sum())
        present, absent, unknown = (int(part.sum()) for part in self.counts)
        decided, top = _f_json(self.decided), _f_json(self.top)
        values = {"mAP": self.mean_average_precision, "AUC": self.mean_auc, **decided}
        rows = [(one.title, one.of(values)) for one in MEASURES.values()]
        rows += [(f"top-{self.top_k} {one.title}", one.of(top)) for one in MEASURES.values() if one.thresholded]
        for number, group in enumerate(self.groups or [], 1):
            spread = (
                f"{group.fewest:,} to {group.most:,} training annotations, "
                f"{group.scored} of {group.columns.size} classes"
            )
            rows.append((f"mAP, raw, group {number} ({spread})", group.raw))
        table = "\n".join(f"| {name} | {_percent(value)} |" for name, value in rows)
        without = f" ({left_out} left out: no known present or no known absent cell)" if left_out else ""
        return (
            f"| measure | % |\n|---|---:|\n{table}\n\n"
            f"Class means over {int(self.scored.sum())} of {len(self.classes)} classes{without}. "
            f"Rests on {present + absent:,} known cells: {present:,} present, {absent:,} absent "
            f"({100 * present / (present + absent):.2f} % present); {unknown:,} unknown cells are not counted.\n"
        )


def evaluate(
    scores: ArrayLike,
    states: ArrayLike,
    classes: Sequence[str],
    *,
    thresholds: ArrayLike = 0.0,
    top_k: int = 3,
    training_annotations: ArrayLike | None = None,
    images: Sequence[str] | None = None,
) -> Evaluation:
    """Judge scores against tri-state truth, over known cells only: adding unknown cells changes no measure.

    A class without a known present or without a known absent cell is left out of every class mean and named. On partly
    known truth the measures are those of the whole only if being known depends neither on the sign nor on the score of
    a cell.

    Args:
        scores: floating `[N, C]`. Logits are better than probabilities, which make ties where a sigmoid saturates.
        states: int8 `[N, C]` of -1 (absent), 0 (unknown: left out), +1 (present).
        classes: C names.
        thresholds: one number or `[C]`, in the unit of the scores: 0 suits logits, 0.5 suits probabilities. Fixed, or
            set on held-out training cells (`best_f1_thresholds`), never on these.
        top_k: most predictions an image in the top-k measures.
        training_annotations: integer `[C]`, known training cells of each class; gives mAP of 5 groups of classes.
        images: N names, for the error sentences.

    Raises:
        UsageError: shapes, thresholds, `top_k` or `training_annotations` do not fit.
        LabelError: a state is not -1, 0 or +1, or no cell is known.
        NotFiniteError: the score of a known cell is NaN or infinite.
    """
    score_array, state_array = check_cells(scores, states, classes, images)
    if not state_array.any():
        raise LabelError("no cell of the truth is known, so there is nothing to evaluate")
    ranking = ranking_measures(score_array, state_array)
    groups = None if training_annotations is None else grouped_map(ranking, training_annotations, min(5, len(classes)))
    return Evaluation(
        classes=tuple(classes),
        counts=count_states(state_array),
        ranking=ranking,
        decided=f_measures(score_array, state_array, thresholds),
        top=f_measures(score_array, state_array, thresholds, top_k),
        top_k=top_k,
        thresholds=check_thresholds(thresholds, len(classes)),
        groups=groups,
    )


def _f_json(measures: FMeasures) -> dict[str, Any]:
    return {
        "OF1": measures.overall_f1,
        "CF1": {"harmonic": measures.class_f1_harmonic, "mean": measures.class_f1_mean},
        "OP": measures.overall_precision,
        "OR": measures.overall_recall,
        "CP": measures.class_precision,
        "CR": measures.class_recall,
    }


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
