"""Losses over a prior matrix: reference vectors, explicit loops, and what the methods make of files."""

from math import exp, isnan, log, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partlabel
from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Seen
from partlabel.methods.build import build_method, method_class, method_config
from partlabel.methods.cdul import first_pseudo_labels, moved
from partlabel.methods.gpr import gpr_cells, pseudo_labels
from partlabel.methods.tools.prior import scaled
from partlabel.methods.vlpl import vlpl_cells
from partlabel.models.encoders.build import create_backbone

X = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
PRESENT = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.int8)
PRIOR = torch.tensor([[0.5, 0.4, 0.1], [0.35, 0.6, 0.05]])
NAN = float("nan")
CLOCK = Clock(0, 0, 8, 8)


def _nl(u: float) -> float:
    return -log(u + 1e-7)


def _sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z))


def test_vlpl_reference_vector() -> None:
    cells = vlpl_cells(X, PRESENT, PRIOR > 0.3, alpha=0.2, weight=0.7, smoothing=0.1)
    expected = [[0.20141316, 0.64685371, -0.13707902], [1.34884907, 0.38687086, -0.10606081]]
    torch.testing.assert_close(cells, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)
    assert cells.sum().item() == pytest.approx(2.34084697, abs=1e-7)


@pytest.mark.parametrize(
    ("schedule", "expected", "mean"),
    [
        ((0, -2, 0.5, 2), [[0.20141316, 0.46203836, 0.56334746], [0.34946037, 0.38687086, 0.24951904]], 0.36877487),
        ((2, -2, 0.8, 0.5), [[0.20141316, 0.46203836, 0.50522782], [0.16234690, 0.38687086, 0.12935969]], 0.30787613),
    ],
)
def test_gpr_reference_vectors(schedule: tuple[float, ...], expected: list[list[float]], mean: float) -> None:
    w, b, mu, sigma = schedule
    pseudo = torch.tensor([[0, 1, 0], [0, 0, -1]], dtype=torch.int8)
    cells = gpr_cells(X, PRESENT, pseudo, line=(w, b), bell=(mu, sigma), q=(0.01, 1), weights=(0.5, 0.7), rho=0.9)
    torch.testing.assert_close(cells, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)
    assert cells.mean().item() == pytest.approx(mean, abs=1e-7)


def test_known_absent_cells_cost_absence_in_both() -> None:
    labels = torch.tensor([[1, -1, 0]], dtype=torch.int8)
    pseudo = torch.tensor([[-1, 1, 0]], dtype=torch.int8)
    for cells in (
        vlpl_cells(X[:1], labels, pseudo == 1, alpha=0.2, weight=0.7, smoothing=0.1),
        gpr_cells(X[:1], labels, pseudo, line=(1, 0), bell=(0.5, 1), q=(0.1, 1), weights=(0.5, 0.7), rho=0.9),
    ):
        assert cells[0, 0].item() == pytest.approx(_nl(_sigmoid(1.5)))
        assert cells[0, 1].item() == pytest.approx(_nl(_sigmoid(0.5)))


def test_weights_of_gpr_have_no_gradient_and_the_rest_has() -> None:
    z = torch.tensor([[0.3, 0.3, -900.0]], dtype=torch.float64, requires_grad=True)
    pseudo = torch.tensor([[0, -1, 0]], dtype=torch.int8)
    labels = torch.zeros_like(pseudo)
    how: dict[str, Any] = {"line": (2, -2), "bell": (0.8, 0.5), "q": (0.5, 1.5), "weights": (0.5, 0.7), "rho": 0.9}
    (gradient,) = torch.autograd.grad(gpr_cells(z, labels, pseudo, **how).sum(), z)
    p = _sigmoid(0.3)
    k, v = _sigmoid(2 * p - 2), exp(-((p - 0.8) ** 2) / (2 * 0.5**2))
    slope = p * (1 - p)
    assert gradient[0, 0].item() == pytest.approx(v * slope * (-k * p**-0.5 + (1 - k) * (1 - p) ** 0.5), rel=1e-6)
    assert gradient[0, 1].item() == pytest.approx(v * slope / (1 - p), rel=1e-5)
    assert gradient.isfinite().all()


def test_pseudo_labels_by_explicit_loop() -> None:
    random = np.random.default_rng(0)
    prior = random.random((50, 7)).astype(np.float32)
    prior[random.random(prior.shape) < 0.3] = np.nan
    found = pseudo_labels(torch.from_numpy(prior), 0.6, 2, 0.3)
    for row, priors in enumerate(prior):
        scored = sorted((value, column) for column, value in enumerate(priors) if not np.isnan(value))
        up = {column for value, column in scored[-2:] if value >= 0.6}
        down = {column for _, column in scored[:2]}
        assert found[row].tolist() == [(column in up) - (column in down) for column in range(7)]
    assert (pseudo_labels(torch.tensor([[0.5, 0.5]]), 0.5, 2, 0) == 1).all()
    assert not pseudo_labels(torch.from_numpy(prior), 0.0, 0, 0).any()


def test_scales_by_explicit_loop() -> None:
    scores = torch.tensor([[0.2, NAN, 0.21], [0.4, 0.1, 0.21], [0.3, NAN, NAN], [0.3, NAN, 0.9]])
    shares, ranks = scaled(scores, "softmax", 0.01), scaled(scores, "rank", 1.0)
    assert shares.isnan().equal(scores.isnan())
    assert ranks.isnan().equal(scores.isnan())
    for row, column in (~scores.isnan()).nonzero().tolist():
        of_image = [value for value in scores[row].tolist() if not isnan(value)]
        of_class = [value for value in scores[:, column].tolist() if not isnan(value)]
        value = scores[row, column].item()
        share = exp(value / 0.01) / sum(exp(other / 0.01) for other in of_image)
        assert shares[row, column].item() == pytest.approx(share, rel=1e-4)
        below = sum(other < value for other in of_class) + sum(other == value for other in of_class) / 2
        assert ranks[row, column].item() == pytest.approx(below / len(of_class))
    assert scaled(torch.full((2, 2), NAN), "softmax", 1.0).isnan().all()
    assert scaled(PRIOR, "as_is", 9.0).equal(PRIOR)
    with pytest.raises(UsageError, match=r"reach from -1 to 2, so they are no probabilities; set scale to softmax"):
        scaled(torch.tensor([[-1.0, NAN, 2.0]]), "as_is", 1.0)


def test_pseudo_labels_of_cdul_move_where_they_are_undecided() -> None:
    theta, p = [-3.0, 0.0, 0.4, NAN], [0.9, 0.9, 0.1, 0.5]
    found = moved(torch.tensor([theta]), torch.tensor([p]), 0.7, 0.2)[0].tolist()
    for before, target, after in zip(theta, p, found, strict=True):
        if not isnan(before):
            soft = _sigmoid(before)
            density = exp(-0.5 * ((soft - 0.5) / 0.2) ** 2) / (0.2 * sqrt(2 * pi))
            assert after == pytest.approx(before - 0.7 * density * (soft - target), rel=1e-5)
        else:
            assert isnan(after)
    assert abs(found[1] - theta[1]) > 3 * abs(found[0] - theta[0])


def test_first_pseudo_labels_of_cdul() -> None:
    prior = torch.tensor([[0.5, 0.2, NAN], [1.0, 0.0, 0.1]])
    plain = first_pseudo_labels(prior, None)
    torch.testing.assert_close(torch.sigmoid(plain)[0, :2], prior[0, :2])
    assert plain.isnan().equal(prior.isnan())
    assert torch.sigmoid(plain[1, 0]).item() == pytest.approx(1 - 1e-4, abs=1e-6)
    shifted = first_pseudo_labels(prior, 1.5)
    assert torch.sigmoid(shifted).nansum().item() == pytest.approx(3.0, abs=1e-4)
    differences = (shifted - plain)[~prior.isnan()]
    torch.testing.assert_close(differences, differences[:1].expand(5), rtol=0, atol=1e-4)


def _method(tmp_path: Path, name: str, text: str, **settings: Any) -> Any:
    file = tmp_path / "p.csv"
    file.write_text(text)
    labels = LabelTable.from_dense(["x", "y"], ["a", "b", "c"], [[1, 0, -1], [0, 0, 0]])
    config = method_config(name, {"prior": str(file), "scale": "as_is", **settings})
    context = Context(labels, method_class(name).own_assets(config, labels))
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    return build_method(name, config.model_dump(exclude_unset=True), backbone, context)


def test_cdul_learns_labels_and_the_prior_of_other_cells(tmp_path: Path) -> None:
    method = _method(tmp_path, "cdul", "image,a,b\nx,0.1,0.6\ny,0.3,\n")
    logits = torch.tensor([[0.2, -1.0, 0.7], [0.4, 0.5, 0.6]], requires_grad=True)
    labels = torch.tensor([[1, 0, -1], [0, 0, 0]], dtype=torch.int8)
    total = method.objective({"logits": logits}, labels, torch.arange(2), CLOCK)["total"]
    targets = [(0.2, 1), (-1.0, 0.6), (0.7, 0), (0.4, 0.3)]  # class c of y, and b of y, have neither
    losses = [-t * log(_sigmoid(z)) - (1 - t) * log(1 - _sigmoid(z)) for z, t in targets]
    assert total.item() == pytest.approx(sum(losses) / 4, rel=1e-5)
    (gradient,) = torch.autograd.grad(total, logits)
    assert gradient[1, 1:].tolist() == [0, 0]


def test_cdul_follows_the_network_before_every_epoch_but_the_first(tmp_path: Path) -> None:
    method = _method(tmp_path, "cdul", "image,a,b\nx,0.1,0.6\ny,0.3,\n", step=0.5, bandwidth=0.3)
    due = [method.refresh_due(Clock(step // 2, step, 4, 8)) for step in range(8)]
    assert due == [False, False, True, False, True, False, True, False]
    before, logits = method.theta.clone(), torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    method.refresh(CLOCK, lambda: iter([Seen(torch.tensor([1]), torch.zeros(1, 4), logits[1:])]))
    assert method.theta[0].equal(before[0]) or before[0].isnan().any()
    torch.testing.assert_close(method.theta[1:], moved(before[1:], torch.sigmoid(logits[1:]), 0.5, 0.3), equal_nan=True)
    assert not method.theta[1, 0].equal(before[1, 0])
    assert method.theta[1, 1].isnan()
    assert not _method(tmp_path, "cdul", "image,a\nx,0.1\n", step=0).refresh_due(Clock(1, 2, 4, 8))


def test_vlpl_takes_what_the_prior_finds_likely_as_present(tmp_path: Path) -> None:
    method = _method(tmp_path, "vlpl", "image,a,b\nx,0.9,0.2\ny,0.31,0.3\n", warmup_epochs=2)
    logits, labels = torch.zeros(2, 3), torch.tensor([[1, 0, -1], [0, 0, 0]], dtype=torch.int8)
    half = log(2) - 2e-7
    early = method.objective({"logits": logits}, labels, torch.arange(2), Clock(1, 1, 8, 8))
    late = method.objective({"logits": logits}, labels, torch.arange(2), Clock(2, 2, 8, 8))
    assert early["total"].item() == pytest.approx((2 - 4 * 0.2) * half / 6, rel=1e-5)
    assert late["total"].item() == pytest.approx((2 - 3 * 0.2 + 0.7) * half / 6, rel=1e-5)
    assert (early["pseudo_share"].item(), late["pseudo_share"].item()) == (0, pytest.approx(1 / 6))


def test_schedules_of_gpr_over_epochs(tmp_path: Path) -> None:
    """Of 8 epochs: w 0, 1.25, .., 8.75; mu 0.5375, .., 0.8."""
    method = _method(tmp_path, "gpr", "image,a,b\nx,0.9,0.2\ny,0.7,0.3\n", reg=0.5, expected_positives=1.2)
    logits, labels = torch.tensor([[0.3, -0.2, 1.0], [0.1, 0.6, -0.4]]), torch.zeros(2, 3, dtype=torch.int8)
    for epoch in (0, 3, 7):
        losses = method.objective({"logits": logits}, labels, torch.arange(2), Clock(epoch, epoch, 8, 8))
        w, b = 10 * epoch / 8, -2 - 6 * epoch / 8
        mu, sigma = 0.5 + 0.3 * (epoch + 1) / 8, 2 - 1.5 * (epoch + 1) / 8
        total = 0.0
        for row, column in np.ndindex(2, 3):
            p = _sigmoid(logits[row, column].item())
            k, v = _sigmoid(w * p + b), exp(-((p - mu) ** 2) / (2 * sigma**2))
            if column == 0:  # the only class with a prior of at least 0.5
                total += min(max(1 - v, 0.5), 0.7) * (0.9 * _nl(p) + 0.1 * _nl(1 - p)) / 6
            else:
                total += v * (k * (1 - p**0.01) / 0.01 + (1 - k) * p) / 6
        counts = torch.sigmoid(logits).sum(1).mean().item()
        penalty = 0.5 * ((counts - 1.2) / 3) ** 2
        assert losses["penalty"].item() == pytest.approx(penalty, rel=1e-5)
        assert losses["total"].item() == pytest.approx(total + penalty, rel=1e-5)


@pytest.mark.parametrize("name", ["vlpl", "gpr", "cdul"])
def test_without_a_file_nothing_starts(name: str, tmp_path: Path) -> None:
    labels = LabelTable.from_dense(["x", "y"], ["a"], [[1], [-1]])
    with pytest.raises(UsageError, match=f"method {name} learns from scores of another tagger; name their file"):
        partlabel.train(labels, images=tmp_path, out=tmp_path / "run", method=name)
    with pytest.raises(UsageError, match="name their file with the setting prior"):
        build_method(name, {}, create_backbone("test_resnet", pretrained=False, size=32), Context(labels))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["cells", "images"])
def test_cdul_trains_without_a_label_and_rows_follow_images(
    by: str, tmp_path: Path, color_images: tuple[Path, LabelTable]
) -> None:
    """Scores of the truth: what is learned is what they say, also where images are dropped or held out whole."""
    images, truth = color_images
    file = tmp_path / "prior.csv"
    sure = np.where(truth.dense() > 0, 0.875, 0.125)
    rows = [f"{name},{','.join(map(str, row))}" for name, row in zip(truth.images, sure, strict=True)]
    file.write_text("image,red,green,blue\n" + "\n".join(reversed(rows)) + "\n")
    unlabelled = LabelTable.from_cells(["gone.png", *truth.images], truth.classes, [], [], [])
    if by == "images":
        known = truth.dense().copy()
        known[8:] = 0
        unlabelled = LabelTable.from_dense(
            ["gone.png", *truth.images], truth.classes, np.vstack([known[:1] * 0, known])
        )
    run = partlabel.train(
        unlabelled,
        images=images,
        out=tmp_path / "run",
        method="cdul",
        prior=str(file),
        scale="as_is",
        broken="skip",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        epochs=12,
        batch_size=8,
        lr=1e-2,
        flip=False,
        accelerator="cpu",
        report=False,
        **({} if by == "cells" else {"holdout": 0.2, "holdout_by": "images"}),
    )
    assert run.assets()["prior"].tolist() == sure.tolist()
    judged = partlabel.evaluate(run.path, truth, images=images, report=False)
    assert judged.mean_average_precision["raw"] > 0.9
