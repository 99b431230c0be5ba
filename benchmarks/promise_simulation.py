"""Is the promise of `recover` kept, on cells that nobody has looked at, and what does it cost?

Draws worlds with known truth (`SimulatedImages`: long-tailed classes, images whose labels and scores hang together,
miscalibrated scores), and for each of them many times which cells are known. Prints, for each way of knowing and each
target: how many of the draws keep the promise (no suggestions keep it too), how many suggest anything, the recall of
the hidden presents and the mean true precision; for the promise, for the estimate without one, and for a threshold at
which the lower bound of the counted precision (Clopper and Pearson, 90 %) reaches the target.

    python benchmarks/promise_simulation.py [--draws 300] [--worlds 10] [--only WORD] [--refit]

A calibration is fitted once for each world, on another draw of known cells; `--refit` fits it in every draw to the
very cells that judge, in five folds, as `recover` does. That takes an hour.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from partlabel.datasets.simulated_scores import SimulatedImages
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.recovery.calibrate import calibrate
from partlabel.recovery.design import design_of
from partlabel.recovery.promise import LOWEST, promise_precision
from partlabel.recovery.sample import Unknown
from partlabel.recovery.thresholds import precision_thresholds

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Mask = Callable[[np.random.Generator, Bools], Bools]
CONFIDENCE = 0.9
FOLDS = 5
ALL_TARGETS = (0.8, 0.9, 0.95)


def by_chance(rate: float) -> Mask:
    return lambda random, present: random.random(present.shape) < rate


def whole_images(rate: float) -> Mask:
    return lambda random, present: np.broadcast_to(random.random((len(present), 1)) < rate, present.shape)


def half_of_half(random: np.random.Generator, present: Bools) -> Bools:
    return (random.random((len(present), 1)) < 0.5) & (random.random(present.shape) < 0.5)


def rates_of(classes: int) -> Floats:
    """Rates at which classes are known, from 2 % to 60 %, whatever their prevalence; the same in each world."""
    return np.geomspace(0.02, 0.6, classes)[np.random.default_rng(5).permutation(classes)]


def class_rates(random: np.random.Generator, present: Bools) -> Bools:
    return random.random(present.shape) < rates_of(present.shape[1])


def as_many_absents(random: np.random.Generator, present: Bools) -> Bools:
    """Up to 30 presents of each class are known, and as many absents."""
    chosen = np.zeros(present.shape, bool)
    for column, mine in enumerate(present.T):
        for side in (mine, ~mine):
            rows = np.flatnonzero(side)
            chosen[random.choice(rows, min(30, mine.sum(), rows.size), replace=False), column] = True
    return chosen


def presents_thrice(random: np.random.Generator, present: Bools) -> Bools:
    return random.random(present.shape) < np.where(present, 0.3, 0.1)


class Row(NamedTuple):
    """A way of knowing cells, in worlds of some kind.

    Args:
        name: for the table.
        mask: which cells are known.
        world: arguments of `SimulatedImages`.
        targets: of the precision.
        holds: the promise claims to hold there.
        flattered: added to the logits of the classes that `class_rates` knows least.
    """

    name: str
    mask: Mask
    world: dict[str, float]
    targets: tuple[float, ...] = ALL_TARGETS
    holds: bool = True
    flattered: float = 0.0


OVER, UNDER, OFFSETS = {"scale": 1.8}, {"scale": 0.6}, {"offset": 0.8}
LONG_TAIL = {"classes": 260, "rarest": 0.0012, "images": 600}
ROWS = (
    Row("10 % of cells, overconfident", by_chance(0.1), OVER),
    Row("30 % of cells, underconfident", by_chance(0.3), UNDER, (0.9,)),
    Row("50 % of cells, class offsets", by_chance(0.5), OFFSETS, (0.9,)),
    Row("90 % of cells, class offsets", by_chance(0.9), OFFSETS, (0.9,)),
    Row("30 % of cells, 260 classes, class offsets", by_chance(0.3), {**LONG_TAIL, **OFFSETS}, (0.9,)),
    Row("30 % of images whole, class offsets", whole_images(0.3), OFFSETS),
    Row("10 % of images whole, overconfident", whole_images(0.1), OVER, (0.8,)),
    Row("30 % of images whole, scores of an image nearly alike", whole_images(0.3), {**OFFSETS, "shared": 0.8}, (0.9,)),
    Row("half the cells of half the images, overconfident", half_of_half, OVER, (0.9,)),
    Row("classes at 2 to 60 %, class offsets", class_rates, OFFSETS),
    Row("classes at 2 to 60 %, 260 classes, overconfident", class_rates, {**LONG_TAIL, **OVER}, (0.9,)),
    Row("classes at 2 to 60 %, the least known flattered", class_rates, OVER, (0.8, 0.9), flattered=3.0),
    Row("as many absents as presents", as_many_absents, OFFSETS, (0.9,), False),
    Row("presents known 3 times as often", presents_thrice, OFFSETS, (0.9,), False),
)


class Draw(NamedTuple):
    """Known cells with their probabilities, and the unknown cells that may be suggested with theirs and their truth."""

    cells: ScoredCells
    probability: Floats
    unknown: Unknown
    truth: Bools
    hidden: int
    images: int


def draws(row: Row, count: int, worlds: int, refit: bool) -> Iterator[Draw]:
    for number in range(count):
        random = np.random.default_rng([7, number])
        if number % -(-count // worlds) == 0:
            world = SimulatedImages(random, **row.world)  # type: ignore[arg-type]
            world.logits += row.flattered * (rates_of(len(world.classes)) < 0.08)
            cells, _ = known_cells(world, row.mask(random, world.present))
            found = calibrate(cells, random.integers(0, FOLDS, cells.states.size)).calibration
            probability = found.probability(world.logits)
        known = row.mask(random, world.present)
        cells, at = known_cells(world, known)
        if refit:
            fold = random.integers(0, FOLDS, known.shape)
            calibrations = calibrate(cells, fold[at]).calibrations
            each = np.stack([one.probability(world.logits) for one in calibrations])
            probability = np.take_along_axis(each, fold[None], 0)[0]
        rows, columns = np.nonzero(~known & (probability >= LOWEST))
        unknown = Unknown(probability[rows, columns], columns, (~known).sum(axis=0))
        hidden = int((world.present & ~known).sum())
        yield Draw(cells, probability[at], unknown, world.present[rows, columns], hidden, len(known))


def known_cells(world: SimulatedImages, known: Bools) -> tuple[ScoredCells, tuple[NDArray[np.int64], ...]]:
    rows, columns = at = np.nonzero(known)
    states = np.where(world.present[at], 1, -1).astype(np.int8)
    return ScoredCells(world.classes, world.logits[at], states, columns, (), rows), at


def promised(draw: Draw, target: float) -> Floats:
    design = design_of(draw.cells, draw.images)
    found = promise_precision(draw.cells, draw.probability, draw.unknown, target, CONFIDENCE, design=design)
    return found.values


def estimated(draw: Draw, target: float) -> Floats:
    return precision_thresholds(draw.cells, draw.probability, target).values


def bounded(draw: Draw, target: float) -> Floats:
    """The lowest threshold at which the lower bound of the counted precision reaches the target."""
    order = np.argsort(-draw.probability)
    order = order[draw.probability[order] >= LOWEST]
    accepted = np.arange(1.0, order.size + 1)
    correct = np.cumsum(draw.cells.present[order])
    bound = betaincinv(np.maximum(correct, 1), accepted - correct + 1, 1 - CONFIDENCE)
    reached = np.flatnonzero(bound >= target)
    limit = draw.probability[order[reached[-1]]] if reached.size else np.inf
    return np.full(len(draw.cells.classes), limit)


RULES = {"promise": promised, "estimate": estimated, "bound": bounded}


def measured(row: Row, arguments: argparse.Namespace) -> dict[tuple[float, str], Floats]:
    """For each target and rule: right, suggested and hidden presents of each draw, `[D, 3]`."""
    found: dict[tuple[float, str], list[tuple[int, int, int]]] = {}
    for draw in draws(row, arguments.draws, arguments.worlds, arguments.refit):
        for target in row.targets:
            for name, rule in RULES.items():
                chosen = draw.unknown.probability >= rule(draw, target)[draw.unknown.class_index]
                counts = int(draw.truth[chosen].sum()), int(chosen.sum()), draw.hidden
                found.setdefault((target, name), []).append(counts)
    return {key: np.array(values, float) for key, values in found.items()}


def told(counts: Floats, target: float) -> str:
    """Kept, suggesting, recall and mean precision of one rule."""
    right, suggested, hidden = counts.T
    some = suggested > 0
    kept = np.where(some, right >= target * suggested - 1e-9, True).mean()
    precision = f"{(right[some] / suggested[some]).mean():.3f}" if some.any() else "-"
    return f"{kept:.2f} | {some.mean():.2f} | {(right / np.maximum(hidden, 1)).mean():.2f} | {precision}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--only", default="", help="rows that have this in their name")
    parser.add_argument("--refit", action="store_true")
    arguments = parser.parse_args()
    print(f"{arguments.draws} draws a row, {arguments.worlds} worlds, confidence {CONFIDENCE:g}\n")
    names = " | ".join(f"{name}: kept | suggests | recall | precision" for name in RULES)
    print(f"| known | target | {names} |")
    print("|---|---:|" + "---:|---:|---:|---:|" * len(RULES))
    for row in ROWS:
        if arguments.only not in row.name:
            continue
        found = measured(row, arguments)
        for target in row.targets:
            parts = " | ".join(told(found[target, name], target) for name in RULES)
            print(f"| {row.name}{'' if row.holds else ' (no promise holds)'} | {target:g} | {parts} |", flush=True)


if __name__ == "__main__":
    main()
