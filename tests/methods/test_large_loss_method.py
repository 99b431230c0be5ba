"""LL-R, LL-Ct and LL-Cp against loops and published numbers; known cells are never modified."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.models.encoders.build import create_backbone

SCHEMES = ("reject", "correct_temporarily", "correct_permanently")
X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
ONLY_PRESENT = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.int8)


def _method(images: int, classes: int, **settings: Any) -> Any:
    table = LabelTable.from_dense(
        list(map(str, range(images))), tuple(map(str, range(classes))), np.zeros((images, classes))
    )
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    return build_method("large_loss", settings, backbone, Context(table))


def _losses(
    method: Any, logits: torch.Tensor, labels: torch.Tensor, epoch: int, index: Any = None
) -> dict[str, torch.Tensor]:
    index = torch.arange(len(labels)) if index is None else torch.tensor(index)
    return method.objective({"logits": logits}, labels, index, Clock(epoch, epoch, 10, 10))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("scheme", "value"), [(SCHEMES[0], 0.24020306), (SCHEMES[1], 0.33619296), (SCHEMES[2], 0.33619296)]
)
def test_reference_numbers(scheme: str, value: float) -> None:
    method = _method(2, 3, scheme=scheme)
    assert _losses(method, X, ONLY_PRESENT, epoch=1)["total"].item() == pytest.approx(value, abs=1e-8)
    right = torch.nn.functional.binary_cross_entropy_with_logits(X, (ONLY_PRESENT == 1).double())
    torch.testing.assert_close(_losses(_method(2, 3, scheme=scheme), X, ONLY_PRESENT, epoch=0)["total"], right)


def _naive(
    x: NDArray[np.float64], t: NDArray[np.int8], scheme: str, k: int
) -> tuple[float, list[tuple[int, int]], list[tuple[int, int]]]:
    """Loss, modified cells and those flipped for good."""
    cells = [(i, c) for i in range(t.shape[0]) for c in range(t.shape[1])]
    cost = {(i, c): math.log1p(math.exp(-x[i, c] if t[i, c] == 1 else x[i, c])) for i, c in cells}
    falling = sorted((cost[cell] for cell in cells if t[cell] == 0), reverse=True)
    border = falling[min(k, len(falling)) - 1] if k and falling else math.inf
    large = [cell for cell in cells if t[cell] == 0 and cost[cell] >= border]
    flipped = [cell for cell in large if cost[cell] > border] if scheme == "correct_permanently" else []
    for i, c in large:
        cost[i, c] = 0.0 if scheme == "reject" else math.log1p(math.exp(-x[i, c]))
    return sum(cost.values()) / len(cells), large, flipped


@pytest.fixture(scope="module")
def methods() -> dict[str, Any]:
    return {scheme: _method(3, 4, scheme=scheme, delta_rel=10) for scheme in SCHEMES}


@given(st.integers(0, 10**6), st.integers(0, 9), st.booleans(), st.sampled_from(SCHEMES))
def test_by_explicit_loops(methods: dict[str, Any], seed: int, epoch: int, ties: bool, scheme: str) -> None:
    random = np.random.default_rng(seed)
    x, t = random.normal(0, 2, (3, 4)), random.integers(-1, 2, (3, 4)).astype(np.int8)
    x = x.round() if ties else x
    permanent = scheme == "correct_permanently"
    method = methods[scheme]
    if permanent:
        method.flipped.zero_()
    k = math.ceil(round(12 * 0.1 * (min(epoch, 1) if permanent else epoch), 9))
    total, large, flipped = _naive(x, t, scheme, k)
    logits = torch.tensor(x, requires_grad=True)
    found = _losses(method, logits, torch.tensor(t), epoch)
    assert found["total"].item() == pytest.approx(total, rel=1e-12)
    assert found["modified_share"].item() == pytest.approx(len(large) / 12)
    assert len(large) >= min(k, (t == 0).sum())
    found["total"].backward()
    p = torch.sigmoid(logits.detach())
    assert logits.grad is not None
    known = torch.tensor(t != 0)
    torch.testing.assert_close(logits.grad[known], ((p - torch.tensor(t == 1).double()) / 12)[known])
    if permanent:
        assert len(flipped) <= max(k - 1, 0)
        assert torch.nonzero(method.flipped).tolist() == [list(cell) for cell in flipped]


def test_flips_belong_to_images_and_last() -> None:
    method = _method(5, 3, scheme="correct_permanently", delta_rel=50)
    _losses(method, X, ONLY_PRESENT, epoch=1, index=[4, 2])
    # 0.826 and 0.474 are above the third largest loss, 0.252
    assert method.flipped.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 1]]
    later = _losses(method, X, ONLY_PRESENT, epoch=0, index=[4, 2])
    as_present = torch.tensor([[1, 1, 1], [0, 1, 0]])
    torch.testing.assert_close(
        later["total"], torch.nn.functional.binary_cross_entropy_with_logits(X, (as_present == 1).double())
    )
    others = _losses(method, X, ONLY_PRESENT, epoch=0, index=[0, 1])
    assert others["total"] != later["total"]
    known_absent = torch.tensor([[1, -1, -1], [0, 1, 0]], dtype=torch.int8)
    assert _losses(method, X, known_absent, epoch=0, index=[4, 2])["total"] == others["total"]
    assert method.class_axes["flipped"] == (1,)
    assert "flipped" not in _method(2, 3).state_dict()
