"""The positive-unlabelled losses against reference values, explicit loops and hand-made cases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partlabel.losses.positive_unlabeled import (
    adaptive_temperature,
    mix_halves,
    mixup_consistency,
    prior_risk,
    variational_loss,
)

X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
PRESENT = torch.tensor([[True, False, False], [False, True, False]])
EPSILON = 1e-10


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _naive_temperature(column: list[float], alpha: float, floor: float) -> float:
    mean = sum(column) / len(column)
    return max(min(alpha * math.sqrt(sum((x - mean) ** 2 for x in column) / len(column)), 1), floor)


def _naive_variational(x: np.ndarray, present: np.ndarray, gamma: float, alpha: float, floor: float) -> float:
    total = 0.0
    for c in range(x.shape[1]):
        tau = _naive_temperature(list(x[:, c]), alpha, floor)
        q = [_sigmoid(x[i, c] / tau) for i in range(len(x))]
        mean = sum(q) / len(q)
        total += mean**gamma * math.log(mean + EPSILON)
        logs = [math.log(q[i] + EPSILON) for i in range(len(x)) if present[i, c]]
        if logs:
            total -= sum(logs) / len(logs)
    return total


def _naive_mixup(mixed: np.ndarray, x: np.ndarray, present: np.ndarray, permutation: list[int], lam: float) -> float:
    images, classes = x.shape
    pairs, total = images // 2, 0.0
    for i in range(pairs):
        one, two = permutation[i], images - pairs + i
        for c in range(classes):
            t1 = 1.0 if present[one, c] else _sigmoid(x[one, c])
            t2 = 1.0 if present[two, c] else _sigmoid(x[two, c])
            total += (math.log(lam * t1 + (1 - lam) * t2 + EPSILON) - math.log(_sigmoid(mixed[i, c]) + EPSILON)) ** 2
    return total / pairs


def _naive_without_present(x: np.ndarray, present: np.ndarray, gamma: float, tau: float) -> float:
    """U without P."""
    total = 0.0
    for c in range(x.shape[1]):
        unlabelled = [_sigmoid(x[i, c] / tau) for i in range(len(x)) if not present[i, c]]
        labelled = [_sigmoid(x[i, c] / tau) for i in range(len(x)) if present[i, c]]
        if unlabelled:
            mean = sum(unlabelled) / len(unlabelled)
            total += mean**gamma * math.log(mean + EPSILON)
        if labelled:
            total -= sum(math.log(q + EPSILON) for q in labelled) / len(labelled)
    return total


def _naive_risk(
    x: np.ndarray, present: np.ndarray, prior: list[float], without: bool, kiryo: bool
) -> tuple[float, np.ndarray]:
    """Value and gradient of the risk, class by class, from derivatives by hand: of -log σ(s), σ(s) - 1; of -log(1 -
    σ(s)), σ(s).
    """
    total, gradient = 0.0, np.zeros_like(x)
    for c in range(x.shape[1]):
        p = [i for i in range(len(x)) if present[i, c]]
        u = [i for i in range(len(x)) if not (without and present[i, c])]
        positive, negative = 0.0, 0.0
        of_positive, of_negative = np.zeros(len(x)), np.zeros(len(x))
        for i in p:
            q = _sigmoid(x[i, c])
            positive -= prior[c] * math.log(q) / len(p)
            of_positive[i] += prior[c] * (q - 1) / len(p)
            negative += prior[c] * math.log(1 - q) / len(p)
            of_negative[i] -= prior[c] * q / len(p)
        for i in u:
            q = _sigmoid(x[i, c])
            negative -= math.log(1 - q) / len(u)
            of_negative[i] += q / len(u)
        if kiryo and negative < 0:
            total += positive
            gradient[:, c] = -of_negative
        else:
            total += positive + negative
            gradient[:, c] = of_positive + of_negative
    return total, gradient


@given(st.integers(1, 7), st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 2**16))
def test_risks_with_a_prior_by_explicit_loops(images: int, classes: int, without: bool, kiryo: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, present = random.normal(0, 2, (images, classes)), random.random((images, classes)) < 0.5
    prior = random.uniform(0.05, 0.95, classes)
    logits, cells = torch.from_numpy(x).requires_grad_(), torch.from_numpy(present)
    found = prior_risk(logits, cells, torch.from_numpy(prior), ~cells if without else None, non_negative=kiryo)
    found.backward()
    value, gradient = _naive_risk(x, present, prior.tolist(), without, kiryo)
    assert found.item() == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, gradient, rtol=1e-9, atol=1e-12)


def test_both_branches_of_the_non_negative_risk_are_tried() -> None:
    """Sure of the one unlabelled cell and of the present one: the estimate for absent cells is below 0, or above it."""
    present = torch.tensor([[True], [False]])
    for value, below in ((-3.0, True), (3.0, False)):
        logits = torch.tensor([[3.0], [value]])
        risks = [prior_risk(logits, present, torch.tensor([0.9]), non_negative=kind).item() for kind in (False, True)]
        assert (risks[1] > risks[0]) == below


@given(st.integers(1, 7), st.integers(1, 4), st.floats(0, 2), st.floats(0.1, 3), st.integers(0, 2**16))
def test_without_present_cells_among_the_unlabelled(
    images: int, classes: int, gamma: float, tau: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x, present = random.normal(0, 2, (images, classes)), random.random((images, classes)) < 0.5
    cells = torch.from_numpy(present)
    found = variational_loss(torch.from_numpy(x), cells, gamma, tau, ~cells)
    assert found.item() == pytest.approx(_naive_without_present(x, present, gamma, tau), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("gamma", "alpha", "value"), [(0.55, 1, -1.04970379), (0.85, 2, -0.60307588), (0, 1, -1.90359953)]
)
def test_variational_reference_values(gamma: float, alpha: float, value: float) -> None:
    loss = variational_loss(X, PRESENT, gamma, adaptive_temperature(X, alpha, 0.1))
    assert loss.item() == pytest.approx(value, abs=1e-8)


def test_mixup_reference_value() -> None:
    mixed = torch.tensor([[0.4, 0.1, -0.6]], dtype=torch.float64)
    loss = mixup_consistency(mixed, X, PRESENT, torch.tensor([0]), torch.tensor(0.3, dtype=torch.float64))
    assert loss.item() == pytest.approx(0.39781051, abs=1e-8)


@given(
    st.integers(1, 7),
    st.integers(1, 4),
    st.floats(0, 2),
    st.floats(0.1, 3),
    st.floats(0.05, 1),
    st.floats(0, 1),
    st.integers(0, 2**16),
)
def test_losses_by_explicit_loops(
    images: int, classes: int, gamma: float, alpha: float, floor: float, lam: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    x, present = random.normal(0, random.choice([0.01, 3]), (images, classes)), random.random((images, classes)) < 0.3
    logits, cells = torch.from_numpy(x), torch.from_numpy(present)
    found = variational_loss(logits, cells, gamma, adaptive_temperature(logits, alpha, floor))
    assert found.item() == pytest.approx(_naive_variational(x, present, gamma, alpha, floor), rel=1e-9, abs=1e-9)
    if images > 1:
        mixed, order = random.normal(0, 3, (images // 2, classes)), random.permutation(images // 2)
        share = torch.tensor(lam, dtype=torch.float64)
        found = mixup_consistency(torch.from_numpy(mixed), logits, cells, torch.from_numpy(order), share)
        assert found.item() == pytest.approx(_naive_mixup(mixed, x, present, order.tolist(), lam), rel=1e-9)


def test_temperature_is_between_floor_and_one_and_has_no_gradient() -> None:
    logits = torch.tensor([[0.0, 0.0, 2.0], [0.0, 1.0, -2.0]], requires_grad=True)
    temperature = adaptive_temperature(logits, 1, 0.1)
    assert temperature.tolist() == pytest.approx([0.1, 0.5, 1])
    assert not temperature.requires_grad
    assert adaptive_temperature(logits[:1], 1, 0.1).tolist() == pytest.approx([0.1] * 3)


def test_flat_head_has_a_gradient_of_bounded_size() -> None:
    """All logits alike: the gradient is at most 1/floor times what it is without temperature."""
    gradients = []
    for temperature in (1, adaptive_temperature(torch.zeros(8, 3), 1, 0.1)):
        logits = torch.zeros(8, 3, requires_grad=True)
        variational_loss(logits, torch.eye(8, 3, dtype=torch.bool), 0.5, temperature).backward()
        assert logits.grad is not None
        gradients.append(logits.grad)
    torch.testing.assert_close(gradients[1], 10 * gradients[0])


def test_rebalance_factor_has_no_gradient() -> None:
    """With γ the gradient is the one without, times the factor, class by class: that of the unlabelled part only."""
    plain, weighted = X.clone().requires_grad_(), X.clone().requires_grad_()
    nobody = torch.zeros_like(PRESENT)
    variational_loss(plain, nobody, 0).backward()
    variational_loss(weighted, nobody, 0.7).backward()
    assert plain.grad is not None
    torch.testing.assert_close(weighted.grad, plain.grad * torch.sigmoid(X).mean(0) ** 0.7)


def test_gradient_flows_through_the_target() -> None:
    logits, mixed = X.clone().requires_grad_(), torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    mixup_consistency(mixed, logits, PRESENT, torch.tensor([0]), torch.tensor(0.3)).backward()
    assert logits.grad is not None
    assert (logits.grad[~PRESENT] != 0).all()
    assert (logits.grad[PRESENT] == 0).all()


def test_class_without_a_present_cell_adds_its_first_part_alone() -> None:
    expected = math.log(_sigmoid(2.0) + EPSILON)
    assert variational_loss(torch.full((4, 1), 2.0), torch.zeros(4, 1, dtype=torch.bool), 0).item() == pytest.approx(
        expected
    )


def test_middle_image_is_left_out() -> None:
    batch = torch.tensor([[1.0], [2.0], [100.0], [10.0], [20.0]])
    assert mix_halves(batch, torch.tensor([1, 0]), torch.tensor(0.5)).tolist() == [[6.0], [10.5]]


@pytest.mark.parametrize("gamma", [0, 0.55])
@pytest.mark.parametrize("signs", [1, -1, 0])
def test_bf16_at_large_logits(gamma: float, signs: int) -> None:
    """Values are those of float64 to the accuracy of float32; gradients are finite."""
    random = torch.Generator().manual_seed(0)
    sign = torch.randint(0, 2, (6, 4), generator=random) * 2 - 1 if signs == 0 else torch.full((6, 4), signs)
    logits = (50 * sign).to(torch.bfloat16).requires_grad_()
    mixed = (-50 * sign[:3]).to(torch.bfloat16).requires_grad_()
    present, order = torch.eye(6, 4, dtype=torch.bool), torch.tensor([2, 0, 1])
    values = []
    for dtype in (torch.bfloat16, torch.float64):
        s, m = logits.to(dtype), mixed.to(dtype)
        values.append(variational_loss(s, present, gamma, adaptive_temperature(s, 1, 0.1)))
        values.append(mixup_consistency(m, s, present, order, torch.tensor(0.3)))
    assert values[0].dtype == values[1].dtype == torch.float32
    torch.testing.assert_close(values[0].double(), values[2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values[1].double(), values[3], rtol=1e-5, atol=1e-5)
    (values[0] + values[1]).backward()
    assert logits.grad is not None
    assert mixed.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(mixed.grad).all()
