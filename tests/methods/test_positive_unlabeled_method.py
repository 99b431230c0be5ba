"""PU-MLC as a method: what it mixes, what it learns from, its default gamma, its heads, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import partlabel
from partlabel.errors import UsageError
from partlabel.labels import LabelTable, State
from partlabel.losses.positive_unlabeled import (
    adaptive_temperature,
    mix_halves,
    mixup_consistency,
    prior_risk,
    variational_loss,
)
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.methods.positive_unlabeled import PositiveUnlabeled, gamma_of
from partlabel.models.encoders.build import create_backbone
from partlabel.runs.settings import TrainSettings, make_settings
from partlabel.training.build import build

CLASSES = ("a", "b", "c")
CLOCK = Clock(0, 0, 1, 1)


def _table(states: Any = None) -> LabelTable:
    states = np.random.default_rng(0).integers(-1, 2, (20, 3)) if states is None else np.asarray(states)
    return LabelTable.from_dense([f"{row}.png" for row in range(len(states))], CLASSES, states.astype(np.int8))


def _method(table: LabelTable | None = None, **settings: Any) -> PositiveUnlabeled:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("positive_unlabeled", settings, backbone, Context(table if table is not None else _table()))
    assert isinstance(method, PositiveUnlabeled)
    return method


def _objective(method: PositiveUnlabeled, outputs: Any, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    return method.objective(outputs, labels, torch.arange(len(labels)), CLOCK)


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_mixed_logits_are_those_of_mixed_images(batch: int) -> None:
    method = _method().eval()
    images = torch.randn(batch, 3, 32, 32)
    outputs = method({"weak": images})
    pairs, lam = batch // 2, float(outputs["lam"])
    mixed = [lam * images[int(outputs["permutation"][i])] + (1 - lam) * images[batch - pairs + i] for i in range(pairs)]
    torch.testing.assert_close(outputs["logits"], method.tagger(images).logits)
    torch.testing.assert_close(outputs["mixed"], method.tagger(torch.stack(mixed)).logits)


def test_mixing_draws_anew_and_follows_the_seed() -> None:
    method, views = _method().eval(), {"weak": torch.randn(16, 3, 32, 32)}
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        outputs = method(views)
        draws.append((outputs["permutation"].tolist(), float(outputs["lam"])))
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(("frozen_norm", "same"), [("all", True), (True, False), (False, False)])
def test_images_and_mixed_ones_in_one_pass_are_as_in_two_where_all_norms_are_frozen(
    frozen_norm: bool | str, same: bool
) -> None:
    """As in the official code, which freezes that of the head too."""
    settings = make_settings(
        {
            "method": "positive_unlabeled",
            "backbone": "test_resnet",
            "pretrained": False,
            "size": 32,
            "head": "ssgrl",
            "hidden": 8,
            "reduction": 8,
            "label_vectors": "learned",
            "frozen_norm": frozen_norm,
        },
        PositiveUnlabeled.Config.model_fields,
    )
    method = build(settings, Context(_table())).train()
    images = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        outputs = method({"weak": images})
        mixed = mix_halves(images, outputs["permutation"], outputs["lam"])
        apart = torch.cat([method.tagger(images).logits, method.tagger(mixed).logits])
    difference = float((torch.cat([outputs["logits"], outputs["mixed"]]) - apart).abs().max())
    assert difference == pytest.approx(0, abs=1e-7) if same else difference > 1e-4
    norms = [module for module in method.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert any(norm.training for norm in norms) != same
    assert all(norm.weight.requires_grad for norm in norms)
    assert not any(norm.training for norm in method.eval().modules())


def test_small_batches_train_with_batch_norm_over_one_place() -> None:
    """The mixed image of a batch of two or three alone would have no batch statistics."""
    method = _method().train()
    for batch in (2, 3):
        assert torch.isfinite(method({"weak": torch.randn(batch, 3, 32, 32)})["mixed"]).all()


def test_single_image_has_no_mixup_part() -> None:
    method = _method().eval()
    outputs = method({"weak": torch.randn(1, 3, 32, 32)})
    assert set(outputs) == {"logits"}
    assert set(_objective(method, outputs, torch.tensor([[1, 0, -1]], dtype=torch.int8))) == {"total"}


def test_objective_is_the_weighted_sum_of_its_parts() -> None:
    method = _method(gamma=0.7, alpha=2, temperature_floor=0.2, mixup_weight=0.03)
    labels = torch.tensor([[1, 0, -1], [0, 1, 1], [-1, -1, 0], [1, 1, 0]], dtype=torch.int8)
    outputs = method({"weak": torch.randn(4, 3, 32, 32)})
    found, logits = _objective(method, outputs, labels), outputs["logits"]
    variational = variational_loss(logits, labels == 1, 0.7, adaptive_temperature(logits, 2, 0.2))
    mixup = mixup_consistency(outputs["mixed"], logits, labels == 1, outputs["permutation"], outputs["lam"])
    torch.testing.assert_close(found["variational"], variational)
    torch.testing.assert_close(found["mixup"], mixup)
    torch.testing.assert_close(found["total"], variational + 0.03 * mixup)
    flat = _method(gamma=0.7, temperature=False, mixup_weight=0)
    torch.testing.assert_close(
        _objective(flat, {"logits": logits}, labels)["total"], variational_loss(logits, labels == 1, 0.7)
    )


@pytest.mark.parametrize("mixing", [0, 1])
def test_rows_of_the_paper_are_what_they_are_called(mixing: int) -> None:
    """The settings of the docstring's rows, each by the loss itself."""
    labels = torch.tensor([[1, 0, -1], [0, 1, 1], [-1, -1, 0], [1, 1, 0]], dtype=torch.int8)
    present, views = labels == 1, {"weak": torch.randn(4, 3, 32, 32)}
    prior = torch.tensor([0.2, 0.3, 0.4])
    given = {"class_prior": {"c": 0.4, "a": 0.2, "b": 0.3}}
    rows: dict[str, tuple[dict[str, Any], Any]] = {
        "unbalanced": ({"gamma": 0, "temperature": False}, lambda s: variational_loss(s, present, 0)),
        "fixed": ({"gamma": 0.7, "fixed_temperature": 2}, lambda s: variational_loss(s, present, 0.7, 2)),
        "no floor": (
            {"gamma": 0.7, "temperature_floor": 0, "alpha": 1e-3},
            lambda s: variational_loss(s, present, 0.7, s.detach().std(0, correction=0) * 1e-3),
        ),
        "U without P": (
            {"gamma": 0.7, "temperature": False, "unlabelled": "without_present"},
            lambda s: variational_loss(s, present, 0.7, 1, ~present),
        ),
        "uPU": ({"risk": "unbiased", **given}, lambda s: prior_risk(s, present, prior, non_negative=False)),
        "nnPU": ({"risk": "non_negative", **given}, lambda s: prior_risk(s, present, prior, non_negative=True)),
        "nnPU, U without P": (
            {"risk": "non_negative", "unlabelled": "without_present", "class_prior": 0.3},
            lambda s: prior_risk(s, present, torch.full((3,), 0.3), ~present, non_negative=True),
        ),
    }
    for name, (settings, loss) in rows.items():
        method = _method(mixup_weight=mixing, **settings).eval()
        outputs = method(views)
        found = _objective(method, outputs, labels)
        torch.testing.assert_close(found["total"], loss(outputs["logits"]) + mixing * found.get("mixup", 0), msg=name)


def test_priors_are_the_shares_of_known_cells_or_what_is_given() -> None:
    states = np.random.default_rng(5).integers(-1, 2, (40, 3))
    expected = [sum(row[c] == 1 for row in states) / sum(row[c] != 0 for row in states) for c in range(3)]
    method = _method(_table(states), risk="unbiased")
    assert method.prior is not None
    assert method.prior.tolist() == pytest.approx(expected)
    assert _method(_table(states)).prior is None
    one_sided = _table(np.maximum(states, 0))
    with pytest.raises(UsageError, match="of 'a' and 2 more not both signs are known; give class_prior"):
        _method(one_sided, risk="non_negative")
    assert _method(one_sided, risk="non_negative", class_prior=0.1).prior is not None
    with pytest.raises(UsageError, match="class_prior has no share for 'b', 'c'"):
        _method(risk="unbiased", class_prior={"a": 0.1})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fixed_temperature": 2, "temperature": False}, "counts only with temperature"),
        ({"class_prior": 0.1}, "class_prior counts only with risk"),
        ({"risk": "unbiased", "class_prior": 1.5}, "share between 0 and 1"),
        ({"risk": "unbiased", "class_prior": {"a": 0.0}}, "share between 0 and 1"),
    ],
)
def test_settings_that_would_not_count_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _method(**settings)


@pytest.mark.parametrize(("share", "gamma"), [(0.1, 0.85), (0.5, 0.4306), (1.0, 0.25)])
def test_default_gamma_follows_the_known_ratio(share: float, gamma: float) -> None:
    states = np.where(np.arange(300).reshape(100, 3) % 4 == 0, 1, -1)
    hidden = np.arange(300).reshape(100, 3) * 7 % 100 >= 100 * share
    table = _table(np.where(hidden, 0, states))
    assert gamma_of(table) == pytest.approx(gamma, abs=1e-4)
    assert _method(table).gamma == gamma_of(table)
    assert _method(table, gamma=0).gamma == 0


def test_known_ratio_counts_cells_that_the_background_declares_absent() -> None:
    cells = ([0, 1], [0, 1], [1, 1])
    declared = LabelTable.from_cells(["x", "y"], CLASSES, *cells, background=State.ABSENT)
    assert gamma_of(declared) == pytest.approx(0.25)
    assert gamma_of(LabelTable.from_cells(["x", "y"], CLASSES, *cells)) == 0.55


def test_graph_of_the_ssgrl_head_knows_present_cells_alone() -> None:
    """P(j | i) = images where both are known present / images where i is, by explicit counting."""
    states = np.random.default_rng(3).integers(-1, 2, (30, 3))
    states[:, 2] = np.minimum(states[:, 2], 0)
    light = {"head": "ssgrl", "hidden": 16, "reduction": 16, "label_vectors": "learned"}
    graph = _method(_table(states), **light).tagger.head.get_buffer("graph")
    for i in range(3):
        of_class = [row for row in states if row[i] == 1]
        for j in range(3):
            together = sum(row[j] == 1 for row in of_class)
            assert float(graph[i, j]) == pytest.approx(together / len(of_class) if of_class else 0)
    torch.testing.assert_close(_method(_table(np.maximum(states, 0)), **light).tagger.head.get_buffer("graph"), graph)


def test_label_vectors_are_asked_for_by_the_ssgrl_head_alone() -> None:
    config = PositiveUnlabeled.Config
    assert PositiveUnlabeled.label_vectors(config()) is None
    assert PositiveUnlabeled.label_vectors(config(head="ssgrl", label_vectors="glove.txt")) == "glove.txt"
    vectors = torch.randn(3, 7)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    settings = {"head": "ssgrl", "hidden": 16, "reduction": 16}
    method = build_method("positive_unlabeled", settings, backbone, Context(_table(), {"label_vectors": vectors}))
    torch.testing.assert_close(method.tagger.head.get_buffer("label_vectors"), vectors)


def test_gradient_accumulation_is_refused() -> None:
    settings = TrainSettings(
        method="positive_unlabeled", backbone="test_resnet", pretrained=False, size=32, accumulate=2
    )
    with pytest.raises(
        UsageError, match="positive_unlabeled takes its standard deviation of logits and mean probability"
    ):
        build(settings, Context(_table()))


def test_trains_from_present_labels_alone(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    """On images without a single known absent cell, on cached maps, where maps are mixed."""
    images, complete = color_images
    table = LabelTable.from_dense(complete.images, complete.classes, np.maximum(complete.dense(), 0))
    run = partlabel.train(
        table,
        images=images,
        out=tmp_path / "run",
        method="positive_unlabeled",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        freeze=True,
        epochs=2,
        batch_size=8,
        accelerator="cpu",
    )
    assert [row["epoch"] for row in run.log()] == ["1", "2"]
    assert all(np.isfinite(float(row["loss_mixup"])) for row in run.log())
