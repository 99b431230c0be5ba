"""Classes told by words, against explicit loops over classes, folds and candidates."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from partlabel.errors import UsageError
from partlabel.evaluation.average_precision import chance_average_precision
from partlabel.labels import LabelTable
from partlabel.methods.base import Seen
from partlabel.methods.fitted import Fit
from partlabel.methods.tools import word_ridge as module
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.methods.tools.fold_sums import fold_sums
from partlabel.methods.tools.word_ridge import PENALTIES, SHRINKAGES, left_out_differences, told_by_words, word_ridge
from partlabel.progress import SILENT

Floats = NDArray[np.float64]
RANDOM = np.random.default_rng(0)
IMAGES, CLASSES, FEATURES, TEXT, NEW = 60, 5, 7, 4, 2
WORDS = RANDOM.normal(size=(CLASSES + NEW, TEXT)) + 1
MIXED = WORDS[:CLASSES] @ RANDOM.normal(size=(TEXT, FEATURES))
TRUE = RANDOM.random((IMAGES, CLASSES)) < 0.4
SEEN_FEATURES = np.round(64 * (TRUE @ MIXED + 1.5 * RANDOM.normal(size=(IMAGES, FEATURES)))) / 64
STATES = np.where(RANDOM.random(TRUE.shape) < 0.6, np.where(TRUE, 1, -1), 0).astype(np.int8)


def _told(differences: Floats, variance: Floats, words: Floats, new: Floats, penalty: float) -> Floats:
    """One new class after the other, without the classes of infinite variance."""
    seen = [c for c in range(len(words)) if np.isfinite(variance[c])]
    mean = sum(words[c] for c in seen) / len(seen)
    unit = {c: (words[c] - mean) / np.linalg.norm(words[c] - mean) for c in seen}
    system = np.array([[unit[a] @ unit[b] + penalty * variance[a] * (a == b) for b in seen] for a in seen])
    found = []
    for word in new:
        its = (word - mean) / np.linalg.norm(word - mean)
        weights = np.linalg.inv(system) @ np.array([unit[c] @ its for c in seen])
        found.append(sum(weight * differences[c] for weight, c in zip(weights, seen, strict=True)))
    return np.array(found)


class _Means(NamedTuple):
    differences: Floats
    variance: Floats


def _means(rows: list[int]) -> _Means:
    """Differences of means over some images, and what they vary by, over the mean of that."""
    differences, variance = np.zeros((CLASSES, FEATURES)), np.zeros(CLASSES)
    for c in range(CLASSES):
        present = [SEEN_FEATURES[row] for row in rows if STATES[row, c] > 0]
        absent = [SEEN_FEATURES[row] for row in rows if STATES[row, c] < 0]
        differences[c] = np.mean(present, 0) - np.mean(absent, 0)
        variance[c] = 1 / len(present) + 1 / len(absent)
    return _Means(differences, variance / variance.mean())


def _shrunk(shrinkage: float) -> Floats:
    covariance = np.cov(SEEN_FEATURES, rowvar=False, bias=True)
    return (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / FEATURES * np.eye(FEATURES)


def _passes(states: NDArray[np.int8] = STATES) -> FeaturePasses:
    labels = LabelTable.from_dense([f"{n}.jpg" for n in range(IMAGES)], [f"class {n}" for n in range(CLASSES)], states)
    features = torch.from_numpy(SEEN_FEATURES).float()

    def images(index: torch.Tensor | None = None) -> Iterator[Seen]:
        for rows in (torch.arange(IMAGES) if index is None else index).split(13):
            yield Seen(rows, features[rows], torch.zeros(len(rows), CLASSES))

    return FeaturePasses(Fit(labels, images, 0, SILENT, {}), 5)


def _found(passes: FeaturePasses) -> module.WordRidge:
    sums = fold_sums(passes, "none", passes.largest())
    return word_ridge(
        passes, sums, torch.from_numpy(WORDS[:CLASSES]).float(), torch.from_numpy(WORDS[CLASSES:]).float()
    )


@pytest.mark.parametrize("penalty", [0.1, 3.0])
def test_a_new_class_is_a_weighted_sum_of_the_known_ones(penalty: float) -> None:
    means = _means(list(range(IMAGES)))
    variance = np.where(np.arange(CLASSES) == 2, np.inf, means.variance)
    tensors = [torch.from_numpy(value) for value in (means.differences, variance)]
    words = [torch.from_numpy(value).float() for value in (WORDS[:CLASSES], WORDS[CLASSES:])]
    found = told_by_words(*tensors, *words, penalty)
    expected = _told(means.differences, variance, WORDS[:CLASSES], WORDS[CLASSES:], penalty)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    nothing = torch.full((CLASSES,), torch.inf, dtype=torch.float64)
    assert not told_by_words(tensors[0], nothing, *words, penalty).any()


@pytest.mark.parametrize("parts", [2, 20])
def test_a_class_that_is_left_out_has_no_part_in_what_is_said_of_it(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARTS", parts)
    means = _means(list(range(IMAGES)))
    tensors = [torch.from_numpy(value) for value in means]
    found = left_out_differences(*tensors, torch.from_numpy(WORDS[:CLASSES]).float(), 0.3)
    for c in range(CLASSES):
        out = [other for other in range(CLASSES) if other % min(parts, CLASSES) == c % min(parts, CLASSES)]
        variance = np.array([np.inf if other in out else means.variance[other] for other in range(CLASSES)])
        expected = _told(means.differences, variance, WORDS[:CLASSES], WORDS[[c]], 0.3)[0]
        np.testing.assert_allclose(found[c].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_both_numbers_are_chosen_by_classes_and_images_left_out() -> None:
    passes = _passes()
    fold = passes.fold.numpy()
    values = np.zeros((len(SHRINKAGES), len(PENALTIES), CLASSES))
    for column, penalty in enumerate(PENALTIES):
        guessed = []
        for number in range(5):
            means = _means([row for row in range(IMAGES) if fold[row] != number])
            told = []
            for c in range(CLASSES):
                variance = np.array([np.inf if other == c else means.variance[other] for other in range(CLASSES)])
                told.append(_told(means.differences, variance, WORDS[:CLASSES], WORDS[[c]], penalty)[0])
            guessed.append(told)
        for row, shrinkage in enumerate(SHRINKAGES):
            scores, centred = np.zeros((IMAGES, CLASSES)), SEEN_FEATURES - SEEN_FEATURES.mean(0)
            for number in range(5):
                for c in range(CLASSES):
                    weight = np.linalg.solve(_shrunk(shrinkage), guessed[number][c])
                    of_fold = fold == number
                    scores[of_fold, c] = centred[of_fold] @ weight / (centred @ weight).std()
            known = [STATES[:, c] != 0 for c in range(CLASSES)]
            for c in range(CLASSES):
                values[row, column, c] = average_precision_score(STATES[known[c], c] > 0, scores[known[c], c])
    found = _found(passes)
    best = values[SHRINKAGES.index(found.shrinkage), PENALTIES.index(found.penalty)].mean()
    assert best == pytest.approx(values.mean(2).max(), abs=1e-6)
    nested = []
    for c in range(CLASSES):  # each by the numbers that are best for the others
        of_others = np.delete(values, c, axis=2).mean(2)
        nested.append(values[..., c].ravel()[of_others.argmax()])
    assert found.left_out_mAP == pytest.approx(np.mean(nested), abs=1e-6)
    assert found.left_out_mAP != pytest.approx(best, abs=1e-4)
    assert values.max() - values.min() > 0.01
    assert found.chance == pytest.approx(np.mean(chance_average_precision(STATES.astype(np.int8))))

    means = _means(list(range(IMAGES)))
    told = _told(means.differences, means.variance, WORDS[:CLASSES], WORDS[CLASSES:], found.penalty)
    for direction, difference in zip(found.directions.numpy(), told, strict=True):
        expected = np.linalg.solve(_shrunk(found.shrinkage), difference)
        scores = (SEEN_FEATURES - SEEN_FEATURES.mean(0)) @ expected
        np.testing.assert_allclose(direction, expected / scores.std(), rtol=1e-4)


def test_present_cells_alone_are_ranked_before_unknown_ones() -> None:
    found = _found(_passes(np.maximum(STATES, 0)))
    assert np.isfinite(found.left_out_mAP)
    assert torch.isfinite(found.directions).all()


def test_too_few_classes_are_refused_with_the_remedy() -> None:
    states = STATES.copy()
    states[:, 2:] = np.minimum(states[:, 2:], 0)
    with pytest.raises(
        UsageError, match=r"2 class\(es\) of the run .* it takes 3 .*label some images of the new class"
    ):
        _found(_passes(states))
