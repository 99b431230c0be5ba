"""What a method sets aside, counted against a truth for the log. Nothing of the truth reaches the training."""

from typing import Any

import torch
from torch import Tensor

from partlabel.errors import LabelError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Index, Labels, Method, Outputs

_MARK = "truth."


def aligned(truth: LabelTable, labels: LabelTable) -> LabelTable:
    """The truth of the images and classes of a table, in their order.

    Raises:
        LabelError: it lacks one of them.
    """
    for what, theirs, ours in (
        ("image", truth.image_positions, labels.images),
        ("class", truth.class_positions, labels.classes),
    ):
        if (lacking := next((name for name in ours if name not in theirs), None)) is not None:
            raise LabelError(
                f"the truth has no {what} {lacking!r}, which is trained on; give labels of all that is, or leave "
                "--truth out"
            )
    return truth.select_classes(labels.classes).select_images(labels.images)


def sets_aside(kind: type[Method[Any]]) -> bool:
    """Whether a method has cells to count."""
    return kind.set_aside is not Method.set_aside


@torch.no_grad()
def truth_counts(
    truth: LabelTable, method: Method[Any], outputs: Outputs, labels: Labels, index: Index, clock: Clock
) -> dict[str, Tensor]:
    """Numbers of cells of a batch, by names that `truth_columns` knows; cells that are unknown in the truth are left
    out.
    """
    states = torch.from_numpy(truth.rows(index.cpu().numpy())).to(labels.device)
    judged = (labels == 0) & (states != 0)
    missed = judged & (states == 1)
    counts = {"cells": judged.sum(), "missed": missed.sum()}
    for name, cells in method.set_aside(outputs, labels, clock).items():
        counts |= {f"{name}.cells": (cells & judged).sum(), f"{name}.missed": (cells & missed).sum()}
    return {f"{_MARK}{name}": count for name, count in counts.items()}


def truth_columns(sums: dict[str, float]) -> dict[str, float]:
    """Columns of log.csv from the sums of an epoch, of which the counts are taken out.

    `missed_share`: of the unknown cells, how many are present in truth. For each name of `Method.set_aside`,
    `NAME_precision`: of the cells set aside, how many are; `NAME_recall`: of those that are, how many were set aside. A
    share of no cells has no column.
    """
    counts = {name.removeprefix(_MARK): sums.pop(name) for name in list(sums) if name.startswith(_MARK)}
    if not counts:
        return {}
    columns = _share("missed_share", counts["missed"], counts["cells"])
    for name in [name.removesuffix(".cells") for name in counts if name.endswith(".cells")]:
        columns |= _share(f"{name}_precision", counts[f"{name}.missed"], counts[f"{name}.cells"])
        columns |= _share(f"{name}_recall", counts[f"{name}.missed"], counts["missed"])
    return columns


def _share(name: str, part: float, whole: float) -> dict[str, float]:
    return {name: part / whole} if whole else {}
