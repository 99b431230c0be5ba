"""SSGRL's head against loops in float64, with nothing folded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import build_method
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.graphs.label_graph import co_occurrence
from partlabel.models.heads import HeadSpec, build_head
from partlabel.models.heads.ssgrl import GatedGraph, SSGRLHead

Array = NDArray[np.float64]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _weights(module: nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def _naive_graph(w: dict[str, Array], nodes: Array, graph: Array, steps: int) -> Array:
    """One image `[C, d]`, label by label, gate by gate."""
    classes, d = nodes.shape
    for _ in range(steps):
        following = np.zeros_like(nodes)
        for c in range(classes):
            message = np.zeros(2 * d)
            for other in range(classes):
                message[:d] += graph[c, other] * nodes[other]
                message[d:] += graph[other, c] * nodes[other]
            gates = w["from_messages.weight"] @ message + w["from_messages.bias"]
            own = w["from_nodes.weight"] @ nodes[c] + w["from_nodes.bias"]
            z, r = _sigmoid(gates[:d] + own[:d]), _sigmoid(gates[d : 2 * d] + own[d:])
            reset = w["from_reset_nodes.weight"] @ (r * nodes[c]) + w["from_reset_nodes.bias"]
            following[c] = (1 - z) * nodes[c] + z * np.tanh(gates[2 * d :] + reset)
        nodes = following
    return nodes


def _naive_attention(w: dict[str, Array], places: Array, constants: Array) -> Array:
    """Softmax over places `[C, N]`, with P and w apart and with constants of their own."""
    attention = np.zeros((len(w["label_vectors"]), len(places)))
    for c, label in enumerate(w["label_vectors"]):
        for n, place in enumerate(places):
            product = np.tanh((w["image_part.weight"] @ place) * (w["label_part.weight"] @ label))
            mixed = w["mixing.weight"] @ product + constants
            attention[c, n] = w["attention.weight"][0] @ mixed + 0.7
        raised = np.exp(attention[c] - attention[c].max())
        attention[c] = raised / raised.sum()
    return attention


def _head(reduction: int | None = None, learned: bool = True) -> SSGRLHead:
    torch.manual_seed(0)
    head = (
        SSGRLHead(5, 4, label_features=6, learned_labels=learned, reduction=reduction, hidden=7, steps=3)
        .double()
        .eval()
    )
    head.graph.copy_(torch.rand(4, 4))
    if not learned:
        head.label_vectors.copy_(torch.randn(4, 6))
    if reduction:
        head.reduction[1].running_mean.normal_()  # type: ignore[index, union-attr, operator]
        head.reduction[1].running_var.uniform_(0.5, 2)  # type: ignore[index, union-attr, operator]
    return head


@pytest.mark.parametrize("reduction", [None, 3])
def test_logits_and_maps_against_loops(reduction: int | None) -> None:
    head, maps = _head(reduction), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        w, logits, class_maps = _weights(head), head(maps).logits.numpy(), head.class_maps(maps).numpy()
    constants = np.random.default_rng(0).normal(size=7)
    for image in range(2):
        places = maps[image].flatten(1).T.numpy()
        if reduction:
            scale = w["reduction.1.weight"] / np.sqrt(w["reduction.1.running_var"] + 1e-5)
            reduced = places @ w["reduction.0.weight"][:, :, 0, 0].T
            places = (reduced - w["reduction.1.running_mean"]) * scale + w["reduction.1.bias"]
        attention = _naive_attention(w, places, constants)
        np.testing.assert_allclose(class_maps[image], attention.reshape(4, 2, 3), rtol=1e-9)
        decoupled = np.stack([sum(attention[c, n] * places[n] for n in range(6)) for c in range(4)])
        graph_weights = {name.removeprefix("gated_graph."): value for name, value in w.items()}
        spread = _naive_graph(graph_weights, decoupled, w["graph"], 3)
        for c in range(4):
            feature = np.tanh(w["output.weight"] @ np.concatenate([spread[c], decoupled[c]]) + w["output.bias"])
            expected = w["class_weight"][c] @ feature + w["class_bias"][c]
            np.testing.assert_allclose(logits[image, c], expected, rtol=1e-9)


def test_pooled_places_are_the_means_of_squares() -> None:
    """What does not fill a square is left out, as in the public code's pooling."""
    head, maps = _head(3), torch.randn(2, 5, 5, 4, dtype=torch.float64)
    small = torch.zeros(2, 5, 2, 2, dtype=torch.float64)
    for row in range(2):
        for column in range(2):
            places = [maps[:, :, 2 * row + i, 2 * column + j] for i in range(2) for j in range(2)]
            small[:, :, row, column] = sum(places) / 4
    wanted, places = head(small).logits, head.class_maps(small)
    head.map_pool = 2
    torch.testing.assert_close(head(maps).logits, wanted)
    torch.testing.assert_close(head.class_maps(maps), places)
    with pytest.raises(UsageError, match="map_pool is 1 to 100, not 0"):
        SSGRLHead(5, 4, map_pool=0)


def test_gated_graph_against_loops_and_without_steps() -> None:
    torch.manual_seed(1)
    graph, nodes = torch.rand(3, 3, dtype=torch.float64), torch.randn(2, 3, 4, dtype=torch.float64)
    network = GatedGraph(4, 2).double()
    with torch.no_grad():
        spread = network(nodes, graph).numpy()
    for image in range(2):
        expected = _naive_graph(_weights(network), nodes[image].numpy(), graph.numpy(), 2)
        np.testing.assert_allclose(spread[image], expected, rtol=1e-10)
    assert torch.equal(GatedGraph(4, 0).double()(nodes, graph), nodes)


def test_squares_larger_than_the_maps_are_named() -> None:
    head = build_head(HeadSpec(kind="ssgrl", settings={"map_pool": 3, "label_features": 4, "hidden": 4}), 5, 3)
    assert head(torch.randn(2, 5, 4, 3)).logits.shape == (2, 3)
    with pytest.raises(UsageError, match="map_pool 3 does not fit maps of 4 × 2 places"):
        head(torch.randn(2, 5, 4, 2))


def test_every_weight_learns() -> None:
    """No weight is without gradient: several processes would wait for it."""
    for head in (_head(), _head(3)):
        head.train()(torch.randn(2, 5, 2, 3, dtype=torch.float64)).logits.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert "label_vectors" not in dict(_head(learned=False).named_parameters())


def test_permuting_classes_permutes_logits_and_maps() -> None:
    order = torch.tensor([2, 0, 3, 1])
    head, other, maps = _head(), _head(), torch.randn(2, 5, 2, 3, dtype=torch.float64)
    state = head.state_dict()
    for name, axes in head.class_axes.items():
        for axis in axes:
            state[name] = state[name].index_select(axis, order)
    other.load_state_dict(state)
    torch.testing.assert_close(other(maps).logits, head(maps).logits[:, order])
    torch.testing.assert_close(other.class_maps(maps), head.class_maps(maps)[:, order])


def test_vectors_and_graph_travel_in_the_bundle(tmp_path: Path) -> None:
    states = np.random.default_rng(0).integers(-1, 2, (30, 3)).astype(np.int8)
    table = LabelTable.from_dense([f"{row}.png" for row in range(30)], ["a", "b", "c"], states)
    vectors = torch.randn(3, 11)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method(
        "ssgrl", {"reduction": 8, "hidden": 16}, backbone, Context(table, {"label_vectors": vectors})
    ).eval()
    assert torch.equal(method.tagger.head.graph, co_occurrence(table))  # type: ignore[arg-type]
    assert torch.equal(method.tagger.head.label_vectors, vectors)  # type: ignore[arg-type]
    info = BundleInfo(backbone=backbone.spec, head=method.tagger.head_spec, classes=table.classes, method="ssgrl")
    save_bundle(tmp_path, method.tagger, info)
    again, _ = load_bundle(tmp_path)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(image).logits, method.tagger(image).logits)
        assert torch.equal(again.class_maps(image), method.tagger.class_maps(image))
    assert torch.equal(again.head.graph, co_occurrence(table))  # type: ignore[arg-type]


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="does not take these settings"):
        build_head(HeadSpec(kind="ssgrl", settings={"pool": "max"}), 5, 3)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    with pytest.raises(UsageError, match=r"ssgrl: hidden: input should be greater than 0, got 0$"):
        build_method("ssgrl", {"hidden": 0}, backbone, Context(LabelTable.from_dense(["x"], ["a"], [[1]])))


def test_the_label_features_of_a_worked_example() -> None:
    head = SSGRLHead(2, 2, label_features=2, hidden=2, steps=1).double()
    with torch.no_grad():
        head.label_vectors.copy_(torch.tensor([[1.0, -1.0], [0.5, 1.0]]))
        for layer in (head.image_part, head.label_part, head.mixing):
            layer.weight.copy_(torch.eye(2))
        head.attention.weight.fill_(1)
    maps = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64).reshape(1, 2, 1, 2)
    output = head(maps)
    expected = torch.tensor([[[0.84885154, 0.30229693], [0.37709182, 1.24581637]]], dtype=torch.float64)
    torch.testing.assert_close(output.extra["semantic"], expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(head.logits_of(output.extra["semantic"]), output.logits)
    assert not torch.allclose(head.logits_of(output.extra["semantic"].flip(1)), output.logits)
