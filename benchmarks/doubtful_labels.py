r"""How many of the known labels that were turned over at random stand first among the doubtful ones.

    PARTLABEL_COREL5K=DIR PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR PARTLABEL_MOBILENETV2=DIR \
        python benchmarks/doubtful_labels.py --out runs/doubtful

Labels are turned over before training; five folds of the discriminant score them. Every column ranks the same cells by
the same cross-fitted scores, cleanlab by the calibrated probabilities of these, and shows which share of the first n
cells was turned over, where n is the number turned over. Labels of the data sets that are wrong in themselves count as
not turned over. cleanlab (`pip install cleanlab`) has no function for labels of which some are unknown, so each class
is a problem of two classes over its known cells (`get_label_quality_scores`); "adjusted" subtracts the confident
thresholds (adjust_pred_probs). `find_label_issues` takes the known cells of all classes as one such problem and finds a
number of its own; the share is of that number. What was scored is kept in --out, and read from there.
"""

import argparse
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from recover_by_method import data_of

import partlabel
from partlabel.evaluation.scored_cells import BoolArray, FloatArray, ScoredCells
from partlabel.inference.judging_cells import crossed_cells
from partlabel.labels import IntArray, LabelTable
from partlabel.progress import SILENT
from partlabel.recovery.calibrate import calibrate
from partlabel.recovery.doubtful import doubtful

KNOWN = {"corel5k": 0.3, "msrc_v2": 0.5}
TURNED = {"2 % of all": ("all", 0.02), "5 % of all": ("all", 0.05), "5 % of presents": ("present", 0.05)}
CLEANLAB = {
    "self-confidence": ("self_confidence", False),
    "normalised margin": ("normalized_margin", False),
    "weighted entropy": ("confidence_weighted_entropy", False),
    "self-confidence, adjusted": ("self_confidence", True),
}


class Turned(NamedTuple):
    """Known cells, their folds `[K]`, and which were turned over, bool `[K]`."""

    cells: ScoredCells
    fold: IntArray
    turned: BoolArray


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="*", choices=list(KNOWN), default=list(KNOWN))
    parser.add_argument("--turned", nargs="*", choices=list(TURNED), default=list(TURNED))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    there = importlib.util.find_spec("cleanlab") is not None
    if not there:
        print("cleanlab is not installed, so its columns are left out: pip install cleanlab\n")
    theirs = [f"cleanlab: {name}" for name in (*CLEANLAB, "find_label_issues", "its number")] if there else []
    print(f"| data | known | turned over | number | random | partlabel | {' | '.join(theirs)}{' |' if there else ''}")
    print("|---|---:|---|---:|" + "---:|" * (2 + len(theirs)))
    for data in arguments.data:
        table, images = data_of(data)
        for name in arguments.turned:
            rows = []
            for seed in range(arguments.seeds):
                one = _scored(table, images, data, TURNED[name], seed, arguments.out)
                rows.append(_precisions(one, there))
            shown = [_shown([row[column] for row in rows]) for column in range(1, len(rows[0]))]
            number = np.mean([row[0] for row in rows])
            print(f"| {data} | {100 * KNOWN[data]:g} % | {name} | {number:,.0f} | {' | '.join(shown)} |", flush=True)


def _scored(truth: LabelTable, images: Path, data: str, how: tuple[str, float], seed: int, out: Path) -> Turned:
    """Labels with some turned over, scored by folds that were trained on them."""
    kind, share = how
    kept = out / f"{data}-{kind}-{share}-{seed}.npz"
    labels = partlabel.hide(truth, masking="known_ratio", ratio=KNOWN[data], seed=seed)
    if not kept.is_file():
        states = labels.dense().copy()
        rows, columns = np.nonzero(states if kind == "all" else states > 0)
        chosen = np.random.default_rng(seed).choice(rows.size, round(share * rows.size), replace=False)
        turned = np.zeros(states.shape, bool)
        turned[rows[chosen], columns[chosen]] = True
        states[turned] *= -1
        wrong = LabelTable.from_dense(labels.images, labels.classes, states)
        run = partlabel.train(
            wrong,
            images=images,
            out=kept.with_suffix(""),
            method="discriminant",
            seed=seed,
            backbone=f"local-dir:{os.environ['PARTLABEL_MOBILENETV2']}",
            freeze=True,
            report=False,
        )
        judging = crossed_cells(run, labels.classes, 5, images, SILENT)
        cells, where = judging.cells, (judging.cells.image_index, judging.cells.class_index)
        parts = {"logits": cells.logits, "states": cells.states, "c": cells.class_index, "i": cells.image_index}
        np.savez(kept, **parts, fold=judging.fold, flipped=turned[where])
    with np.load(kept) as read:
        cells = ScoredCells(labels.classes, read["logits"], read["states"], read["c"], labels.images, read["i"])
        return Turned(cells, read["fold"], read["flipped"])


def _precisions(one: Turned, there: bool) -> list[float]:
    """Number turned over, then the share of it that each ranking puts among the first so many cells."""
    cells, number = one.cells, int(one.turned.sum())
    probability = calibrate(cells, one.fold).probability

    def share(order: IntArray) -> float:
        return float(one.turned[order[:number]].mean())

    row = [float(number), float(one.turned.mean()), share(doubtful(cells).order)]
    if not there:
        return row
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    for method, adjusted in CLEANLAB.values():
        quality = _by_class(cells, probability, get_label_quality_scores, method, adjusted)
        row.append(share(np.argsort(quality, kind="stable")))
    both = np.stack([1 - probability, probability], axis=1)
    found = find_label_issues(
        cells.present.astype(int), both, return_indices_ranked_by="self_confidence", n_jobs=1, verbose=False
    )
    return [*row, float(one.turned[found].mean()) if found.size else np.nan, float(found.size)]


def _by_class(
    cells: ScoredCells, probability: FloatArray, score: Callable[..., NDArray[Any]], method: str, adjusted: bool
) -> FloatArray:
    """Quality `[K]` of the labels, each class by itself; classes with cells of one state are not adjusted."""
    quality = np.empty(cells.states.size)
    for column in range(len(cells.classes)):
        mine = np.flatnonzero(cells.class_index == column)
        if mine.size:
            labels, p = cells.present[mine].astype(int), probability[mine]
            adjust = adjusted and np.unique(labels).size == 2
            both = np.stack([1 - p, p], axis=1)
            quality[mine] = score(labels, both, method=method, adjust_pred_probs=adjust)
    return quality


def _shown(values: list[float]) -> str:
    there = [value for value in values if np.isfinite(value)]
    if not there:
        return "-"
    if max(there) > 1:
        return f"({np.mean(there):,.0f})"
    return f"{100 * np.mean(there):.1f} ± {100 * np.std(there, ddof=1) if len(there) > 1 else 0:.1f}"


if __name__ == "__main__":
    main()
