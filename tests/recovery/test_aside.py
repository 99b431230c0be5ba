"""Cells that were decided by another way than chance: what they do to a promise, and who they are."""

import itertools
from math import comb

import numpy as np
import pytest

from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import LabelTable, Source, State
from partlabel.recovery.calibrate import Calibration, calibrate
from partlabel.recovery.hypergeometric import chance_of
from partlabel.recovery.promise import promise_precision
from partlabel.recovery.sample import Aside, Unknown
from partlabel.recovery.suggest import find_candidates
from partlabel.runs.cell_folds import stated_in


def test_the_chance_with_cells_aside_is_that_of_all_samples() -> None:
    for known, unknown, aside, aside_right, right in itertools.product((3, 5), (4,), (0, 3), (0, 2), (2, 3)):
        if aside_right > aside:
            continue
        most = right + aside_right + int(np.ceil(0.7 * unknown)) - 1
        total = known + unknown + aside
        ways = sum(comb(most, k) * comb(total - most, known - k) for k in range(right, known + 1))
        want = ways / comb(total, known)
        assert chance_of(known, right, unknown, 0.7, aside, aside_right) == pytest.approx(want, rel=1e-9)


def test_a_promise_is_kept_when_the_easy_ones_were_taken_before() -> None:
    """The surest unknown cells are decided beforehand: what is left is worse than the known cells show."""
    random, broken, ignored, suggests = np.random.default_rng(0), 0, 0, 0
    for _ in range(150):
        share = np.repeat([0.99, 0.8], [600, 400])
        right = random.random(1000) < share
        probability = np.where(share > 0.9, 0.97, 0.95) + random.uniform(0, 0.005, 1000)
        known = random.random(1000) < 0.3
        taken = ~known & (share > 0.9)
        left = ~known & ~taken
        zeros = np.zeros(known.sum(), np.int64)
        names = tuple(map(str, range(1000)))
        states = np.where(right[known], 1, -1).astype(np.int8)
        absent = ScoredCells(
            ("a",),
            np.append(np.zeros(known.sum()), -9.0),
            np.append(states, np.int8(-1)),
            np.append(zeros, 0),
            names,
            np.append(np.flatnonzero(known), 0),
        )  # one absent cell far below, so that the class is measured
        scores = np.append(probability[known], 0.01)
        aside = Aside(probability[taken], np.zeros(taken.sum(), np.int64), right[taken])
        for which in (aside, Aside.none()):
            unknown = Unknown(probability[left], np.zeros(left.sum(), np.int64), np.array([left.sum()]), which)
            found = promise_precision(absent, scores, unknown, 0.9, 0.9)
            chosen = right[left][probability[left] >= found.values[0]]
            wrong = bool(chosen.size and chosen.mean() < 0.9)
            if which is aside:
                broken += wrong
                suggests += bool(chosen.size)
            else:
                ignored += wrong
    assert broken <= 15
    assert ignored > 75


def test_who_is_set_aside() -> None:
    images, classes = ("1", "2", "3"), ("a", "b")
    run = LabelTable.from_cells(images, classes, [0, 0, 1], [0, 1, 0], [1, -1, 1], [0, Source.REVIEW, Source.RECOVERED])
    table = LabelTable.from_cells(
        ("3", "2", "1"),
        ("b", "a"),
        [2, 2, 1, 0],
        [1, 0, 1, 1],
        [1, -1, 1, 1],
        [Source.IMPORT, Source.REVIEW, Source.RECOVERED, Source.HUMAN],
    )
    stated = stated_in(table, run)
    assert stated.dense().tolist() == [[0, 0], [0, 0], [0, 1]]
    logits = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    calibration = Calibration.none(("b", "a"))
    found = find_candidates(table, [(np.arange(3), logits)], (calibration,), 0.5, State.PRESENT, None, stated)
    probability = calibration.probability(logits)
    columns = (part.tolist() for part in found.aside)
    cells = sorted(zip(*columns, strict=True))
    assert cells == sorted(
        [(probability[2, 0], 0, False), (probability[1, 1], 1, True), (probability[0, 1], 1, True)]
    )  # reviewed as absent, recovered, and known since
    assert {(row, column) for row, column in zip(found.image_index, found.class_index, strict=True)} == {
        (0, 0),
        (1, 0),
    }


def test_a_recovered_cell_is_taken_to_be_right_for_absent_suggestions_too() -> None:
    table = LabelTable.from_cells(("1",), ("a", "b"), [0, 0], [0, 1], [1, 1], [Source.RECOVERED, Source.REVIEW])
    nothing = LabelTable.from_cells(("1",), ("a", "b"), [], [], [])
    found = find_candidates(
        table,
        [(np.arange(1), np.full((1, 2), -3.0))],
        (Calibration.none(("a", "b")),),
        0.5,
        State.ABSENT,
        None,
        nothing,
    )
    assert found.aside.right.tolist() == [True, False]


def test_the_calibration_of_a_fold_follows_no_state_of_the_fold() -> None:
    random = np.random.default_rng(0)
    logits, fold = random.normal(0, 2, 600), random.integers(0, 3, 600)
    states = np.where(random.random(600) < 1 / (1 + np.exp(-0.5 * logits - 1)), 1, -1).astype(np.int8)
    turned = states.copy()
    turned[fold == 1] = random.permutation(states[fold == 1])
    assert (turned != states).sum() > 50
    column = random.integers(0, 4, 600)
    found = [calibrate(ScoredCells(tuple("abcd"), logits, one, column), fold, 3) for one in (states, turned)]
    same = [
        np.array_equal(one.intercept, other.intercept) and np.array_equal(one.slope, other.slope)
        for one, other in zip(found[0].calibrations, found[1].calibrations, strict=True)
    ]
    assert found[0].applied
    assert found[1].applied
    assert same == [False, True, False]
    mine = fold == 1
    np.testing.assert_array_equal(found[0].probability[mine], found[1].probability[mine])


def test_a_fold_without_a_known_cell_has_a_calibration_too() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, 90)
    states = np.where(random.random(90) < 1 / (1 + np.exp(-logits)), 1, -1).astype(np.int8)
    cells = ScoredCells(("a",), logits, states, np.zeros(90, np.int64))
    assert len(calibrate(cells, random.integers(0, 4, 90), 5).calibrations) == 5
