"""How long evaluation takes, against scikit-learn and torchmetrics in the same run.

    python benchmarks/evaluation_speed.py --images 125000 --classes 1000 --common 20

`evaluate` runs on all classes. scikit-learn (average_precision_score, class by class) and torchmetrics
(MultilabelAveragePrecision) run on the first `--common` classes only, and so does our own function beside them: the
ratio is taken there, on the same cells, from the shortest of three runs of each. Nothing is extrapolated. Theirs is one
convention of average precision; ours is three and AUC. On a shared machine the ratio varies: run it more than once.
"""

import argparse
import os
import time
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score
from torchmetrics.classification import MultilabelAveragePrecision

from partlabel.evaluation import evaluate, ranking_measures

Scores = NDArray[np.float32]
States = NDArray[np.int8]
T = TypeVar("T")


def make_data(images: int, classes: int) -> tuple[Scores, States]:
    """Fully known labels (the most work), prevalence from 0.1 % to 20 %, scores that rank with some skill."""
    generator = np.random.default_rng(0)
    prevalence = np.geomspace(0.001, 0.2, classes, dtype=np.float32)
    generator.shuffle(prevalence)
    scores = generator.standard_normal((images, classes), np.float32)
    states = np.empty((images, classes), np.int8)
    for row in range(images):
        present = generator.random(classes, np.float32) < prevalence
        states[row] = np.where(present, 1, -1)
        scores[row, present] += 1.5
    return scores, states


def timed(function: Callable[[], T], repeats: int) -> tuple[float, T]:
    """The shortest of the repeats, so that a first call's warm-up and a busy moment do not count."""
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, result


def scikit_learn(scores: Scores, states: States) -> list[float]:
    return [average_precision_score(states[:, c] == 1, scores[:, c]) for c in range(scores.shape[1])]


def torchmetrics(scores: torch.Tensor, truth: torch.Tensor) -> NDArray[np.float32]:
    metric = MultilabelAveragePrecision(num_labels=scores.shape[1], average="none", validate_args=False)
    metric.update(scores, truth)
    values: NDArray[np.float32] = metric.compute().numpy()
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=125_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--common", type=int, default=20, help="classes that all three are timed on")
    arguments = parser.parse_args()
    scores, states = make_data(arguments.images, arguments.classes)
    names = [f"class {number}" for number in range(arguments.classes)]

    whole, evaluation = timed(lambda: evaluate(scores, states, names), repeats=1)
    tracemalloc.start()
    evaluate(scores, states, names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    part, part_states = scores[:, : arguments.common].copy(), states[:, : arguments.common].copy()
    # Logits would be put through a float32 sigmoid first, which makes ties; probabilities are taken as they are.
    probabilities = (1 / (1 + np.exp(-part))).astype(np.float32)
    tensors = torch.from_numpy(probabilities), torch.from_numpy(part_states == 1).long()
    ours, measures = timed(lambda: ranking_measures(probabilities, part_states), repeats=3)
    sklearn_time, sklearn_values = timed(lambda: scikit_learn(probabilities, part_states), repeats=3)
    torchmetrics_time, torchmetrics_values = timed(lambda: torchmetrics(*tensors), repeats=3)

    table = Table(
        "what", "classes", "seconds", "ms a class", "times ours", title=f"{arguments.images:,} images, all known"
    )
    rows = [
        ("evaluate: 3 × AP, AUC, F1, top-3", arguments.classes, whole, None),
        ("ranking_measures: 3 × AP, AUC", arguments.common, ours, ours),
        ("scikit-learn average_precision_score", arguments.common, sklearn_time, ours),
        ("torchmetrics MultilabelAveragePrecision", arguments.common, torchmetrics_time, ours),
    ]
    for name, classes, seconds, base in rows:
        ratio = "" if base is None else f"{seconds / base:.1f}"
        table.add_row(name, f"{classes:,}", f"{seconds:.3f}", f"{1000 * seconds / classes:.2f}", ratio)
    console = Console(width=110)
    console.print(table)
    inputs = scores.nbytes + states.nbytes
    console.print(f"peak memory of evaluate beyond its {inputs / 1e6:,.0f} MB of inputs: {peak / 1e6:.1f} MB")
    console.print(
        f"largest difference of AP: {np.abs(measures.raw - sklearn_values).max():.1e} to scikit-learn, "
        f"{np.abs(measures.raw - torchmetrics_values).max():.1e} to torchmetrics; "
        f"mAP of all classes {100 * evaluation.mean_average_precision['raw']:.2f} %"
    )
    console.print(
        f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads, numpy {np.__version__}, torch "
        f"{torch.__version__}"
    )


if __name__ == "__main__":
    main()
