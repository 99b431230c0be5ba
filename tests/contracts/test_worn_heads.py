"""Every method whose loss takes the logits of whatever head can wear one that asks the map a question per class."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method, PooledConfig
from partlabel.methods.build import build_method, method_class
from partlabel.methods.catalogue import CATALOGUE
from partlabel.methods.config import QUERY_HEADS, HeadConfig
from partlabel.models.encoders.build import create_backbone
from partlabel.models.heads import HEADS
from partlabel.models.heads.twin import TwinHead
from partlabel.models.tagger import Tagger

LIGHT: dict[str, dict[str, Any]] = {
    "ml_decoder": {"width": 16, "feed_forward": 16, "heads": 2, "dropout": 0.0},
    "query2label": {"reduction": 16, "feed_forward": 16, "heads": 2, "dropout": 0.0},
}
PRIOR = str(Path(__file__).parents[1] / "methods" / "prior.csv")
MORE: dict[str, dict[str, Any]] = {
    "class_selective": {"top_k": 1, "prior_threshold": 0.5},  # the defaults leave out all of four classes
    **{name: {"prior": PRIOR} for name, method in CATALOGUE.items() if method.needs_prior},
}
WEARERS = [name for name in CATALOGUE if issubclass(method_class(name).Config, HeadConfig)]
CLASSES = ("a", "b", "c", "d")
CLOCK = Clock(0, 0, 10, 10)


@cache
def _backbone() -> Any:
    torch.manual_seed(0)
    return create_backbone("test_resnet", pretrained=False, size=32)


def _build(name: str, head: str, classes: tuple[str, ...] = CLASSES) -> Method[Any]:
    columns = [np.random.default_rng(sum(map(ord, name))).integers(-1, 2, 12) for name in classes]
    states = np.stack(columns, 1).astype(np.int8)
    context = Context(LabelTable.from_dense([f"{row:02d}.png" for row in range(12)], classes, states))
    torch.manual_seed(1)
    settings = {**MORE.get(name, {}), "head": head, "head_settings": LIGHT[head]}
    return build_method(name, settings, _backbone(), context).eval()


def _total(method: Method[Any], labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    images = torch.randn(6, 3, 32, 32)
    outputs = method(dict.fromkeys(method.views, images))
    return outputs["logits"], method.objective(outputs, labels, torch.arange(6), CLOCK)["total"]


def test_methods_with_the_default_head_are_those_that_can_wear_another() -> None:
    """A new method on the pooled head is here by itself; one with a head of its own has no such setting."""
    assert {"bce", "asl", "hill", "coselection", "self_training", "positive_unlabeled"} <= set(WEARERS)
    for name in CATALOGUE:
        config = method_class(name).Config
        assert ("head_settings" in config.model_fields) == (name in WEARERS)
        assert issubclass(config, PooledConfig) <= (name in WEARERS)
    assert QUERY_HEADS.keys() <= HEADS.keys()
    assert QUERY_HEADS.keys() == LIGHT.keys()


@pytest.mark.parametrize("head", QUERY_HEADS)
@pytest.mark.parametrize("name", WEARERS)
def test_it_is_worn_learns_and_follows_the_classes(name: str, head: str) -> None:
    method, order = _build(name, head), torch.tensor([2, 0, 3, 1])
    labels = torch.from_numpy(np.random.default_rng(0).integers(-1, 2, (6, 4)).astype(np.int8))
    worn = method.tagger.head
    for one in (worn.first, worn.second) if isinstance(worn, TwinHead) else (worn,):
        assert type(one) is HEADS[head]
        assert (
            one.state_dict()["layer.attention.in_proj_weight" if head == "ml_decoder" else "query_weight"].shape[1]
            == 16
        )
    logits, total = _total(method, labels)
    assert torch.isfinite(total)
    learned = [parameter for parameter in worn.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(total, learned, allow_unused=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    other, state = _build(name, head, tuple(CLASSES[place] for place in order)), method.state_dict()
    for entry, places in method.class_axes.items():
        for place in places:
            state[entry] = state[entry].index_select(place, order)
    other.load_state_dict(state)
    again, same = _total(other, labels[:, order])
    torch.testing.assert_close(again, logits[:, order])
    torch.testing.assert_close(same, total)


@pytest.mark.parametrize("head", QUERY_HEADS)
def test_a_worn_head_is_the_one_of_the_method_of_its_name(head: str) -> None:
    """With the same settings and the same draws."""
    torch.manual_seed(1)
    table = LabelTable.from_dense(["0.png", "1.png"], ("a", "b"), [[1, -1], [-1, 1]])
    own = build_method(head, LIGHT[head], _backbone(), Context(table)).tagger
    torch.manual_seed(1)
    worn = build_method("bce", {"head": head, "head_settings": LIGHT[head]}, _backbone(), Context(table)).tagger
    built = Tagger(_backbone(), worn.head_spec, ("a", "b"))
    assert built.head.state_dict().keys() == own.head.state_dict().keys()
    for name, value in own.head.state_dict().items():
        assert value.equal(worn.head.state_dict()[name])


@pytest.mark.parametrize("head", QUERY_HEADS)
def test_a_worn_head_without_settings_has_its_defaults(head: str) -> None:
    config: Any = method_class("bce").Config(head=head)
    own: Any = method_class(head).Config()
    assert config.worn.settings == {name: getattr(own, name) for name in QUERY_HEADS[head].model_fields}
