"""mAP of groups of classes from rare to frequent, as OpenImages results are reported."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from partlabel.errors import UsageError
from partlabel.evaluation.average_precision import RankingMeasures
from partlabel.evaluation.cells import mean_over
from partlabel.labels import IntArray


@dataclass(frozen=True, eq=False)
class ClassGroup:
    """One group of classes; mAP are fractions in 0..1 over the scored classes of the group, NaN if there is none.

    Args:
        columns: int64, the columns of its classes, by number of training annotations ascending.
        scored: number of its classes that have an average precision.
        fewest: training annotations of its rarest class.
        most: training annotations of its most frequent class.
        raw: mAP of the raw convention.
        voc12: mAP of the all-point convention.
        voc07: mAP of the 11-point convention.
    """

    columns: IntArray
    scored: int
    fewest: int
    most: int
    raw: float
    voc12: float
    voc07: float


def grouped_map(measures: RankingMeasures, training_annotations: ArrayLike, groups: int = 5) -> list[ClassGroup]:
    """Give mAP of equal groups of classes, sorted by number of training annotations ascending, ties in class order.

    The 5-group table of OpenImages V3 in partial-label papers. All classes are divided, scored or not; group sizes
    differ by one at most, the first groups being the larger. A class without average precision is left out of the mean
    of its group.

    Args:
        measures: from `ranking_measures`, on test cells that are annotated.
        training_annotations: integer `[C]`, known training cells of each class.
        groups: number of groups, 1 to C.

    Raises:
        UsageError: not one count per class, a count is negative or not whole, or there are more groups than classes.
    """
    annotations = np.asarray(training_annotations)
    classes = measures.raw.size
    if annotations.shape != (classes,) or not np.issubdtype(annotations.dtype, np.integer) or (annotations < 0).any():
        raise UsageError(
            f"training_annotations must be one whole number of training cells for each of the {classes} classes"
        )
    if not 1 <= groups <= classes:
        raise UsageError(f"{classes} classes cannot be divided into {groups} groups")
    order = np.argsort(annotations, kind="stable")
    return [_group(measures, annotations, columns) for columns in np.array_split(order, groups)]


def _group(measures: RankingMeasures, annotations: IntArray, columns: IntArray) -> ClassGroup:
    scored = np.isfinite(measures.raw[columns])
    raw, voc12, voc07 = (
        mean_over(values[columns], scored) for values in (measures.raw, measures.voc12, measures.voc07)
    )
    fewest, most = int(annotations[columns[0]]), int(annotations[columns[-1]])
    return ClassGroup(columns, int(scored.sum()), fewest, most, raw, voc12, voc07)
