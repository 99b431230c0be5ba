"""Classes told by their first images, against loops over classes and folds."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from partlabel.labels import LabelTable, Source
from partlabel.methods.base import Seen
from partlabel.methods.fitted import Fit
from partlabel.methods.tools.class_lines import class_lines
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.methods.tools.first_images import FirstImages, first_images
from partlabel.methods.tools.fold_sums import fold_sums
from partlabel.progress import SILENT

RANDOM = np.random.default_rng(0)
IMAGES, CLASSES, FEATURES = 60, 3, 5
TRUE = RANDOM.random((IMAGES, CLASSES)) < 0.4
SEEN = np.round(64 * (TRUE @ RANDOM.normal(size=(CLASSES, FEATURES)) + RANDOM.normal(size=(IMAGES, FEATURES)))) / 64
STATES = np.where(RANDOM.random(TRUE.shape) < 0.5, np.where(TRUE, 1, -1), 0).astype(np.int8)
STATES[:, 2] = np.maximum(STATES[:, 2], 0)  # of the last class no absent cell is known
MEAN, COVARIANCE = SEEN.mean(0), np.cov(SEEN, rowvar=False, bias=True)


def _direction(rows: list[int], column: int) -> NDArray[np.float64]:
    present = np.mean([SEEN[row] for row in rows if STATES[row, column] > 0], 0)
    absent = [SEEN[row] for row in rows if STATES[row, column] < 0]
    below = (np.mean(absent, 0) + MEAN) / 2 if absent else MEAN
    shrunk = 0.03 * COVARIANCE + 0.97 * np.trace(COVARIANCE) / FEATURES * np.eye(FEATURES)
    weight = np.linalg.solve(shrunk, present - below)
    return np.asarray(weight / ((SEEN - MEAN) @ weight).std())


def _passes(labels: LabelTable) -> FeaturePasses:
    features = torch.from_numpy(SEEN).float()

    def images(index: torch.Tensor | None = None) -> Iterator[Seen]:
        for rows in (torch.arange(IMAGES) if index is None else index).split(13):
            yield Seen(rows, features[rows], torch.zeros(len(rows), CLASSES))

    return FeaturePasses(Fit(labels, images, 0, SILENT, {}), 5)


def _found(passes: FeaturePasses) -> FirstImages:
    return first_images(passes, fold_sums(passes, "none", passes.largest()))


def _table(sources: Source = Source.IMPORT) -> LabelTable:
    names = [f"{n}.jpg" for n in range(IMAGES)], [f"class {n}" for n in range(CLASSES)]
    return LabelTable.from_dense(*names, STATES, sources)


def test_absent_cells_and_all_images_share_the_mean_below() -> None:
    found = _found(_passes(_table()))
    for column in range(CLASSES):
        expected = _direction(list(range(IMAGES)), column)
        np.testing.assert_allclose(found.directions[column].numpy(), expected, rtol=1e-6)


def test_lines_are_those_of_cells_that_the_other_folds_score() -> None:
    passes = _passes(_table())
    fold, scores = passes.fold.numpy(), np.zeros((IMAGES, CLASSES), np.float32)
    for image in range(IMAGES):
        for column in range(CLASSES):
            others = [row for row in range(IMAGES) if fold[row] != fold[image]]
            scores[image, column] = (SEEN[image] - MEAN) @ _direction(others, column)
    between = scores[STATES > 0].mean() - scores[STATES < 0].mean()
    known = (STATES != 0).any(1)
    expected = class_lines(scores[known], STATES[known], float(np.clip(between, 0.5, 8)))
    found = _found(passes)
    np.testing.assert_allclose(found.slope, expected.slope, rtol=1e-3)
    np.testing.assert_allclose(found.offset, expected.offset, rtol=1e-3, atol=1e-3)
    assert np.isfinite(found.slope[:2]).all()
    assert np.isnan(found.slope[2])
    assert np.isnan(found.offset[2])


@pytest.mark.parametrize("present", [0, 1])
def test_one_image_is_enough_and_none_gives_nothing(present: int) -> None:
    states = np.minimum(STATES[:, :1], 0)
    states[:present] = 1
    labels = LabelTable.from_dense([f"{n}.jpg" for n in range(IMAGES)], ["one"], states)
    found = _found(_passes(labels))
    assert torch.isfinite(found.directions).all()
    assert bool(found.directions.any()) == bool(present)
