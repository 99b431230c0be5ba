"""Counts of cells by probability, by explicit loops."""

import math

import numpy as np
import pytest

from partlabel.evaluation.histogram import BINS, added, probability_histogram


@pytest.mark.parametrize("with_truth", [False, True])
def test_counts_by_explicit_loops(with_truth: bool) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (40, 5)).astype(np.float32)
    logits[3, 2], logits[0, 0] = np.nan, 50
    states, truths = random.integers(-1, 2, (2, 40, 5)).astype(np.int8)
    expected = {"present": [0] * 10, "absent": [0] * 10, "unknown": [0] * 10}
    parts = {"unknown, truly present": [0] * 10, "unknown, truly absent": [0] * 10}
    for i in range(40):
        for c in range(5):
            if math.isnan(logits[i, c]):
                continue
            p = 1 / (1 + math.exp(-float(logits[i, c])))
            interval = min(int(10 * p), 9)
            expected[{1: "present", -1: "absent", 0: "unknown"}[int(states[i, c])]][interval] += 1
            if states[i, c] == 0 and truths[i, c] != 0:
                parts[f"unknown, truly {'present' if truths[i, c] == 1 else 'absent'}"][interval] += 1
    found = probability_histogram(logits, states, truths if with_truth else None)
    assert {name: counts.tolist() for name, counts in found.items()} == expected | (parts if with_truth else {})


def test_an_interval_includes_its_lower_end() -> None:
    logits = [[math.log(k / (10 - k)) for k in range(1, 10)]]
    assert probability_histogram(logits, [[1] * 9])["present"].tolist() == [0] + [1] * 9
    below = [[math.log(k / (10 - k)) - 1e-6 for k in range(1, 10)]]
    assert probability_histogram(below, [[1] * 9])["present"].tolist() == [1] * 9 + [0]
    assert probability_histogram([[-np.inf, np.inf]], [[-1, -1]])["absent"].tolist() == [1] + [0] * (BINS - 2) + [1]


def test_batches_add_up() -> None:
    random = np.random.default_rng(1)
    logits, states = random.normal(0, 2, (9, 4)), random.integers(-1, 2, (9, 4))
    total = added({}, probability_histogram(logits[:2], states[:2]))
    total = added(total, probability_histogram(logits[2:], states[2:]))
    whole = probability_histogram(logits, states)
    assert {name: counts.tolist() for name, counts in total.items()} == {n: c.tolist() for n, c in whole.items()}
