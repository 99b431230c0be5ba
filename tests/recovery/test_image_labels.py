"""What the known labels of an image say of its unknown ones, against loops, and what they may not see."""

import numpy as np
import pytest
from scipy.optimize import minimize

from partlabel.errors import UsageError
from partlabel.evaluation.scored_cells import ScoredCells
from partlabel.labels import IntArray
from partlabel.recovery.image_labels import ImageLabels

FOLDS = 3


def _world(images: int = 60, classes: int = 5, seed: int = 0) -> tuple[ScoredCells, IntArray, np.ndarray, np.ndarray]:
    """Cells in which class 1 goes with class 0 beyond what the logits say."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (images, classes))
    states = np.where(random.random((images, classes)) < 1 / (1 + np.exp(-logits)), 1, -1).astype(np.int8)
    states[:, 1] = states[:, 0]
    fold = random.integers(0, FOLDS, (images, classes))
    known = random.random((images, classes)) < 0.6
    rows, columns = np.nonzero(known)
    names = tuple(f"{number}.jpg" for number in range(images))
    cells = ScoredCells(tuple("abcde"[:classes]), logits[rows, columns], states[rows, columns], columns, names, rows)
    return cells, fold[rows, columns], logits, fold


def _surprise(logit: float, state: int) -> float:
    share = 1 / (1 + np.exp(-logit))
    return float(np.clip(((state > 0) - share) / max(share * (1 - share), 0.0025) ** 0.5, -5, 5))


def _expected_by_loops(cells: ScoredCells, fold: IntArray, image: int, column: int, mine: int) -> float:
    """U of one cell of a fold, by labels of the other folds alone."""
    classes = len(cells.classes)
    between = np.eye(classes)
    places = [place for place in range(cells.logits.size) if fold[place] != mine]
    for first in range(classes):
        for second in range(classes):
            if first == second:
                continue
            total, pairs = 0.0, 0
            for one in places:
                for other in places:
                    if cells.image_index[one] != cells.image_index[other]:
                        continue
                    if cells.class_index[one] == first and cells.class_index[other] == second:
                        total += _surprise(cells.logits[one], cells.states[one]) * _surprise(
                            cells.logits[other], cells.states[other]
                        )
                        pairs += 1
            between[first, second] = total / (pairs + 200)
    known = [place for place in places if cells.image_index[place] == image]
    if not known:
        return 0.0
    columns = cells.class_index[known]
    matrix = np.array([[between[a, b] + 0.5 * (a == b) for b in columns] for a in columns])
    values = np.array([_surprise(cells.logits[place], cells.states[place]) for place in known])
    return float(between[column, columns] @ np.linalg.inv(matrix) @ values)


def test_expected_surprises_are_those_of_loops() -> None:
    cells, fold, _, folds = _world(images=12)
    found = ImageLabels.fitted(cells, fold)
    for image in (0, 5, 11):
        got = found.expected(f"{image}.jpg", folds[image])
        for column in range(5):
            want = _expected_by_loops(cells, fold, image, column, folds[image, column])
            assert got[column] == pytest.approx(want, rel=1e-4, abs=1e-7), (image, column)


def test_known_cells_are_changed_as_unknown_ones_are() -> None:
    cells, fold, _, folds = _world()
    found = ImageLabels.fitted(cells, fold)
    of_known = found.of_known(cells)
    for place in range(0, cells.logits.size, 7):
        image, column = cells.image_index[place], cells.class_index[place]
        assert of_known[place] == pytest.approx(found.expected(f"{image}.jpg", folds[image])[column], rel=1e-9)


def test_no_cell_of_a_fold_follows_the_states_of_the_fold() -> None:
    cells, fold, _, folds = _world()
    states = np.where(fold == 1, -cells.states, cells.states)
    other = ScoredCells(cells.classes, cells.logits, states, cells.class_index, cells.images, cells.image_index)
    one, two = (ImageLabels.fitted(which, fold) for which in (cells, other))
    for image in range(0, 60, 5):
        first, second = (found.expected(f"{image}.jpg", folds[image]) for found in (one, two))
        mine = folds[image] == 1
        np.testing.assert_array_equal(first[mine], second[mine])
    assert (one.folds[0].between != two.folds[0].between).any()


def test_lines_are_those_of_another_search() -> None:
    cells, fold, _, _ = _world()
    found = ImageLabels.fitted(cells, fold)
    expected = found.of_known(cells)
    used = fold != 2
    inputs = np.stack([np.ones(used.sum()), cells.logits[used], expected[used]], axis=1)
    signs = cells.states[used].astype(float)

    def loss(line: np.ndarray) -> float:
        prior = 0.5e-3 * ((line - np.array([0, 1, 0])) ** 2).sum()
        return float(np.log1p(np.exp(-signs * (inputs @ line))).sum() + prior)

    best = minimize(loss, [0, 1, 10], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 9000})
    np.testing.assert_allclose(found.folds[2].line, best.x, rtol=0.01)


def test_a_label_that_goes_with_another_informs_it() -> None:
    cells, fold, logits, folds = _world(images=600)
    found = ImageLabels.fitted(cells, fold)
    assert min(one.line[2] for one in found.folds) > 0.5
    names = tuple(f"{number}.jpg" for number in range(600))
    ((_, changed, _),) = found.blocks(iter([(np.arange(600), logits.astype(np.float32), folds)]), names)
    known = {(image, column) for image, column in zip(cells.image_index, cells.class_index, strict=True)}
    truth = _truth(600)
    asked = [image for image in range(600) if (image, 1) not in known and (image, 0) in known]
    loss = [np.log1p(np.exp(-truth[asked, 1] * scores[asked, 1])).mean() for scores in (logits, changed)]
    assert loss[1] < 0.8 * loss[0]


def _truth(images: int) -> np.ndarray:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (images, 5))
    states = np.where(random.random((images, 5)) < 1 / (1 + np.exp(-logits)), 1, -1)
    states[:, 1] = states[:, 0]
    return states


def test_an_image_without_a_known_label_stays() -> None:
    cells, fold, _, folds = _world()
    found = ImageLabels.fitted(cells, fold)
    np.testing.assert_array_equal(found.expected("elsewhere.jpg", folds[0]), 0)


def test_too_many_classes_are_refused() -> None:
    many = ScoredCells(tuple(map(str, range(2001))), np.zeros(1), np.ones(1, np.int8), np.zeros(1, np.int64))
    with pytest.raises(UsageError, match="2,001"):
        ImageLabels.fitted(many, np.zeros(1, np.int64))
