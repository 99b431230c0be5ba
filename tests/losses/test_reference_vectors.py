"""Losses against published formulas computed independently, in double precision."""

import math

import numpy as np
import pytest
import torch

from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.bce import bce_cells
from partlabel.losses.normalization import normalize
from partlabel.losses.pseudo_labels import confident_pseudo_labels
from partlabel.models.heads.saliency import saliency_logits

X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
T = torch.tensor([[1, -1, -1], [0, 1, 0]], dtype=torch.int8)


@pytest.mark.parametrize(
    ("by", "value"),
    [
        ("sum", 1.88830069),
        ("batch", 0.47207517),
        ("class", 0.31471678),
        ("images", 1.88830069 / 2),
        ("image", 0.88734757 / 2),
        ("image_sum", 0.88734757),
        ("partial_bce", 0.50600300),
    ],
)
def test_known_bce(by: str, value: float) -> None:
    assert normalize(bce_cells(X, T), T != 0, by).item() == pytest.approx(value, abs=1e-8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("positive", "negative", "clip", "value"),
    [(1, 4, 0.05, 0.21482156), (0, 4, 0.05, 0.64224646), (0, 2, 0, 0.91688967), (2, 2, 0, 0.37512743)],
)
def test_asymmetric(positive: float, negative: float, clip: float, value: float) -> None:
    cells = asymmetric_cells(X, (T == 1).double(), gamma_positive=positive, gamma_negative=negative, clip=clip)
    assert normalize(cells, T != 0, "sum").item() == pytest.approx(value, abs=1e-8)


def test_asymmetric_of_soft_targets() -> None:
    targets = torch.tensor([[0.9, 0.3, 0.6], [0.1, 0.8, 0.2]], dtype=torch.float64)
    cells = asymmetric_cells(X, targets, gamma_positive=0, gamma_negative=2)
    assert cells.sum().item() == pytest.approx(1.32390945, abs=1e-8)
    assert cells.mean().item() == pytest.approx(0.22065157, abs=1e-8)


def test_saliency_logits() -> None:
    maps = torch.tensor([2, -1, 0.5, -3, 1.5, 0, -0.5, 1, 0.25], dtype=torch.float64).reshape(1, 1, 3, 3)
    for k, logit in ((1, 1.08333333), (2, 0.95833333), (5, 0.60833333)):
        assert saliency_logits(maps, 0.5, k).item() == pytest.approx(logit, abs=1e-8)
    assert saliency_logits(maps, 0.5, 5 / 9).item() == pytest.approx(0.60833333, abs=1e-8)
    assert saliency_logits(maps, 0.0, 5).item() == pytest.approx(0.08333333, abs=1e-8)
    assert torch.sigmoid(saliency_logits(maps, 0.5, 5)).item() == pytest.approx(0.64756052, abs=1e-8)
    assert saliency_logits(maps, 0.5, 20).item() == pytest.approx(1.5 * 0.08333333, abs=1e-8)  # of all nine places


def _naive_bce(x: float, t: int) -> float:
    p = 1 / (1 + math.exp(-x))
    return 0.0 if t == 0 else -math.log(p if t > 0 else 1 - p)


def _naive_asl(x: float, y: float, gp: float, gn: float, clip: float) -> float:
    p = 1 / (1 + math.exp(-x))
    q = min(1 - p + clip, 1)
    loss = -(y * math.log(p) + (1 - y) * math.log(q))
    return loss * (1 - p * y - q * (1 - y)) ** (gp * y + gn * (1 - y))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_cells_by_explicit_loops(dtype: torch.dtype) -> None:
    random = np.random.default_rng(0)
    x, t = random.normal(0, 3, (3, 4)), random.integers(-1, 2, (3, 4))
    logits, labels = torch.tensor(x, dtype=dtype), torch.tensor(t, dtype=torch.int8)
    expected = [[_naive_bce(x[i, c], t[i, c]) for c in range(4)] for i in range(3)]
    np.testing.assert_allclose(bce_cells(logits, labels).numpy(), expected, rtol=1e-5)
    y = random.random((3, 4))
    expected = [[_naive_asl(x[i, c], y[i, c], 1, 3, 0.05) for c in range(4)] for i in range(3)]
    found = asymmetric_cells(logits, torch.tensor(y, dtype=dtype), gamma_positive=1, gamma_negative=3, clip=0.05)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_normalizers_by_explicit_loops() -> None:
    random = np.random.default_rng(1)
    cells, counted = random.random((4, 5)), random.random((4, 5)) < 0.5
    counted[2] = False
    sums = [sum(cells[i, c] for c in range(5) if counted[i, c]) for i in range(4)]
    numbers = [int(counted[i].sum()) for i in range(4)]

    def g(n: int) -> float:
        return -4.45 * (n / 5) + 5.45

    expected = {
        "sum": sum(sums),
        "batch": sum(sums) / sum(numbers),
        "class": sum(sums) / 20,
        "images": sum(sums) / 4,
        "image": sum(s / n for s, n in zip(sums, numbers, strict=True) if n) / 4,
        "partial_bce": sum(g(n) / 5 * s for s, n in zip(sums, numbers, strict=True) if n) / 4,
    }
    for by, value in expected.items():
        found = normalize(torch.tensor(cells), torch.tensor(counted), by)  # type: ignore[arg-type]
        assert found.item() == pytest.approx(value, rel=1e-12), by
    nothing = torch.zeros(4, 5, dtype=torch.bool)
    for by in expected:
        assert normalize(torch.tensor(cells), nothing, by).item() == 0  # type: ignore[arg-type]


def test_batch_total_of_a_part() -> None:
    cells, counted = torch.rand(4, 3), torch.rand(4, 3) < 0.7
    whole = normalize(cells, counted, "batch")
    total = counted.sum() / 2
    parts = [normalize(cells[part], counted[part], "batch", batch_total=total) for part in (slice(0, 1), slice(1, 4))]
    assert (parts[0] + parts[1]) / 2 == pytest.approx(whole.item(), rel=1e-6)


def test_confident_pseudo_labels() -> None:
    logits = torch.tensor([[3.0, -3.0, 0.1, 3.0, -3.0]])
    labels = torch.tensor([[0, 0, 0, -1, 1]], dtype=torch.int8)
    assert confident_pseudo_labels(logits, labels, 0.6).tolist() == [[1, -1, 0, 0, 0]]
    assert confident_pseudo_labels(torch.tensor([[math.log(0.6 / 0.4) + 1e-6]]), labels[:, :1], 0.6).tolist() == [[1]]
    assert confident_pseudo_labels(torch.tensor([[math.log(0.6 / 0.4) - 1e-3]]), labels[:, :1], 0.6).tolist() == [[0]]
