"""Which rule for choosing a threshold makes suggestions as precise as was asked, on cells that nobody has looked at?

Draws held-out cells and unknown cells of simulated scores with known truth, chooses a pooled threshold by each rule and
prints the true precision of what it suggests.

    python benchmarks/precision_rules.py [--held-out 3000] [--draws 100] [--target 0.95]
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from partlabel.datasets.simulated_scores import SimulatedScores
from partlabel.evaluation.scored_cells import check_held_out
from partlabel.recovery.calibrate import cross_fit, fit_calibration
from partlabel.recovery.thresholds import precision_lower_bound

Floats = NDArray[np.float64]
FEWEST = 10


def counted(correct: Floats, accepted: Floats, expected: Floats) -> Floats:
    return correct / accepted


def lower_bound(correct: Floats, accepted: Floats, expected: Floats) -> Floats:
    return np.asarray([precision_lower_bound(int(c), int(a)) for c, a in zip(correct, accepted, strict=True)])


def expectation(correct: Floats, accepted: Floats, expected: Floats) -> Floats:
    return expected


def both(correct: Floats, accepted: Floats, expected: Floats) -> Floats:
    return np.minimum(correct / accepted, expected)


RULES: dict[str, tuple[Callable[[Floats, Floats, Floats], Floats], bool]] = {
    "counted, not cross-fitted": (counted, False),
    "counted": (counted, True),
    "lower bound of the counted, at 90 %": (lower_bound, True),
    "expected": (expectation, True),
    "counted and expected (the default)": (both, True),
}


def threshold(probability: Floats, present: NDArray[np.bool_], rule: Callable[..., Floats], target: float) -> float:
    """Smallest probability from 0.5 on whose reading reaches the target; infinity if none does."""
    order = np.argsort(-probability)
    order = order[probability[order] >= 0.5][:4000]
    accepted = np.arange(1.0, order.size + 1)
    reading = rule(np.cumsum(present[order]).astype(float), accepted, np.cumsum(probability[order]) / accepted)
    reached = np.flatnonzero((reading >= target) & (accepted >= FEWEST))
    return float(probability[order[reached[-1]]]) if reached.size else np.inf


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--held-out", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--target", type=float, default=0.95)
    arguments = parser.parse_args()
    precision: dict[str, list[float]] = {name: [] for name in RULES}
    recall: dict[str, list[float]] = {name: [] for name in RULES}
    for seed in range(arguments.draws):
        scores = SimulatedScores(np.random.default_rng(seed))
        held_out, unknown = scores.draw(arguments.held_out), scores.draw(100_000)
        calibration = fit_calibration(*held_out, scores.classes)
        fitted, wanted = (calibration.of(x, c) for x, _, c in (held_out, unknown))
        crossed = cross_fit(check_held_out(*held_out, scores.classes))
        for name, (rule, cross) in RULES.items():
            limit = threshold(crossed if cross else fitted, held_out.states == 1, rule, arguments.target)
            found = wanted >= limit
            recall[name].append(float((unknown.states[found] == 1).sum() / (unknown.states == 1).sum()))
            if found.any():
                precision[name].append(float((unknown.states[found] == 1).mean()))
    print(
        f"{arguments.held_out} held-out cells, target {arguments.target}, {arguments.draws} draws, 74 classes, 4 % "
        f"present\n"
    )
    print("| rule | true precision, mean | below target | below target - 0.05 | nothing suggested | recall |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, values in precision.items():
        v = np.asarray(values)
        none = 1 - v.size / arguments.draws
        below = (
            f"{(v < arguments.target).mean():.2f} | {(v < arguments.target - 0.05).mean():.2f}" if v.size else "- | -"
        )
        mean = f"{v.mean():.3f}" if v.size else "-"
        print(f"| {name} | {mean} | {below} | {none:.2f} | {np.mean(recall[name]):.2f} |")


if __name__ == "__main__":
    main()
