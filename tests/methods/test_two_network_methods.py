"""Co-label selection, co-teaching, co-teaching+ and JoCoR against naive loops over cells."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

import partlabel
from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method
from partlabel.methods.build import build_method
from partlabel.methods.coselection import PUBLISHED_TAUS
from partlabel.methods.jocor import bernoulli_divergence
from partlabel.models.bundle import load_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.twin import TwinBackbone
from partlabel.progress import SILENT
from partlabel.runs.settings import TrainSettings
from partlabel.training.adapter import Adapter
from partlabel.training.build import build, sources

B, C = 5, 4
END = Clock(10, 100, 11, 110)
START = Clock(0, 0, 11, 110)


def _method(name: str, **settings: Any) -> Method[Any]:
    torch.manual_seed(0)
    context = Context(LabelTable.from_dense(["a.png"], [f"c{n}" for n in range(C)], [[1] * C]))
    return build_method(name, settings, create_backbone("test_resnet", pretrained=False, size=32), context)


def _logits(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    first, second = torch.randn(B, C) * 2, torch.randn(B, C) * 2
    return {"logits": (first + second) / 2, "first": first, "second": second}


def _labels(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-1, 2, (B, C)).astype(np.int8))


def _loss(logit: float, present: bool) -> float:
    return float(binary_cross_entropy_with_logits(torch.tensor(logit), torch.tensor(1.0 if present else 0.0)))


class Selection(NamedTuple):
    """What is left to one network: the loss of each cell that counts, and the cells that H and L set aside."""

    losses: dict[tuple[int, int], float]
    high: set[tuple[int, int]]
    low: set[tuple[int, int]]


def _naive_selection(
    own: torch.Tensor, peer: torch.Tensor, labels: torch.Tensor, r_h: float, r_l: float, high: str
) -> Selection:
    cells = [(i, c) for i in range(B) for c in range(C)]
    candidates = [cell for cell in cells if labels[cell] == 0]
    by_peer = sorted(candidates, key=lambda cell: _loss(float(peer[cell]), False))
    left = by_peer if high == "keep" else by_peer[: math.floor(r_h * len(candidates) + 1e-9)]
    hardest = sorted(left, key=lambda cell: -_loss(float(own[cell]), False))
    kept = hardest[: math.floor(r_l * len(left) + 1e-9)]
    losses = {cell: _loss(float(own[cell]), bool(labels[cell] == 1)) for cell in cells if labels[cell] != 0}
    losses |= {cell: _loss(float(own[cell]), False) for cell in kept}
    removed = set(candidates) - set(left)
    if high == "correct":
        losses |= {cell: _loss(float(own[cell]), True) for cell in removed}
    return Selection(losses, removed, set(left) - set(kept))


def _divided(losses: dict[tuple[int, int], float], by: str) -> float:
    images = [[loss for (row, _), loss in losses.items() if row == image] for image in range(B)]
    return {
        "class": sum(losses.values()) / (B * C),
        "images": sum(losses.values()) / B,
        "image": sum(sum(image) / len(image) for image in images if image) / B,
        "batch": sum(losses.values()) / len(losses),
        "sum": sum(losses.values()),
    }[by]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({}, (0.7, 0.6)),
        ({"low_loss": "keep"}, (0.7, 1.0)),
        ({"high_loss": "keep"}, (1.0, 0.6)),
        ({"high_loss": "correct"}, (0.7, 0.6)),
        ({"high_loss": "correct", "low_loss": "keep"}, (0.7, 1.0)),
    ],
)
def test_coselection_is_the_naive_selection(settings: dict[str, Any], shares: tuple[float, float], seed: int) -> None:
    method, outputs, labels = _method("coselection", tau_h=0.3, tau_l=0.4, **settings), _logits(seed), _labels(seed)
    losses = method.objective(outputs, labels, torch.arange(B), END)
    high = settings.get("high_loss", "remove")
    assumed = [(i, c) for i in range(B) for c in range(C) if labels[i, c] == 0]
    aside, total = method.set_aside(outputs, labels, END), 0.0
    for own, peer in (("first", "second"), ("second", "first")):
        naive = _naive_selection(outputs[own], outputs[peer], labels, *shares, high)
        loss = _divided(naive.losses, "class")
        assert float(losses[own]) == pytest.approx(loss, rel=1e-5)
        total += loss
        for side, cells in (("high_loss", naive.high), ("low_loss", naive.low)):
            assert {tuple(cell) for cell in aside[f"{own}_{side}"].nonzero().tolist()} == cells
            assert float(losses[f"{own}_{side}_share"]) == pytest.approx(len(cells) / len(assumed))
    assert float(losses["total"]) == pytest.approx(total, rel=1e-5)
    assert len(aside) == 4


@pytest.mark.parametrize("by", ["class", "images", "image", "batch", "sum"])
def test_what_is_left_is_divided_as_the_setting_says(by: str) -> None:
    outputs, labels = _logits(4), _labels(4)
    method = _method("coselection", tau_h=0.3, tau_l=0.4, normalization=by)
    losses = method.objective(outputs, labels, torch.arange(B), END)
    for own, peer in (("first", "second"), ("second", "first")):
        naive = _naive_selection(outputs[own], outputs[peer], labels, 0.7, 0.6, "remove")
        assert float(losses[own]) == pytest.approx(_divided(naive.losses, by), rel=1e-5)


def test_what_is_set_aside_bears_no_gradient_but_what_is_corrected() -> None:
    outputs, labels = _logits(0), _labels(0)
    for high in ("remove", "correct"):
        method = _method("coselection", tau_h=0.3, tau_l=0.4, high_loss=high)
        own = outputs["first"].clone().requires_grad_()
        total = method.objective({**outputs, "first": own}, labels, torch.arange(B), END)["total"]
        (gradient,) = torch.autograd.grad(total, own)
        aside = method.set_aside(outputs, labels, END)
        assert aside["first_high_loss"].any()
        assert aside["first_low_loss"].any()
        assert (gradient[aside["first_low_loss"]] == 0).all()
        high_gradient = gradient[aside["first_high_loss"]]
        assert (high_gradient < 0).all() if high == "correct" else (high_gradient == 0).all()
        left = ~aside["first_low_loss"] & ~aside["first_high_loss"]
        assert (gradient[left] != 0).all()


def test_rates_are_updated_at_the_end_of_an_epoch() -> None:
    method: Any = _method("coselection", tau_h=0.02, tau_l=0.06, ramp=10)
    assert method.keep_shares(START) == (1, 1)
    assert method.keep_shares(Clock(1, 0, 20, 1)) == pytest.approx((0.998, 0.994))
    assert method.keep_shares(Clock(15, 0, 20, 1)) == pytest.approx((0.98, 0.94))
    method = _method("coselection", taus_of="nus 25")
    assert method.keep_shares(END) == pytest.approx((1 - 0.02, 1 - 0.06))
    assert len(PUBLISHED_TAUS) == 12
    with pytest.raises(UsageError, match="no published taus of 'coco 10'"):
        _method("coselection", taus_of="coco 10")


@pytest.mark.parametrize("name", ["coselection", "co_teaching", "co_teaching_plus"])
def test_before_the_ramp_it_is_assume_negative_twice(name: str) -> None:
    outputs, labels = _logits(0), _labels(0)
    total = _method(name).objective(outputs, labels, torch.arange(B), START)["total"]
    each = [
        _method("assume_negative").objective({"logits": outputs[which]}, labels, torch.arange(B), START)["total"]
        for which in ("first", "second")
    ]
    torch.testing.assert_close(total, each[0] + each[1])


@pytest.mark.parametrize("unit", ["image", "cell"])
def test_co_teaching_learns_what_the_peer_finds_easy(unit: str) -> None:
    method, outputs, labels = _method("co_teaching", tau=0.4, unit=unit), _logits(1), _labels(1)
    losses = method.objective(outputs, labels, torch.arange(B), END)
    cells = [(i, c) for i in range(B) for c in range(C)]

    def loss(which: str, cell: tuple[int, int]) -> float:
        return _loss(float(outputs[which][cell]), bool(labels[cell] == 1))

    for own, peer in (("first", "second"), ("second", "first")):
        if unit == "image":
            order = sorted(range(B), key=lambda i: sum(loss(peer, (i, c)) for c in range(C)))
            chosen = [(i, c) for i in order[: math.floor(0.6 * B)] for c in range(C)]
        else:
            unknown = sorted((cell for cell in cells if labels[cell] == 0), key=lambda cell: loss(peer, cell))
            known = [cell for cell in cells if labels[cell] != 0]
            chosen = unknown[: math.floor(0.6 * len(unknown) + 1e-9)] + known
        assert float(losses[own]) == pytest.approx(sum(loss(own, cell) for cell in chosen) / (B * C), rel=1e-5)


def test_co_teaching_plus_waits_then_looks_at_disagreement() -> None:
    outputs, labels = _logits(2), _labels(2)
    settings = {"tau": 0.0, "unit": "cell", "agree_epochs": 5}
    method = _method("co_teaching_plus", **settings)
    before = method.objective(outputs, labels, torch.arange(B), Clock(4, 0, 11, 110))
    plain = _method("co_teaching", tau=0.0, unit="cell").objective(outputs, labels, torch.arange(B), END)
    torch.testing.assert_close(before["total"], plain["total"])
    after = method.objective(outputs, labels, torch.arange(B), Clock(5, 0, 11, 110))
    differs = (outputs["first"] > 0) != (outputs["second"] > 0)
    goal = (labels == 1).float()
    own = binary_cross_entropy_with_logits(outputs["first"], goal, reduction="none")
    torch.testing.assert_close(after["first"], (own * differs).sum() / (B * C))
    same = dict.fromkeys(outputs, outputs["first"])
    torch.testing.assert_close(method.objective(same, labels, torch.arange(B), END)["first"], own.mean())


def test_co_teaching_plus_by_cell_learns_known_cells_where_the_networks_differ() -> None:
    """Those of largest loss among them; where the networks agree, rightly or wrongly, a known cell teaches nothing."""
    method = _method("co_teaching_plus", tau=1.0, unit="cell")
    labels = torch.tensor([[1, 1, 1, 0]] * B, dtype=torch.int8)
    first, second = torch.tensor([[9.0, -9, -9, 9]] * B), torch.tensor([[9.0, -9, 9, 9]] * B)
    first.requires_grad_()
    outputs = {"logits": first, "first": first, "second": second}
    (gradient,) = torch.autograd.grad(method.objective(outputs, labels, torch.arange(B), END)["total"], first)
    assert [bool((column != 0).all()) for column in gradient.T] == [False, False, True, False]
    by_cell = _method("co_teaching", tau=1.0, unit="cell")
    (gradient,) = torch.autograd.grad(by_cell.objective(outputs, labels, torch.arange(B), END)["total"], first)
    assert [bool((column != 0).all()) for column in gradient.T] == [True, True, True, False]


def test_jocor_is_its_formula() -> None:
    outputs, labels = _logits(3), _labels(3)
    total = _method("jocor", tau=0.4, agreement=0.7).objective(outputs, labels, torch.arange(B), END)["total"]
    goal = (labels == 1).double()
    f, g = outputs["first"].double(), outputs["second"].double()
    p, q = torch.stack([f.sigmoid(), 1 - f.sigmoid()]), torch.stack([g.sigmoid(), 1 - g.sigmoid()])
    divergence = (kl_div(q.log(), p, reduction="none") + kl_div(p.log(), q, reduction="none")).sum(0)
    torch.testing.assert_close(bernoulli_divergence(f, g), divergence)
    bce = sum(binary_cross_entropy_with_logits(logits, goal, reduction="none") for logits in (f, g))
    joint = 0.3 * bce + 0.7 * divergence
    easiest = torch.argsort(joint.mean(1))[: math.floor(0.6 * B)]
    assert float(total) == pytest.approx(float(joint[easiest].sum() / (B * C)), rel=1e-5)


def test_two_heads_start_apart_and_report_what_is_asked() -> None:
    torch.manual_seed(1)
    image = torch.randn(2, 3, 32, 32)
    outputs = {
        report: _method("coselection", reported=report).eval()({"weak": image})
        for report in ("first", "second", "mean")
    }
    assert not torch.allclose(outputs["mean"]["first"], outputs["mean"]["second"])
    torch.testing.assert_close(outputs["first"]["logits"], outputs["mean"]["first"])
    torch.testing.assert_close(outputs["second"]["logits"], outputs["mean"]["second"])
    torch.testing.assert_close(outputs["mean"]["logits"], (outputs["mean"]["first"] + outputs["mean"]["second"]) / 2)


def _trained(color_images: tuple[Path, LabelTable], out: Path, **settings: Any) -> partlabel.RunFolder:
    root, table = color_images
    common = {
        "backbone": "test_resnet",
        "pretrained": False,
        "size": 32,
        "epochs": 2,
        "batch_size": 16,
        "accelerator": "cpu",
    }
    return partlabel.train(table, images=root, out=out, report=False, **{**common, **settings})


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{}, {"freeze": True}, {"freeze": True, "train_last": 1}, {"ema": 0.9, "clip_norm": 0.1}]
)
def test_both_networks_are_trained_shipped_and_evaluated(
    how: dict[str, Any], color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    run = _trained(color_images, tmp_path / "run", method="coselection", **how)
    tagger, info = load_bundle(run.model, freeze=bool(how.get("freeze")), train_last=how.get("train_last", 0))
    assert info.backbone.copies == (1 if how == {"freeze": True} else 2)
    if isinstance(tagger.backbone, TwinBackbone):
        pairs = [dict(part.named_parameters()) for part in (tagger.backbone.first, tagger.backbone.second)]
        trained = [name for name, value in pairs[0].items() if value.requires_grad]
        assert any(not torch.equal(pairs[0][name], pairs[1][name]) for name in trained)
    root, table = color_images
    partlabel.evaluate(run, table, images=root, report=False)
    judged: Any = run.evaluation()
    assert judged["networks"]["mean"]["mAP"] == judged["mAP"]["raw"]
    assert len({judged["networks"][which]["mAP"] for which in ("first", "second")}) == 2


def _same(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal but for what a learning rate of 1e-30 makes of a weight that is exactly 0."""
    torch.testing.assert_close(one, other, rtol=0, atol=1e-25)


@pytest.mark.slow
def test_weights_go_from_one_network_to_two_and_back(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    """Both get the backbone of the one, the one that of the first, and two heads stay two."""
    still: dict[str, Any] = {"epochs": 1, "lr": 1e-30, "frozen_norm": True, "holdout": 0.0}
    one = _trained(color_images, tmp_path / "one", method="bce", frozen_norm=True)
    two = _trained(color_images, tmp_path / "two", method="coselection", init=one.path, **still)
    apart = _trained(color_images, tmp_path / "apart", method="coselection", frozen_norm=True)
    back = _trained(color_images, tmp_path / "back", method="bce", init=apart.path, **still)
    weights = {run.path.name: load_bundle(run.model)[0].state_dict() for run in (one, two, apart, back)}
    names = [name.removeprefix("backbone.") for name in weights["one"] if name.startswith("backbone.")]
    for name in names:
        for which in ("first", "second"):
            _same(weights["two"][f"backbone.{which}.{name}"], weights["one"][f"backbone.{name}"])
        _same(weights["back"][f"backbone.{name}"], weights["apart"][f"backbone.first.{name}"])
    assert not torch.equal(weights["two"]["head.first.linear.weight"], weights["two"]["head.second.linear.weight"])


def test_each_network_is_clipped_by_itself(color_images: tuple[Path, LabelTable]) -> None:
    root, table = color_images
    settings = TrainSettings(method="coselection", backbone="test_resnet", pretrained=False, size=32, accelerator="cpu")
    method = build(settings, Context(table))
    training, scoring = sources(settings, method.tagger.backbone, ("weak",), table.images, root, SILENT)
    adapter = Adapter(method, table, training, scoring, settings)
    for name, parameter in method.named_parameters():
        parameter.grad = torch.full_like(parameter, 100.0 if ".first." in name else 0.001)
    adapter.configure_gradient_clipping(torch.optim.SGD(method.parameters(), lr=1), 1.0)
    first, second = (
        [p for name, p in method.named_parameters() if f".{which}." in name] for which in ("first", "second")
    )
    norm = torch.nn.utils.get_total_norm([p.grad for p in first if p.grad is not None])
    assert float(norm) == pytest.approx(1, rel=1e-4)
    assert all(torch.equal(p.grad, torch.full_like(p, 0.001)) for p in second if p.grad is not None)
