"""Co-learning's loss by explicit loops, its recovered labels, and its label vectors."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.methods.colearning import CoLearning, CoLearningConfig, recovered_targets
from partlabel.models.encoders.build import create_backbone

REFINED = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]])
COARSE = torch.tensor([[0.5, -1.5, 0.1], [-0.3, 1.75, 0.4]])
LABELS = torch.tensor([[1, -1, 0], [0, 1, 0]], dtype=torch.int8)
LIGHT = {"hidden": 8, "label_features": 5}


def _context(label_vectors: Tensor | None = None) -> Context:
    assets = {} if label_vectors is None else {"label_vectors": label_vectors}
    states = np.random.default_rng(0).integers(-1, 2, (10, 3)).astype(np.int8)
    return Context(LabelTable.from_dense([f"{row}.png" for row in range(10)], ("a", "b", "c"), states), assets)


def _method(context: Context | None = None, **settings: Any) -> CoLearning:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("colearning", {**LIGHT, **settings}, backbone, context or _context())
    assert isinstance(method, CoLearning)
    return method


def _objective(method: CoLearning, refined: Tensor = REFINED, coarse: Tensor = COARSE) -> dict[str, Tensor]:
    return method.objective({"logits": refined, "coarse": coarse}, LABELS, torch.arange(2), Clock(0, 0, 1, 1))


def _asl(logit: float, y: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    q = 1 - p
    return -(y * math.log(p) + (1 - y) * math.log(q)) * (1 - p * y - q * (1 - y)) ** (2 * (1 - y))


@pytest.mark.parametrize("pseudo", ["probability", "scaled"])
@pytest.mark.parametrize("normalization", ["mean", "official"])
def test_loss_by_explicit_loops(pseudo: str, normalization: str) -> None:
    known, recovered = 0.0, 0.0
    for i in range(2):
        largest = max(REFINED[i].tolist())
        for c in range(3):
            z, label = REFINED[i, c].item(), LABELS[i, c].item()
            if label:
                known += _asl(z, (label + 1) / 2)
            y = (label + 1) / 2 if label else 1 / (1 + math.exp(-z * (largest if pseudo == "scaled" else 1)))
            recovered += _asl(COARSE[i, c].item(), y)
    known, recovered = (known / 3, recovered / 6) if normalization == "mean" else (1000 * known, 1000 * recovered / 6)
    losses = _objective(_method(pseudo=pseudo, normalization=normalization, lambda_1=0.7, lambda_2=0.3))
    assert losses["refined"].item() == pytest.approx(known, rel=1e-5)
    assert losses["coarse"].item() == pytest.approx(recovered, rel=1e-5)
    assert losses["total"].item() == pytest.approx(0.7 * known + 0.3 * recovered, rel=1e-5)


@pytest.mark.parametrize("normalization", ["mean", "official"])
def test_both_parts_are_means_where_all_cells_are_known(normalization: str) -> None:
    labels = torch.tensor([[1, -1, -1], [-1, 1, 1]], dtype=torch.int8)
    targets = ((labels + 1) / 2).tolist()
    cells = [(i, c) for i in range(2) for c in range(3)]
    refined = sum(_asl(REFINED[i, c].item(), targets[i][c]) for i, c in cells) / 6
    coarse = sum(_asl(COARSE[i, c].item(), targets[i][c]) for i, c in cells) / 6
    scale = 1000 if normalization == "official" else 1
    outputs = {"logits": REFINED, "coarse": COARSE}
    losses = _method(normalization=normalization).objective(outputs, labels, torch.arange(2), Clock(0, 0, 1, 1))
    assert losses["refined"].item() == pytest.approx(scale * refined, rel=1e-5)
    assert losses["coarse"].item() == pytest.approx(scale * coarse, rel=1e-5)


def test_recovered_labels_of_the_paper_and_of_the_code() -> None:
    unknown = torch.zeros(1, 3, dtype=torch.int8)
    for logits, expected in (((-2, -1, -0.5), (0.731, 0.622, 0.562)), ((2, -1, 0.5), (0.982, 0.119, 0.731))):
        z = torch.tensor([logits], dtype=torch.float64)
        assert recovered_targets(z, unknown, "scaled")[0].tolist() == pytest.approx(expected, abs=5e-4)
        assert recovered_targets(z, unknown)[0].tolist() == pytest.approx(
            [1 / (1 + math.exp(-v)) for v in logits], abs=1e-12
        )


@pytest.mark.parametrize("recovery", ["probability", "scaled"])
def test_known_labels_stay_what_they_are(recovery: Any) -> None:
    targets = recovered_targets(REFINED, LABELS, recovery)
    assert targets[0, :2].tolist() == [1, 0]
    assert targets[1, 1].item() == 1
    assert ((targets > 0) & (targets < 1)).equal(LABELS == 0)


def test_recovered_labels_teach_the_coarse_head_and_not_themselves() -> None:
    refined, coarse = REFINED.clone().requires_grad_(), COARSE.clone().requires_grad_()
    _objective(_method(), refined, coarse)["total"].backward()
    assert refined.grad is not None
    assert coarse.grad is not None
    assert (refined.grad != 0).equal(LABELS != 0)
    assert (coarse.grad != 0).all()


def test_without_colearning_only_known_cells_count() -> None:
    method = _method(colearning=False)
    losses = _objective(method)
    assert losses.keys() == {"total"}
    torch.testing.assert_close(losses["total"], _objective(_method())["refined"])
    assert method.tagger.head.coarse is None


def test_outputs_and_views() -> None:
    method = _method().eval()
    outputs = method({"weak": torch.randn(2, 3, 32, 32)})
    assert outputs.keys() == {"logits", "coarse"}
    assert method.views == ("weak",)
    assert _method(colearning=False)({"weak": torch.randn(2, 3, 32, 32)}).keys() == {"logits"}


def test_the_view_that_is_asked_for_is_the_one_that_is_learned_from() -> None:
    """With other images in the views that are not asked for."""
    images = {view: torch.randn(2, 3, 32, 32) for view in ("plain", "weak", "strong")}
    for view in ("weak", "strong"):
        method = _method(view=view).eval()
        assert method.views == (view,)
        torch.testing.assert_close(method(images)["logits"], method.tagger(images[view]).logits)


@pytest.mark.parametrize(("normalization", "factor"), [("mean", 1.0), ("official", 3.0)])
def test_a_part_weighs_less_against_a_sum_of_known_cells(normalization: str, factor: float) -> None:
    """What lambda_2 means: three cells of the batch are known."""
    mean, other = _objective(_method()), _objective(_method(normalization=normalization))
    balance = [(losses["coarse"] / losses["refined"]).item() for losses in (mean, other)]
    assert balance[0] / balance[1] == pytest.approx(factor)


def test_given_label_vectors_travel_with_the_tagger() -> None:
    vectors = torch.randn(3, 7)
    method = _method(_context(vectors))
    state = method.tagger.state_dict()
    torch.testing.assert_close(state["head.label_vectors"], vectors, rtol=0, atol=0)
    assert "head.label_vectors" not in dict(method.tagger.named_parameters())
    settings = json.loads(json.dumps(method.tagger.head_spec.settings))
    assert (settings["label_features"], settings["learned_labels"]) == (7, False)
    learned = _method()
    assert learned.tagger.head.label_vectors.shape == (3, 5)
    assert learned.tagger.head.label_vectors.requires_grad


def test_no_label_vectors_are_asked_for_where_none_are_used() -> None:
    assert CoLearning.label_vectors(CoLearningConfig(label_vectors="learned")) == "learned"
    assert CoLearning.label_vectors(CoLearningConfig(sgfe=False, srfl=False)) is None
    assert "label_vectors" not in _method(_context(torch.randn(3, 7)), sgfe=False, srfl=False).tagger.head.state_dict()


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match="switch srfl off too"):
        _method(sgfe=False)
    with pytest.raises(UsageError, match="96 channels with 7 heads"):
        _method(heads=7)
    with pytest.raises(UsageError, match="pseudo"):
        _method(pseudo="hard")
