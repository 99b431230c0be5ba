"""Class-aware selective loss: what is left out, by loops and published numbers; when and how the prior is taken."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Seen
from partlabel.methods.build import build_method
from partlabel.methods.catalogue import check_fit
from partlabel.models.encoders.build import create_backbone

X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
T = torch.tensor([[1, -1, -1], [0, 1, 0]], dtype=torch.int8)
LATER = Clock(5, 10, 6, 12)


def _method(classes: int = 3, **settings: Any) -> Any:
    table = LabelTable.from_dense(["a", "b"], tuple(map(str, range(classes))), np.ones((2, classes)))
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    return build_method("class_selective", settings, backbone, Context(table))


def _total(method: Any, logits: torch.Tensor, labels: torch.Tensor, clock: Clock = LATER) -> torch.Tensor:
    return method.objective({"logits": logits}, labels, torch.arange(len(labels)), clock)["total"]  # type: ignore[no-any-return]


def test_reference_numbers() -> None:
    settings = {"gamma_negative": 1, "gamma_unknown": 4, "normalization": "sum", "prior_share": 0}
    method = _method(**settings, top_k=0)
    assert _total(method, X, T).item() == pytest.approx(1.23223666, abs=1e-8)
    # a table cannot leave out one cell of two images by K, but the prior of the last class leaves out this one
    method.class_prior[2] = 0.06
    assert _total(method, X, T).item() == pytest.approx(1.23161699, abs=1e-8)
    one = _method(**settings, top_k=1)
    parts = _total(one, X[:1], T[:1]) + _total(one, X[1:], T[1:])
    assert parts.item() == pytest.approx(1.23161699, abs=1e-8)


@pytest.fixture(scope="module")
def methods() -> dict[int, Any]:
    return {top_k: _method(4, top_k=top_k, prior_threshold=0.3) for top_k in range(4)}


@given(st.integers(0, 10**6), st.integers(0, 3))
def test_what_is_left_out_by_explicit_loops(methods: dict[int, Any], seed: int, top_k: int) -> None:
    random = np.random.default_rng(seed)
    x, t = random.normal(0, 2, (3, 4)), random.integers(-1, 2, (3, 4)).astype(np.int8)
    method = methods[top_k]
    method.class_prior.copy_(torch.tensor(random.random(4)))
    cells = [(i, c) for i in range(3) for c in range(4) if t[i, c] == 0]
    expected = {cell for cell in cells if method.class_prior[cell[1]] > 0.3}
    expected |= set(sorted(cells, key=lambda cell: -x[cell])[: 3 * top_k])
    found = method.left_out(torch.tensor(x), torch.tensor(t))
    assert {tuple(cell) for cell in torch.nonzero(found).tolist()} == expected


def test_unknown_is_ignored_until_the_prior_is_taken() -> None:
    method = _method(top_k=0)
    assert [method.prior_epochs(Clock(0, 0, epochs, epochs)) for epochs in (1, 2, 3, 6, 15)] == [1, 1, 1, 2, 5]
    clocks = [Clock(step // 2, step, 6, 12) for step in range(12)]
    assert [clock.step for clock in clocks if method.refresh_due(clock)] == [4]
    for clock in clocks:
        logits = X.clone().requires_grad_()
        _total(method, logits, T, clock).backward()
        assert logits.grad is not None
        assert bool(logits.grad[T == 0].any()) == (clock.epoch >= 2)
    for share, due in ((0.0, []), (1.0, [])):
        other = _method(prior_share=share)
        assert [clock.step for clock in clocks if other.refresh_due(clock)] == due


def test_prior_is_the_mean_probability() -> None:
    method = _method()
    logits = torch.randn(5, 3)
    parts = [
        Seen(torch.arange(3), torch.zeros(3, 2), logits[:3]),
        Seen(torch.arange(3, 5), torch.zeros(2, 2), logits[3:]),
    ]
    method.refresh(LATER, lambda: iter(parts))
    torch.testing.assert_close(method.class_prior, torch.sigmoid(logits).mean(0))


def test_needs_absent_cells() -> None:
    with pytest.raises(AssumptionError, match="no absent cell"):
        check_fit("class_selective", LabelTable.from_dense(["x", "y"], ["a"], [[1], [0]]))
