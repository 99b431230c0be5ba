r"""Do the probabilities of `recover` mean what they say: on hidden labels, that nothing was fitted on.

    PARTLABEL_COREL5K=DIR PARTLABEL_MSRC_V2=DIR PARTLABEL_MSRC_V2_SPLIT=DIR PARTLABEL_MOBILENETV2=DIR \
        python benchmarks/calibration.py --out runs/calibration

Each cell is scored by the model of its fold, and its probability comes from the calibration of that fold. "One line" is
Platt's: a sigmoid of a line, the same for all classes, fitted on the same known cells. On Corel5k "present" is
"annotated".
"""

import argparse
import os
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from recover_by_method import data_of
from scipy.special import expit

import partlabel
from partlabel.evaluation import brier_score, expected_calibration_error, log_loss
from partlabel.evaluation.scored_cells import FloatArray, ScoredCells
from partlabel.inference.judging_cells import crossed_cells
from partlabel.labels import Int8Array, IntArray, LabelTable
from partlabel.progress import SILENT
from partlabel.recovery.calibrate import calibrate
from partlabel.recovery.logistic import fit_lines

FOLDS, BINS = 5, 10
EDGES = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
WAYS = ("sigmoid of the logit", "one line", "calibrated")


class Hidden(NamedTuple):
    """Hidden cells: present `[H]`, and their probabilities `[H]` by each way."""

    present: Int8Array
    probability: dict[str, FloatArray]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", nargs="*", choices=["corel5k", "msrc_v2"], default=["corel5k", "msrc_v2"])
    parser.add_argument("--methods", nargs="*", default=["discriminant"])
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    found = {}
    for data in arguments.data:
        table, images = data_of(data)
        for method in arguments.methods:
            found[data, method] = [
                _hidden(table, images, arguments.out / f"{data}-{arguments.ratio}-{method}-{seed}", method, seed)
                for seed in range(arguments.seeds)
            ]
    _print_scores(found)
    _print_reliability(found)


def _hidden(truth: LabelTable, images: Path, out: Path, method: str, seed: int) -> Hidden:
    ratio = float(out.name.split("-")[1])
    labels = partlabel.hide(truth, masking="known_ratio", ratio=ratio, seed=seed)
    backbone = f"local-dir:{os.environ['PARTLABEL_MOBILENETV2']}"
    how = {} if method == "discriminant" else {"validate_every": 15}
    run = partlabel.train(
        labels, images=images, out=out, method=method, seed=seed, backbone=backbone, freeze=True, report=False, **how
    )
    judging = crossed_cells(run, labels.classes, FOLDS, images, SILENT)
    found = calibrate(judging.cells, judging.fold)
    logits, fold = np.empty((len(labels), len(labels.classes))), np.empty((len(labels), len(labels.classes)), np.int64)
    for rows, values, folds in judging.blocks(labels.images, images.resolve(), SILENT, None):
        logits[rows], fold[rows] = values, folds
    each = np.stack([calibration.probability(logits) for calibration in found.calibrations])
    by_fold = np.take_along_axis(each, fold[None], 0)[0]
    hidden = truth.dense() * (labels.dense() == 0)
    here = hidden != 0
    line = _one_line(judging.cells, judging.fold, logits[here], fold[here])
    ways = (expit(logits[here]), line, by_fold[here])
    return Hidden(hidden[here], dict(zip(WAYS, ways, strict=True)))


def _one_line(cells: ScoredCells, fold: IntArray | None, logits: FloatArray, folds: IntArray) -> FloatArray:
    """Probabilities `[H]`, each by a line through the known cells of the other folds."""
    probability = np.empty(logits.size)
    for number in range(FOLDS):
        used = fold != number
        centre, spread = cells.logits[used].mean(), cells.logits[used].std()
        group = np.zeros(int(used.sum()), np.int64)
        values = (cells.logits[used] - centre) / spread
        (line,) = fit_lines(values, cells.present[used], group, np.zeros((1, 2)), (10.0, 2.0))
        mine = folds == number
        probability[mine] = expit(line[0] + np.exp(line[1]) * (logits[mine] - centre) / spread)
    return probability


def _print_scores(found: dict[tuple[str, str], list[Hidden]]) -> None:
    print("| data | method | probabilities | log loss | Brier score | calibration error | gap where p ≥ 0.5 |")
    print("|---|---|---|---:|---:|---:|---:|")
    for (data, method), seeds in found.items():
        for way in WAYS:
            rows = []
            for present, probability in seeds:
                p, states = probability[way][:, None], present[:, None]
                high = probability[way] >= 0.5
                gap = probability[way][high].mean() - (present[high] > 0).mean()
                error = expected_calibration_error(p, states, BINS)
                rows.append((log_loss(p, states), brier_score(p, states), error, gap))
            mean, deviation = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=min(1, len(rows) - 1))
            numbers = " | ".join(f"{m:.4f} ± {d:.4f}" for m, d in zip(mean, deviation, strict=True))
            print(f"| {data} | {method} | {way} | {numbers} |")


def _print_reliability(found: dict[tuple[str, str], list[Hidden]]) -> None:
    """Mean probability and share present of the cells in each interval, all seeds together."""
    names = [f"{low:g} to {high:g}" for low, high in pairwise(EDGES)]
    print("\nMean probability → share that is present (cells), by the interval of the probability:\n")
    print(f"| data | method | probabilities | {' | '.join(names)} |")
    print("|---" * (3 + len(names)) + "|")
    for (data, method), seeds in found.items():
        present = np.concatenate([one.present for one in seeds]) > 0
        for way in WAYS:
            p = np.concatenate([one.probability[way] for one in seeds])
            place, shown = np.searchsorted(EDGES[1:-1], p, "right"), []
            for number in range(len(names)):
                inside = place == number
                shares = f"{p[inside].mean():.3f} → {present[inside].mean():.3f} ({inside.sum():,})"
                shown.append(shares if inside.any() else "-")
            print(f"| {data} | {method} | {way} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
