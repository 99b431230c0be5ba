"""Legacy draws against the plain code of their papers, rewritten as loops over a dense matrix."""

import numpy as np
import pytest
import torch

from partlabel.errors import LabelError
from partlabel.labels import LabelTable
from partlabel.masking import hide

RANDOM = np.random.default_rng(3)
TRUTH = np.where(RANDOM.random((300, 13)) < RANDOM.random((300, 1)) * 0.5, 1, -1)
TABLE = LabelTable.from_dense([f"{i}.jpg" for i in range(300)], [f"c{c}" for c in range(13)], TRUTH)


@pytest.fixture(autouse=True)
def _several_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("partlabel.masking.blocks._BLOCK_CELLS", 500)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_numpy_lineage(ratio: float):
    np.random.seed(0)  # noqa: NPY002 (their generator)
    mask = np.random.random(TRUTH.shape)  # noqa: NPY002
    mask[mask < ratio] = 1
    mask[mask < 1] = 0
    assert (hide(TABLE, "legacy_numpy_ratio", ratio=ratio).table.dense() == mask * TRUTH).all()


def test_numpy_calls_that_are_the_same_stream():
    for call in (
        lambda: np.random.rand(6, 4),  # noqa: NPY002
        lambda: np.random.uniform(size=(6, 4)),  # noqa: NPY002
        lambda: np.random.random_sample((6, 4)),  # noqa: NPY002
    ):
        np.random.seed(0)  # noqa: NPY002
        assert (call() == np.random.RandomState(0).random_sample((6, 4))).all()


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.25, 0.7, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_torch_lineage(ratio: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(*TRUTH.shape, generator=generator) < ratio).long().numpy()
    assert (hide(TABLE, "legacy_torch_ratio", ratio=ratio, seed=seed).table.dense() == mask * TRUTH).all()


def test_torch_lineage_at_size():
    truth = np.ones((4000, 80), np.int8)
    table = LabelTable.from_dense([str(i) for i in range(4000)], [str(c) for c in range(80)], truth)
    mask = torch.rand(4000, 80, generator=torch.Generator().manual_seed(0)) < 0.1
    assert (hide(table, "legacy_torch_ratio", ratio=0.1).table.dense() == mask.numpy()).all()


def test_removal():
    random = np.random.RandomState(6)
    expected = TRUTH.copy()
    expected[random.random_sample(TRUTH.shape) < 0.3] = 0
    assert (hide(TABLE, "legacy_removal", removal=0.3, seed=6).table.dense() == expected).all()


@pytest.mark.parametrize("seed", [None, 7])
def test_single_positive_shuffles_negatives_too(seed: int | None):
    random = np.random.RandomState(1200 if seed is None else seed)
    expected = np.zeros_like(TRUTH)
    for row in range(len(TRUTH)):
        for value, kept in ((1, 1), (-1, 0)):
            index = np.nonzero(TRUTH[row] == value)[0]
            random.shuffle(index)
            expected[row, index[:kept]] = value
    assert (hide(TABLE, "legacy_single_positive", seed=seed).table.dense() == expected).all()


def test_single_positive_refuses_an_incomplete_table():
    states = TRUTH.copy()
    states[123, 4:6] = 0
    table = LabelTable.from_dense(TABLE.images, TABLE.classes, states)
    with pytest.raises(LabelError, match=r"image '123.jpg' has 2 unknown cell\(s\); use the masking single_positive"):
        hide(table, "legacy_single_positive")
