"""Maps that explain an image: against analytic answers and explicit loops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import build_method, method_class, method_config
from partlabel.methods.catalogue import CATALOGUE
from partlabel.models.encoders.base import Features
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers
from partlabel.models.explain_maps import activation_strength, ends_of, gradient_maps, label_maps
from partlabel.models.heads import Head, HeadOutput
from partlabel.models.heads.pooled import PooledHead
from partlabel.models.heads.saliency import SaliencyHead, heat_maps

pytestmark = pytest.mark.slow

D, CLASSES, H, W = 5, 4, 3, 2
PRIOR = Path(__file__).parents[1] / "methods" / "prior.csv"


@pytest.fixture
def features() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, D, H, W, dtype=torch.float64)


class Mapless(Head):
    """A head that cannot say where: a product of two pooled features per class."""

    has_class_maps = False

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, CLASSES).double()

    def forward(self, maps: Tensor, image: Tensor | None = None) -> HeadOutput:
        pooled = maps.mean((2, 3))
        return HeadOutput(self.linear(pooled) * pooled[:, :1], {})


def test_shares_are_stretched_where_they_differ_by_more_than_an_even_share() -> None:
    flat, steep = np.full((2, 5), 0.1, np.float32), np.full((2, 5), 0.08, np.float32)
    flat[0, 0], flat[1, 1] = 0.14, 0.06
    steep[1, 2] = 0.28
    assert ends_of("shares", flat) == (0, 1)
    assert ends_of("shares", steep) is None
    assert ends_of("own", flat) is None
    assert ends_of("unit", steep) == (0, 1)


def test_further_maps_stand_between_class_maps_and_gradient_maps(features: Tensor) -> None:
    head = SaliencyHead(D, CLASSES).double().eval()
    found = label_maps(head, Features(features), [2, 1], gradient=True, others=True)
    assert list(found) == ["class", "heat", "gradient"]
    torch.testing.assert_close(found["heat"], heat_maps(found["class"]))


def test_gradient_maps_of_an_average_pooled_linear_head(features: Tensor) -> None:
    head = PooledHead(D, CLASSES).double().eval()
    columns = [3, 0]
    found = gradient_maps(head, Features(features), columns)
    weight = head.linear.weight.detach().numpy()
    for image in range(2):
        for place, column in enumerate(columns):
            for y in range(H):
                for x in range(W):
                    spoken = sum(weight[column, d] * float(features[image, d, y, x]) for d in range(D))
                    assert float(found[image, place, y, x]) == pytest.approx(max(spoken, 0) / (H * W), abs=1e-12)


def test_gradient_maps_by_finite_differences(features: Tensor) -> None:
    """Weights are mean gradients: of a head without class maps, and of one where only the highest places count."""
    torch.manual_seed(1)
    for head in (Mapless().eval(), SaliencyHead(D, CLASSES, alpha=0.5, k=2).double().eval()):
        found = gradient_maps(head, Features(features), [1])
        head.requires_grad_(False)
        step = 1e-6
        expected = torch.zeros(2, H, W, dtype=torch.float64)
        for image in range(2):
            for d in range(D):
                slope = 0.0
                for y in range(H):
                    for x in range(W):
                        moved = features.clone()
                        moved[image, d, y, x] += step
                        slope += float(head(moved).logits[image, 1] - head(features).logits[image, 1]) / step
                expected[image] += slope / (H * W) * features[image, d]
        np.testing.assert_allclose(found[:, 0].numpy(), expected.clamp(min=0).numpy(), atol=1e-6)


def test_backbone_strength_by_loops(features: Tensor) -> None:
    found = activation_strength(features)
    assert found.shape == (2, H, W)
    for image, y, x in np.ndindex(2, H, W):
        norm = sum(float(value) ** 2 for value in features[image, :, y, x]) ** 0.5
        assert float(found[image, y, x]) == pytest.approx(norm, abs=1e-12)


def test_own_maps_where_there_are_any_and_gradient_maps_else_or_on_demand(features: Tensor) -> None:
    head, mapless = PooledHead(D, CLASSES).double().eval(), Mapless().eval()
    with torch.no_grad():
        own = label_maps(head, Features(features), [2, 1])
        both = label_maps(head, Features(features), [2, 1], gradient=True)
        only = label_maps(mapless, Features(features), [2, 1])
    assert [list(maps) for maps in (own, both, only)] == [["class"], ["class", "gradient"], ["gradient"]]
    torch.testing.assert_close(own["class"], head.class_maps(features)[:, [2, 1]].detach())
    torch.testing.assert_close(both["gradient"], gradient_maps(head, Features(features), [2, 1]))
    torch.testing.assert_close(only["gradient"], gradient_maps(mapless, Features(features), [2, 1]))
    assert not any(values.requires_grad for maps in (own, both, only) for values in maps.values())


def test_no_gradient_is_left_behind(features: Tensor) -> None:
    head = PooledHead(D, CLASSES).double().eval()
    given = features.clone().requires_grad_()
    gradient_maps(head, Features(given), [0])
    assert given.grad is None
    assert all(parameter.grad is None for parameter in head.parameters())


WITHOUT_OWN_MAPS = {"fast0tag", "cnn_rnn"}
"""Their scores are no sum over places."""


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_method_can_be_explained(name: str, tmp_path: Path) -> None:
    """Own maps and gradient maps of the whole tagger, of a convolutional and a token backbone alike."""
    states = np.random.default_rng(0).integers(-1, 2, (20, 3)).astype(np.int8)
    context = Context(LabelTable.from_dense([f"{row:02d}.png" for row in range(20)], ["a", "b", "c"], states))
    settings = {"prior": str(PRIOR)} if CATALOGUE[name].needs_prior else {}
    joint = CATALOGUE[name].joint_space
    if joint:
        towers = write_towers(tmp_path)
        kind, config = method_class(name), method_config(name, {})
        context = Context(context.labels, kind.tower_assets(config, context.labels, towers), towers)
        backbones = [create_backbone(towers, joint_space=joint)]  # type: ignore[arg-type]
    else:
        sizes = {"test_resnet": 64, "test_vit": 160}
        backbones = [create_backbone(name, pretrained=False, size=size) for name, size in sizes.items()]
    for backbone in backbones:
        torch.manual_seed(0)
        method, size = build_method(name, settings, backbone, context), backbone.spec.size
        tagger = method.tagger.eval()
        with torch.no_grad():
            places = tagger.features(torch.randn(2, 3, size, size))
            maps = label_maps(tagger.head, places, [2, 0], gradient=True)
        assert set(maps) == ({"gradient"} if name in WITHOUT_OWN_MAPS else {"class", "gradient"})
        for values in maps.values():
            assert values.shape == (2, 2, *places.maps.shape[2:])
            assert values.isfinite().all()
        assert (maps["gradient"] >= 0).all()
        assert activation_strength(places.maps).shape == (2, *places.maps.shape[2:])
