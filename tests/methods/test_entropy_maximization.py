"""Asymmetric pseudo-labelling: when, how many, which, and that known cells and the table stay as they are."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Seen
from partlabel.methods.build import build_method
from partlabel.methods.entropy_maximization import EntropyMaximization
from partlabel.models.encoders.build import create_backbone

IMAGES, CLASSES = 40, 3
STATES = np.random.default_rng(0).integers(-1, 2, (IMAGES, CLASSES)).astype(np.int8)
UNKNOWN = STATES == 0


def _method(**settings: Any) -> EntropyMaximization:
    torch.manual_seed(0)
    table = LabelTable.from_dense([f"{row}.png" for row in range(IMAGES)], [f"c{c}" for c in range(CLASSES)], STATES)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("entropy_maximization", settings, backbone, Context(table))
    assert isinstance(method, EntropyMaximization)
    return method


def _images(logits: torch.Tensor, batch: int = 16) -> Iterator[Seen]:
    for rows in torch.arange(len(logits)).split(batch):
        yield Seen(rows, torch.zeros(len(rows), 1), logits[rows])


def test_due_at_the_first_step_of_each_epoch_after_the_warm_up() -> None:
    method = _method(warmup_epochs=2)
    clocks = [Clock(step // 3, step, 5, 15) for step in range(15)]
    assert [clock.step for clock in clocks if method.refresh_due(clock)] == [6, 9, 12]
    assert not any(_method(proportion=0, warmup_epochs=0).refresh_due(clock) for clock in clocks)


def test_soft_labels_by_explicit_loop() -> None:
    """Ten epochs, five of them warm-up, as in the paper; scores change from epoch to epoch, some are equal."""
    method = _method()
    labels_hash = method.labels.hash
    expected = np.full((IMAGES, CLASSES), np.nan)
    for epoch in range(5, 10):
        logits = torch.from_numpy(np.random.default_rng(epoch).integers(-4, 3, (IMAGES, CLASSES)).astype(np.float32))
        method.refresh(Clock(epoch, epoch, 10, 10), lambda logits=logits: _images(logits))  # type: ignore[misc]
        for c in range(CLASSES):
            number = int(0.9 * UNKNOWN[:, c].sum() / (10 - 5))
            free = [i for i in range(IMAGES) if UNKNOWN[i, c] and np.isnan(expected[i, c])]
            for i in sorted(free, key=lambda i: (float(logits[i, c]), i))[:number]:
                expected[i, c] = torch.sigmoid(logits[i, c])
        found = torch.where(method.soft < 0, torch.nan, method.soft.float()).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3)
        assert (method.soft[STATES != 0] == -1).all()
    assert ((method.soft >= 0).sum(0).numpy() == 5 * (0.9 * UNKNOWN.sum(0) / 5).astype(int)).all()
    assert method.labels.hash == labels_hash
    np.testing.assert_array_equal(method.labels.dense(), STATES)


def test_the_objective_uses_the_soft_labels_of_the_images() -> None:
    method = _method(alpha=0.0, beta=1.0)
    image, column = np.argwhere(UNKNOWN)[3]
    method.soft[image, column] = 0.25
    logits = torch.zeros(1, CLASSES, requires_grad=True)
    index = torch.tensor([int(image)])
    found = method.objective({"logits": logits}, torch.zeros(1, CLASSES, dtype=torch.int8), index, Clock(0, 0, 1, 1))
    found["total"].backward()
    assert found["soft_share"].item() == pytest.approx(1 / CLASSES)
    gradient = torch.zeros(1, CLASSES)
    gradient[0, column] = (0.5 - 0.25) / CLASSES
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-3, atol=1e-6)


def test_soft_labels_travel_in_the_state() -> None:
    method, other = _method(), _method()
    method.soft[UNKNOWN] = 0.125
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.soft, method.soft)
    assert not any("soft" in name for name in method.tagger.state_dict())
