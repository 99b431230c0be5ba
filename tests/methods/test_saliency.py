"""The objective of saliency regularization by explicit loops over cells, from maps of 3 × 4 places."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method, method_config
from partlabel.methods.saliency import Saliency, SaliencyConfig
from partlabel.models.encoders.build import create_backbone

CLASSES = ("a", "b", "c")
LABELS = np.array([[1, 0, -1], [0, 0, 0], [-1, 1, 0], [0, -1, 0], [0, 0, 1]], np.int8)
CHOICES: dict[str, tuple[Any, ...]] = {
    "supervised": ("both", "weak"),
    "saliency": (True, False),
    "pseudo": ("strong", "weak", "none"),
    "pseudo_from": ("saliency", "plain"),
    "pseudo_into": ("saliency", "plain"),
}


def _method(**settings: Any) -> Saliency:
    torch.manual_seed(0)
    table = LabelTable.from_dense([f"{row}.png" for row in range(5)], CLASSES, LABELS)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True)
    method = build_method("saliency", settings, backbone, Context(table))
    method.tagger.use_trunk_output()
    assert isinstance(method, Saliency)
    return method.double()


def _maps(method: Saliency) -> dict[str, torch.Tensor]:
    """Views that differ, with images, classes and places that are told apart; unlike each other where it matters."""
    random = torch.Generator().manual_seed(3)
    shape = (5, method.tagger.backbone.num_features, 3, 4)
    return {view: 3 * torch.randn(shape, dtype=torch.float64, generator=random) for view in ("weak", "strong")}


class Naive:
    """The paper's numbers, one after the other.

    Args:
        method: its linear layer is read.
        settings: what the objective is computed with.
    """

    def __init__(self, method: Saliency, settings: SaliencyConfig) -> None:
        classifier: Any = method.tagger.head.get_submodule("classifier")
        self.weight = classifier.weight.detach().numpy()[:, :, 0, 0]
        self.bias = classifier.bias.detach().numpy()
        self.settings = settings

    def logit(self, maps: NDArray[np.float64], c: int, *, salient: bool) -> float:
        places = []
        for y in range(maps.shape[1]):
            for x in range(maps.shape[2]):
                place = sum(self.weight[c, d] * maps[d, y, x] for d in range(maps.shape[0]))
                places.append(place + self.bias[c])
        mean = sum(places) / len(places)
        if not salient:
            return float(mean)
        count = self.settings.k if self.settings.k >= 1 else self.settings.k * len(places)
        largest = sorted(places)[-int(count) :]
        return float(mean + self.settings.alpha * sum(largest) / len(largest))

    def logits(self, maps: torch.Tensor, *, salient: bool) -> list[list[float]]:
        return [[self.logit(image, c, salient=salient) for c in range(3)] for image in maps.numpy()]

    def divided(self, losses: dict[tuple[int, int], float]) -> float:
        """Losses of the cells that count, by image and class."""
        by = self.settings.normalization
        if by == "class":
            return sum(losses.values()) / LABELS.size
        if by == "batch":
            return sum(losses.values()) / max(len(losses), 1)
        total = 0.0
        for image in range(len(LABELS)):
            own = [loss for (row, _), loss in losses.items() if row == image]
            total += sum(own) / len(own) if own else 0
        return total if by == "image_sum" else total / len(LABELS)

    def bce(self, logits: list[list[float]], labels: list[list[int]]) -> float:
        losses = {}
        for i, row in enumerate(labels):
            for c, label in enumerate(row):
                p = 1 / (1 + math.exp(-logits[i][c]))
                if label:
                    losses[i, c] = -math.log(p if label == 1 else 1 - p)
        return self.divided(losses)

    def losses(self, views: dict[str, torch.Tensor]) -> dict[str, float]:
        settings = self.settings
        weak = self.logits(views["weak"], salient=settings.saliency)
        strong = self.logits(views["strong"], salient=settings.saliency)
        supervised = self.bce(weak, LABELS.tolist())
        if settings.supervised == "both":
            supervised = 0.5 * supervised + 0.5 * self.bce(strong, LABELS.tolist())
        if settings.pseudo == "none":
            return {"total": supervised}
        teacher = self.logits(views["weak"], salient=settings.saliency and settings.pseudo_from == "saliency")
        pseudo = [[0] * 3 for _ in LABELS]
        for i in range(len(LABELS)):
            for c in range(3):
                p = 1 / (1 + math.exp(-teacher[i][c]))
                if LABELS[i, c] == 0:
                    pseudo[i][c] = 1 if p >= settings.tau else -1 if 1 - p >= settings.tau else 0
        student = self.logits(views[settings.pseudo], salient=settings.saliency and settings.pseudo_into == "saliency")
        consistent = self.bce(student, pseudo)
        return {
            "total": supervised + settings.pseudo_weight * consistent,
            "supervised": supervised,
            "pseudo": consistent,
            "pseudo_share": sum(label != 0 for row in pseudo for label in row) / LABELS.size,
        }


def _agree(settings: dict[str, Any]) -> None:
    config = SaliencyConfig.model_validate(settings)
    method = _method(**settings)
    views = _maps(method)
    expected = Naive(method, config).losses(views)
    outputs = method({name: views[name] for name in method.views})
    found = method.objective(outputs, torch.from_numpy(LABELS), torch.arange(5), Clock(0, 0, 1, 1))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("choice", list(product(*CHOICES.values())), ids=lambda choice: " ".join(map(str, choice)))
def test_objective_by_explicit_loops(choice: tuple[Any, ...]) -> None:
    _agree(dict(zip(CHOICES, choice, strict=True)))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"k": 1},
        {"k": 0.25},
        {"k": 20},
        {"alpha": 2, "k": 7, "tau": 0.9, "pseudo_weight": 3},
        *({"normalization": by} for by in ("image", "image_sum", "class")),
    ],
)
def test_numbers_by_explicit_loops(settings: dict[str, Any]) -> None:
    """The defaults as they are, and other numbers."""
    _agree(settings)


@pytest.mark.parametrize("k", [2.9, 1.5])
def test_part_of_a_place_is_refused(k: float) -> None:
    with pytest.raises(UsageError, match=f"saliency: k: a number of places is whole, .* unlike {k}"):
        method_config("saliency", {"k": k})


def test_views_are_those_that_are_learned_from() -> None:
    assert _method().views == ("weak", "strong")
    assert _method(pseudo="none").views == ("weak", "strong")
    assert _method(supervised="weak").views == ("weak", "strong")
    assert _method(supervised="weak", pseudo="weak").views == ("weak",)


def test_views_saliency_and_confidence_tell_cells_apart() -> None:
    """Else the loops above could not tell a wrong view or a wrong logit from the right one."""
    settings = SaliencyConfig()
    method = _method()
    views, naive = _maps(method), Naive(method, settings)
    signs = {}
    for view in views:
        for salient in (True, False):
            logits = np.array(naive.logits(views[view], salient=salient))
            signs[view, salient] = np.where(LABELS == 0, (logits > math.log(1.5)) * 1 - (logits < -math.log(1.5)), 0)
    assert (signs["weak", True] != signs["strong", True]).any()
    assert (signs["weak", True] != signs["weak", False]).any()
    assert {-1, 0, 1} <= set(signs["weak", True][LABELS == 0].tolist())


def test_no_gradient_reaches_the_teacher() -> None:
    method = _method()
    outputs = {name: value.detach().requires_grad_() for name, value in method(_maps(method)).items()}
    losses = method.objective(outputs, torch.from_numpy(LABELS), torch.arange(5), Clock(0, 0, 1, 1))
    assert outputs.keys() == {"logits", "plain", "strong", "strong_plain"}
    reached = torch.autograd.grad(losses["pseudo"], list(outputs.values()), allow_unused=True)
    by_output = dict(zip(outputs, reached, strict=True))
    to_strong = by_output.pop("strong")
    assert set(by_output.values()) == {None}
    assert to_strong is not None
    assert (to_strong[torch.from_numpy(LABELS) != 0] == 0).all()
    assert (to_strong != 0).any()
