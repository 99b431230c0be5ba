"""drop_positives, single_positive and positives_only: what stays of the positives, and that no absent does."""

import numpy as np
import pytest

from partlabel.labels import LabelTable
from partlabel.masking import hide
from partlabel.masking.keyed import CellHash

RANDOM = np.random.default_rng(1)
TRUTH = np.where(RANDOM.random((3000, 12)) < RANDOM.random((3000, 1)) * 0.8, 1, -1)
TABLE = LabelTable.from_dense([f"{i}.jpg" for i in range(3000)], [f"c{c}" for c in range(12)], TRUTH)


def test_no_absent_stays():
    for masking, chosen in [("drop_positives", {"keep": 0.9}), ("single_positive", {}), ("positives_only", {})]:
        assert not (hide(TABLE, masking, **chosen).table.dense() == -1).any()


def test_positives_only_keeps_every_positive():
    assert (hide(TABLE, "positives_only").table.dense() == (TRUTH == 1)).all()


def test_drop_positives_keeps_the_rate_and_is_nested():
    masks = {keep: hide(TABLE, "drop_positives", keep=keep).table.dense() == 1 for keep in (0.0, 0.25, 0.5, 0.75, 1.0)}
    positives = (TRUTH == 1).sum()
    for keep, mask in masks.items():
        assert abs(mask.sum() - keep * positives) <= 4 * np.sqrt(keep * (1 - keep) * positives)
    for fewer, more in [(0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)]:
        assert (masks[more] >= masks[fewer]).all()


@pytest.mark.parametrize(("left", "divisor"), [(75, 2), (40, 5)])
def test_published_lists_keep_their_counts(left: int, divisor: int):
    kept = hide(TABLE, "drop_positives", published_left=left).table.counts_by_image().present
    for row, count in enumerate((TRUTH == 1).sum(1)):
        assert kept[row] == (count // divisor + 1 if count else 0)


def test_published_lists_keep_the_lowest_hashes():
    hashes = CellHash.of(TABLE.images, TABLE.classes, seed=3, purpose="masking/drop_positives")
    mask = hide(TABLE, "drop_positives", published_left=40, seed=3).table.dense()
    for row in range(50):
        positives = np.flatnonzero(TRUTH[row] == 1)
        ordered = sorted(positives, key=lambda column: int(hashes.at(np.array([row]), np.array([column]))[0]))
        kept = ordered[: len(positives) // 5 + 1]
        assert sorted(kept) == np.flatnonzero(mask[row]).tolist()


def test_single_positive_is_one_for_each_image_that_has_any():
    kept = hide(TABLE, "single_positive").table.counts_by_image().present
    assert (kept == (TRUTH == 1).any(1)).all()


def test_single_positive_is_uniform():
    images = [f"{i}" for i in range(20000)]
    table = LabelTable.from_dense(images, "abcd", np.tile([1, -1, 1, 1], (20000, 1)))
    counts = hide(table, "single_positive").table.counts_by_class().present
    assert counts[1] == 0
    assert (np.abs(counts[[0, 2, 3]] - 20000 / 3) < 4 * np.sqrt(20000 * 2 / 9)).all()
