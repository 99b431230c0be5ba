"""The bilinear attention against explicit loops, against its unfolded form, and within its memory budget."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from partlabel.models import semantic_attention
from partlabel.models.semantic_attention import attention_logits


def _inputs(
    batch: int, labelled: int, places: int, classes: int, hidden: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = ((batch, places, hidden), (labelled, classes, hidden), (hidden,))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def _naive(image: Tensor, label: Tensor, weight: Tensor) -> list[list[list[float]]]:
    batch, places, hidden = image.shape
    labels = label.tolist() * (batch if len(label) == 1 else 1)
    return [
        [
            [
                sum(weight[h].item() * math.tanh(image[b, p, h].item() * row[h]) for h in range(hidden))
                for row in labels[b]
            ]
            for p in range(places)
        ]
        for b in range(batch)
    ]


def _unfolded(image: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    return torch.tanh(image[:, :, None] * label[:, None]) @ weight


@pytest.mark.parametrize("labelled", [1, 2])
def test_values_by_explicit_loops(labelled: int) -> None:
    inputs = _inputs(2, labelled, 3, 4, 5)
    expected = torch.tensor(_naive(*inputs), dtype=torch.float64)
    torch.testing.assert_close(attention_logits(*inputs), expected)


@given(st.integers(1, 3), st.booleans(), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 800))
def test_any_budget_gives_the_same_values_and_gradients(
    batch: int, shared: bool, places: int, classes: int, hidden: int, budget: int
) -> None:
    inputs = _inputs(batch, 1 if shared else batch, places, classes, hidden)
    seen = torch.randn(batch, places, classes, dtype=torch.float64)
    expected = _unfolded(*inputs)
    found = attention_logits(*inputs, budget_bytes=budget)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad(found, inputs, seen), torch.autograd.grad(expected, inputs, seen), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("labelled", [1, 2])
def test_gradients_by_finite_differences(labelled: int) -> None:
    assert torch.autograd.gradcheck(
        lambda *parts: attention_logits(*parts, budget_bytes=200), _inputs(2, labelled, 3, 2, 4)
    )


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_the_wanted_gradients_are_made(wanted: int) -> None:
    inputs = [part.detach().requires_grad_(number == wanted) for number, part in enumerate(_inputs(2, 2, 3, 4, 5))]
    attention_logits(*inputs).sum().backward()
    (expected,) = torch.autograd.grad(_unfolded(*inputs).sum(), inputs[wanted])
    torch.testing.assert_close(inputs[wanted].grad, expected)


def test_gradients_in_single_precision() -> None:
    inputs = _inputs(3, 3, 7, 5, 64, torch.float32)
    double = [part.detach().double().requires_grad_() for part in inputs]
    attention_logits(*inputs, budget_bytes=4000).square().sum().backward()
    _unfolded(*double).square().sum().backward()
    for one, other in zip(inputs, double, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (one.grad - other.grad).abs().max() < 1e-5 * other.grad.abs().max()


@pytest.mark.parametrize("shape", [(0, 1, 3, 2), (0, 0, 3, 2), (2, 2, 0, 2), (2, 1, 3, 0), (1, 1, 1, 1)])
def test_empty_and_single(shape: tuple[int, int, int, int]) -> None:
    batch, labelled, places, classes = shape
    inputs = _inputs(batch, labelled, places, classes, 4)
    found = attention_logits(*inputs)
    assert found.shape == (batch, places, classes)
    found.sum().backward()
    assert all(part.grad is not None and part.grad.shape == part.shape for part in inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    """With and without autocast: the result is that of the rounded inputs, the gradients have the types of the
    inputs.
    """
    inputs = [part.detach().to(dtype).requires_grad_() for part in _inputs(2, 2, 3, 4, 64)]
    wide = [part.detach().float().requires_grad_() for part in inputs]
    expected = _unfolded(*wide)
    expected.sum().backward()
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=dtype, enabled=autocast):
            found = attention_logits(*inputs)
            found.sum().backward()
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected)
        for one, other in zip(inputs, wide, strict=True):
            torch.testing.assert_close(one.grad, other.grad.to(dtype))  # type: ignore[union-attr]
            one.grad = None


def test_one_vector_does_the_work_of_the_two_linear_layers() -> None:
    """w · (P tanh(U f ∘ V s) + b) + b', as in the paper, against v = Pᵀw and the constant w · b + b'; float64."""
    torch.manual_seed(0)
    image, label, _ = _inputs(2, 2, 3, 4, 5)
    inner, outer = nn.Linear(5, 6).double(), nn.Linear(6, 1).double()
    unfolded = outer(inner(torch.tanh(image[:, :, None] * label[:, None]))).squeeze(3)
    constant = (outer.weight @ inner.bias + outer.bias)[0]
    folded = attention_logits(image, label, (outer.weight @ inner.weight)[0]) + constant
    torch.testing.assert_close(folded, unfolded)
    parts = [image, label, *inner.parameters(), *outer.parameters()]
    seen = torch.randn_like(unfolded)
    for one, other in zip(
        torch.autograd.grad(folded, parts, seen), torch.autograd.grad(unfolded, parts, seen), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_working_memory_stays_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor that is made in a step has at most the numbers that the budget allows, and is one of many."""
    sizes: list[int] = []
    blocks = semantic_attention._tanh_blocks

    def watched(*args):  # type: ignore[no-untyped-def]
        for at, block in blocks(*args):
            sizes.append(block.untyped_storage().nbytes())
            yield at, block

    monkeypatch.setattr(semantic_attention, "_tanh_blocks", watched)
    inputs = _inputs(2, 2, 50, 10, 16)
    attention_logits(*inputs, budget_bytes=16_000).sum().backward()
    assert 4 * 10 * 16 * 8 <= max(sizes) <= 16_000
    assert len(sizes) == 2 * 5 + 2 * 9


def test_it_keeps_its_three_inputs_only() -> None:
    inputs = _inputs(2, 2, 50, 10, 16)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    ):
        attention_logits(*inputs)
    assert sorted(kept) == sorted(part.numel() for part in inputs)
