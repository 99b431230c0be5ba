"""ML-GCN's head against loops in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.graphs.label_graph import co_occurrence, ml_gcn_adjacency
from partlabel.models.heads.ml_gcn import MLGCNHead


def _head(pool: str = "max") -> MLGCNHead:
    torch.manual_seed(0)
    head = MLGCNHead(5, 4, label_features=6, hidden=7, pool=pool).double()  # type: ignore[arg-type]
    head.adjacency.copy_(torch.rand(4, 4))
    return head


@pytest.mark.parametrize("pool", ["max", "avg"])
def test_logits_against_loops(pool: str) -> None:
    head, maps = _head(pool), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    w = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    layers = [w["first"], w["second"]]
    nodes = w["label_vectors"]
    for depth, weight in enumerate(layers):
        following = np.zeros((4, weight.shape[1]))
        for c in range(4):
            for other in range(4):
                following[c] += w["adjacency"][c, other] * (nodes[other] @ weight)
        if depth == 0:
            following = np.where(following > 0, following, 0.2 * following)
        nodes = following
    logits = head(maps).logits.detach().numpy()
    for image in range(2):
        places = maps[image].flatten(1).numpy()
        pooled = places.max(1) if pool == "max" else places.mean(1)
        for c in range(4):
            np.testing.assert_allclose(logits[image, c], sum(pooled * nodes[c]), rtol=1e-10)


def test_class_maps_average_to_the_logits() -> None:
    head, maps = _head("avg"), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(head.class_maps(maps).mean((2, 3)), head(maps).logits)


def test_permuting_classes_permutes_logits() -> None:
    order = torch.tensor([2, 0, 3, 1])
    head, other, maps = _head(), _head(), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    state = head.state_dict()
    for name, axes in head.class_axes.items():
        for axis in axes:
            state[name] = state[name].index_select(axis, order)
    other.load_state_dict(state)
    torch.testing.assert_close(other(maps).logits, head(maps).logits[:, order])


def test_vectors_and_adjacency_travel_in_the_bundle(tmp_path: Path) -> None:
    states = np.random.default_rng(0).integers(-1, 2, (30, 3)).astype(np.int8)
    table = LabelTable.from_dense([f"{row}.png" for row in range(30)], ["a", "b", "c"], states)
    vectors = torch.randn(3, 11)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method(
        "ml_gcn", {"threshold": 0.5, "hidden": 16}, backbone, Context(table, {"label_vectors": vectors})
    ).eval()
    expected = ml_gcn_adjacency(co_occurrence(table), threshold=0.5)
    assert not torch.equal(expected, torch.eye(3))
    info = BundleInfo(backbone=backbone.spec, head=method.tagger.head_spec, classes=table.classes, method="ml_gcn")
    save_bundle(tmp_path, method.tagger, info)
    again, _ = load_bundle(tmp_path)
    assert torch.equal(again.head.adjacency, expected)  # type: ignore[arg-type]
    assert torch.equal(again.head.label_vectors, vectors)  # type: ignore[arg-type]
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(image).logits, method.tagger(image).logits)


def test_its_loss_is_partial_bce() -> None:
    """The reference fixture: Durand's loss, (g-weighted) batch mean 0.506003."""
    table = LabelTable.from_dense(["x", "y"], ["a", "b", "c"], [[1, -1, -1], [0, 1, 0]])
    method = build_method("ml_gcn", {}, create_backbone("test_resnet", pretrained=False, size=32), Context(table))
    logits = torch.tensor([[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]], dtype=torch.float64)
    labels = torch.from_numpy(table.dense())
    total = method.objective({"logits": logits}, labels, torch.arange(2), Clock(0, 0, 1, 1))["total"]
    assert float(total) == pytest.approx(0.50600300, abs=1e-8)


def test_wrong_settings_are_refused() -> None:
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    for settings in ({"pool": "sum"}, {"reweight": 1.0}, {"threshold": -0.1}):
        (name, value) = next(iter(settings.items()))
        with pytest.raises(UsageError, match=rf"ml_gcn: {name}: input should be .*, got {value!r}$"):
            build_method("ml_gcn", settings, backbone, Context(LabelTable.from_dense(["x"], ["a"], [[1]])))
