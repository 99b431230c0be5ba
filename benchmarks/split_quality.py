"""How evenly `partlabel split` deals out classes, beside a random split and the package iterative-stratification.

    python benchmarks/split_quality.py                       # labels drawn at random, long-tailed
    python benchmarks/split_quality.py LABELS.csv --codes 1=present,0=absent

Labels are taken as complete (unknown as absent), since the package knows no other. Needs `iterative-stratification`.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from numpy.typing import NDArray

from partlabel.formats import read_table
from partlabel.labels import LabelTable
from partlabel.splitting import stratify, units_of

Bools = NDArray[np.bool_]


def random_split(present: Bools, share: float, seed: int) -> Bools:
    order = np.random.default_rng(seed).permutation(len(present))
    in_test = np.zeros(len(present), bool)
    in_test[order[: round(share * len(present))]] = True
    return in_test


def package(present: Bools, share: float, seed: int) -> Bools:
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    in_test = np.zeros(len(present), bool)
    in_test[next(splitter.split(np.zeros(len(present)), present.astype(int)))[1]] = True
    return in_test


def ours(present: Bools, share: float, seed: int) -> Bools:
    names = [f"{n}" for n in range(len(present))]
    classes = [f"{c}" for c in range(present.shape[1])]
    table = LabelTable.from_dense(names, classes, np.where(present, 1, -1))
    return stratify(table, units_of(len(present), []), [1 - share, share], seed) == 1


def long_tailed(images: int, classes: int) -> Bools:
    generator = np.random.default_rng(0)
    prevalence = 0.3 / np.arange(1, classes + 1) ** 0.9
    return generator.random((images, classes)) < prevalence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("labels", nargs="?")
    parser.add_argument("--codes")
    parser.add_argument("--where", default="")
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    if given.labels:
        where = dict([given.where.split("=")]) if given.where else {}
        present = read_table(given.labels, codes=given.codes, where=where).table.dense() == 1
    else:
        present = long_tailed(5000, 80)
    present = present[:, present.sum(0) >= 2]
    print(f"{len(present)} images, {present.shape[1]} classes with two positives, share {given.share}")
    print("share of a class's positives in the part, distance from what is asked: mean over classes, worst class")
    ways: dict[str, Callable[[Bools, float, int], Bools]] = {
        "random": random_split,
        "iterative-stratification": package,
        "partlabel": ours,
    }
    for name, way in ways.items():
        means, worst, sizes, seconds = [], [], [], []
        for seed in range(given.seeds):
            start = time.perf_counter()
            in_test = way(present, given.share, seed)
            seconds.append(time.perf_counter() - start)
            off = np.abs(present[in_test].sum(0) / present.sum(0) - given.share)
            means.append(off.mean())
            worst.append(off.max())
            sizes.append(abs(in_test.mean() - given.share))
        print(
            f"{name:25} mean {100 * np.mean(means):5.2f} %  worst {100 * np.mean(worst):5.2f} %  "
            f"images off by {100 * np.mean(sizes):4.2f} %  {np.mean(seconds):6.2f} s"
        )


if __name__ == "__main__":
    main()
