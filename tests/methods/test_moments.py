"""Sums over images are exact: by any order, in any parts, added and taken away."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.methods.tools.moments import BITS, ClassSums, Moments, rounded_weights, step_for, whole

STEP = step_for(3.0)
FEATURES = 3 * torch.rand(50, 4, generator=torch.Generator().manual_seed(0)) - 1
WHOLE = whole(FEATURES, STEP)
WEIGHTS = rounded_weights(torch.rand(50, 3, generator=torch.Generator().manual_seed(1)))


@given(st.permutations(range(50)), st.lists(st.integers(1, 49), max_size=4))
def test_order_and_parts_do_not_matter(order: list[int], cuts: list[int]) -> None:
    parts = np.split(np.array(order), sorted(cuts))
    sums, of_classes = Moments.none(4, STEP), ClassSums.none(3, 4)
    for part in parts:
        sums += Moments.of(WHOLE[part], STEP)
        of_classes += ClassSums.of(WEIGHTS[part], WHOLE[part])
    all_at_once, classes_at_once = Moments.of(WHOLE, STEP), ClassSums.of(WEIGHTS, WHOLE)
    assert sums.images == 50
    for name in ("total", "products"):
        assert torch.equal(getattr(sums, name), getattr(all_at_once, name))
    for name in ("weight", "total"):
        assert torch.equal(getattr(of_classes, name), getattr(classes_at_once, name))


def test_what_was_added_can_be_taken_away() -> None:
    many, few = Moments.of(WHOLE, STEP), Moments.of(WHOLE[:20], STEP)
    left = many - Moments.of(WHOLE[20:], STEP)
    assert left.images == few.images
    assert torch.equal(left.products, few.products)
    assert torch.equal(left.total, few.total)
    classes = ClassSums.of(WEIGHTS, WHOLE) - ClassSums.of(WEIGHTS[20:], WHOLE[20:])
    assert torch.equal(classes.total, ClassSums.of(WEIGHTS[:20], WHOLE[:20]).total)


def test_one_more_label_changes_the_sums_of_its_class_alone() -> None:
    labels = torch.zeros(50, 3)
    labels[::7, 1] = 1
    before = ClassSums.of(labels, WHOLE)
    one = torch.zeros(1, 3)
    one[0, 2] = 1
    labels[31, 2] = 1
    after = before + ClassSums.of(one, WHOLE[31:32])
    assert torch.equal(after.total, ClassSums.of(labels, WHOLE).total)
    assert torch.equal(after.total[:2], before.total[:2])
    assert torch.equal(after.means(STEP)[2], STEP * WHOLE[31])


def test_mean_and_covariance_are_those_of_the_rounded_features() -> None:
    rows = [[Fraction(value) * Fraction(STEP) for value in row] for row in WHOLE.tolist()]
    means = [sum(row[j] for row in rows) / 50 for j in range(4)]
    moments = Moments.of(WHOLE, STEP)
    for i in range(4):
        assert float(moments.mean[i]) == pytest.approx(float(means[i]), rel=1e-12)
        for j in range(4):
            expected = sum((row[i] - means[i]) * (row[j] - means[j]) for row in rows) / 50
            assert float(moments.covariance[i, j]) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("largest", [1e-3, 0.5, 1.0, 1.0001, 3.0, 700.0])
def test_the_largest_feature_just_has_its_bits(largest: float) -> None:
    steps = float(whole(torch.tensor([[largest]]), step_for(largest)))
    assert 2 ** (BITS - 1) <= steps <= 2**BITS


def test_constant_features_have_a_step() -> None:
    assert step_for(0.0) == 1.0


def test_a_class_without_weight_has_mean_zero() -> None:
    assert torch.equal(ClassSums.none(2, 3).means(0.5), torch.zeros(2, 3, dtype=torch.float64))
