"""Curriculum labelling: which cells are added, when, and that known ones and the table stay as they are."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.labels import LabelTable
from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import normalize
from partlabel.methods.base import Clock, Context, Seen
from partlabel.methods.build import build_method
from partlabel.models.encoders.build import create_backbone

CLOCK = Clock(3, 3, 10, 10)
BACKBONE = create_backbone("test_resnet", pretrained=False, size=32)


def _method(states: np.ndarray[Any, Any], **settings: Any) -> Any:
    images, classes = states.shape
    table = LabelTable.from_dense(list(map(str, range(images))), tuple(map(str, range(classes))), states)
    return build_method("curriculum", settings, BACKBONE, Context(table))


def _refresh(method: Any, logits: torch.Tensor) -> None:
    places = torch.arange(len(logits)).split(2)
    method.refresh(CLOCK, lambda: iter([Seen(part, torch.zeros(len(part), 2), logits[part]) for part in places]))


@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.7, 0.95]))
def test_threshold_by_explicit_loops(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    states = random.integers(-1, 2, (5, 3)).astype(np.int8)
    method = _method(states, threshold=threshold)
    expected = np.zeros_like(states)
    for _ in range(2):
        logits = random.normal(0, 3, (5, 3))
        for i in range(5):
            for c in range(3):
                p = 1 / (1 + math.exp(-logits[i, c]))
                if states[i, c] == 0 and expected[i, c] == 0 and max(p, 1 - p) >= threshold:
                    expected[i, c] = 1 if p > 0.5 else -1
        _refresh(method, torch.tensor(logits, dtype=torch.float32))
        np.testing.assert_array_equal(method.added.numpy(), expected)
    np.testing.assert_array_equal(method.table.dense(), states)


@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.25, 1.0]))
def test_proportion_by_explicit_loops(seed: int, proportion: float) -> None:
    random = np.random.default_rng(seed)
    states = random.integers(-1, 2, (5, 3)).astype(np.int8)
    method = _method(states, rule="proportion", proportion=proportion)
    expected = np.zeros_like(states)
    for _ in range(2):
        logits = random.normal(0, 3, (5, 3)).astype(np.float32)
        unknown = [(i, c) for i in range(5) for c in range(3) if states[i, c] == 0 and expected[i, c] == 0]
        for cell in sorted(unknown, key=lambda cell: -abs(logits[cell]))[
            : math.floor(proportion * len(unknown) + 1e-9)
        ]:
            expected[cell] = np.sign(logits[cell])
        _refresh(method, torch.tensor(logits))
        np.testing.assert_array_equal(method.added.numpy(), expected)
    assert not method.added.numpy()[states != 0].any()
    np.testing.assert_array_equal(method.table.dense(), states)


def test_added_labels_are_learned_from() -> None:
    states = np.array([[1, 0, -1, 0], [0, 0, 0, 0], [0, 1, 1, -1]], dtype=np.int8)
    method = _method(states)
    logits, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor(states)
    before = method.objective({"logits": logits}, labels, torch.arange(3), CLOCK)
    torch.testing.assert_close(before["total"], normalize(bce_cells(logits, labels), labels != 0, "partial_bce"))
    assert before["added_share"] == 0
    method.added[1, 2], method.added[0, 1] = -1, 1
    completed = torch.tensor([[1, 1, -1, 0], [0, 0, -1, 0], [0, 1, 1, -1]], dtype=torch.int8)
    order = torch.tensor([2, 0, 1])
    after = method.objective({"logits": logits[order]}, labels[order], order, CLOCK)
    torch.testing.assert_close(after["total"], normalize(bce_cells(logits, completed), completed != 0, "partial_bce"))
    assert after["added_share"].item() == pytest.approx(2 / 12)


def test_reference_number_of_partial_bce() -> None:
    states = np.array([[1, -1, -1], [0, 1, 0]], dtype=np.int8)
    logits = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
    total = _method(states).objective({"logits": logits}, torch.tensor(states), torch.arange(2), CLOCK)["total"]
    assert total.item() == pytest.approx(0.50600300, abs=1e-8)


def test_labels_are_added_every_few_epochs() -> None:
    method = _method(np.ones((2, 2), dtype=np.int8), every=2)
    clocks = [Clock(step // 3, step, 6, 18) for step in range(18)]
    assert [clock.step for clock in clocks if method.refresh_due(clock)] == [6, 12]
