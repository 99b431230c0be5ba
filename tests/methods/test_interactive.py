"""Interactive learning: the objective by explicit loops, where gradients go, the dictionary, and every switch."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from partlabel.api.train import resume, train
from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.losses.matching_pursuit import joint_matching_pursuit
from partlabel.methods.base import Clock, Context, Seen
from partlabel.methods.build import build_method
from partlabel.methods.interactive import Interactive, InteractiveConfig
from partlabel.models.encoders.build import create_backbone

CLASSES = ("a", "b", "c", "d")
CLOCK = Clock(0, 0, 1, 8)
NUMBERS = torch.arange(8)


def _table(images: int = 12) -> LabelTable:
    states = np.random.default_rng(5).integers(-1, 2, (images, 4)).astype(np.int8)
    return LabelTable.from_dense([f"{row:02d}.png" for row in range(images)], CLASSES, states)


def _labels() -> Tensor:
    return torch.from_numpy(_table().dense()[:8])


def _method(seed: int = 0, **settings: Any) -> Interactive:
    torch.manual_seed(seed)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True)
    method = build_method("interactive", settings, backbone, Context(_table())).double()
    assert isinstance(method, Interactive)
    return method


def _outputs(method: Interactive, images: int = 8) -> dict[str, Tensor]:
    """Features as after ReLU and average pooling, and their logits, as leaves."""
    features = _features()[:images]
    logits = method.tagger.head(features[:, :, None, None]).logits.detach()
    return {"logits": logits.requires_grad_(), "features": features.requires_grad_()}


def _features() -> Tensor:
    width = create_backbone("test_resnet", pretrained=False, size=32).num_features
    return torch.from_numpy(np.random.default_rng(7).random((12, width)))


def _images(method: Interactive, scale: float = 1.0) -> Iterator[Seen]:
    for start in (0, 5, 10):
        features = scale * _features()[start : start + 5].float()
        logits = torch.zeros(len(features), 4)
        yield Seen(torch.arange(start, start + len(features)), features, logits)


def _filled(method: Interactive) -> Interactive:
    method.refresh(CLOCK, lambda: _images(method))
    return method


def _by_hand(method: Interactive, outputs: dict[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
    """Both smoothness terms with dictionary="batch", c = 2 and slope 1, entry by entry, from the formula."""
    graph, squashed = method.graph, 1.5 * torch.sigmoid(outputs["logits"] - np.log(2)) - 0.5
    images, classes = labels.shape

    def known(i: int, n: int) -> float | None:
        return {1: 1.0, -1: -0.5, 0: None}[int(labels[i, n])]

    def entry(i: int, n: int, mixed: bool) -> Tensor:
        value = known(i, n)
        if value is not None:
            return torch.tensor(value, dtype=torch.float64)
        return sum((squashed[i, m] * graph[m, n] for m in range(classes)), torch.zeros(())) if mixed else squashed[i, n]

    y = torch.stack([torch.stack([entry(i, n, False) for n in range(classes)]) for i in range(images)])
    atoms = torch.stack([torch.stack([entry(i, n, True) for n in range(classes)]) for i in range(images)])
    f = outputs["features"]
    found = joint_matching_pursuit(
        y, f, atoms, f, lambda_y=1, lambda_f=0.5, steps=5, excluded=torch.eye(images, dtype=torch.bool)
    )
    of_labels, of_features = torch.zeros(()), torch.zeros(())
    for i in range(images):
        chosen = [(int(j), s) for s, j in enumerate(found.indices[i]) if j >= 0]
        for n in range(classes) if chosen else ():
            made = torch.tanh(sum((found.label_coefficients[i, s] * atoms[j, n] for j, s in chosen), torch.zeros(())))
            of_labels = of_labels + (y[i, n] - made) ** 2 / (images * classes)
        for n in range(f.shape[1]) if chosen else ():
            made = sum((found.feature_coefficients[i, s] * f[j, n] for j, s in chosen), torch.zeros(()))
            of_features = of_features + (f[i, n] - made) ** 2 / (images * f.shape[1])
    return of_labels, of_features


def test_objective_and_gradients_are_those_of_the_formula() -> None:
    """The loop takes indices and coefficients as constants; so must the gradients with respect to z, f and A."""
    method, labels = _method(), _labels()
    outputs = _outputs(method)
    losses = method.objective(outputs, labels, NUMBERS, CLOCK)
    known = labels != 0
    bce = torch.nn.functional.binary_cross_entropy_with_logits(outputs["logits"][known], (labels[known] > 0).double())
    of_labels, of_features = _by_hand(method, outputs, labels)
    torch.testing.assert_close(losses["label_smoothness"], of_labels)
    torch.testing.assert_close(losses["feature_smoothness"], of_features)
    torch.testing.assert_close(losses["total"], bce + of_labels + 0.5 * of_features)
    variables = [outputs["logits"], outputs["features"], method.graph]
    mine = torch.autograd.grad(losses["total"], variables)
    for gradient, expected in zip(
        mine, torch.autograd.grad(bce + of_labels + 0.5 * of_features, variables), strict=True
    ):
        torch.testing.assert_close(gradient, expected)
        assert gradient.abs().sum() > 0


def test_gradients_through_cached_neighbours_reach_the_head_and_the_graph_but_not_the_cache() -> None:
    """All labels of the batch are known here, so that the gradient of label smoothness comes by way of neighbours
    alone.
    """
    method = _filled(_method(dictionary="cache"))
    outputs = _outputs(method)
    labels = torch.where(_labels() == 0, 1, _labels()).to(torch.int8)
    losses = method.objective(outputs, labels, NUMBERS, CLOCK)
    head, graph = method.tagger.head.linear.weight, method.graph
    assert isinstance(head, Tensor)
    gradients = torch.autograd.grad(losses["label_smoothness"], (head, graph, outputs["logits"]), retain_graph=True)
    assert [bool(gradient.abs().sum() > 0) for gradient in gradients] == [True, True, False]
    assert torch.autograd.grad(losses["feature_smoothness"], outputs["features"])[0].abs().sum() > 0
    assert method.cache is not None
    assert not method.cache.features.requires_grad


def test_a_cache_of_the_batch_chooses_as_the_batch_does() -> None:
    """Twelve images cached, of which only the batch's eight are known to differ: with those alone both ways agree."""
    batch = _method()
    cached = _filled(_method(dictionary="cache"))
    cached.load_state_dict(batch.state_dict(), strict=False)
    assert cached.cache is not None
    outputs = {"logits": batch.tagger.head(_features()[:, :, None, None]).logits, "features": _features()}
    cached.cache.features.copy_(_features())
    labels = torch.from_numpy(_table().dense())
    one = batch.objective(outputs, labels, torch.arange(12), CLOCK)
    two = cached.objective(outputs, labels, torch.arange(12), CLOCK)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, msg=name)


def test_weights_the_graph_lacks_stay_0_and_the_others_learn() -> None:
    method = _method(graph_top=1)
    missing = ~method.graph_support
    assert missing.any()
    before = method.graph.detach().clone()
    optimizer = torch.optim.SGD([method.graph], lr=0.5)
    method.objective(_outputs(method), _labels(), NUMBERS, CLOCK)["total"].backward()
    optimizer.step()
    assert (method.graph[missing] == 0).all()
    assert (method.graph != before)[~missing].all()
    assert method.graph_support.diagonal().all()
    assert "graph" not in dict(_method(learn_graph=False).named_parameters())


def test_no_image_is_its_own_neighbour_nor_a_copy_of_it() -> None:
    method = _method(lambda_y=0, lambda_f=1)
    outputs = _outputs(method, 2)
    copies = outputs["features"].detach()[:1] * torch.tensor([[1.0], [1 + 1e-9]], dtype=torch.float64)
    losses = method.objective({**outputs, "features": copies}, _labels()[:2], NUMBERS[:2], CLOCK)
    assert losses["neighbour_share"] == 0
    moved = _method(lambda_y=0, lambda_f=1, dictionary="cache")
    moved.refresh(CLOCK, lambda: _images(moved, scale=2))  # the network has changed since: no image is near itself
    assert moved.objective(_outputs(moved), _labels(), NUMBERS, CLOCK)["feature_smoothness"] > 1e-3


def test_cache_holds_the_features_of_its_images_and_is_due_again() -> None:
    method = _filled(_method(dictionary="cache", dictionary_size=5, refresh_every=3))
    cache = method.cache
    assert cache is not None
    assert len(cache.index) == 5
    torch.testing.assert_close(cache.features, _features()[cache.index], rtol=1e-6, atol=0)
    assert cache.labels.numpy().tolist() == _table().rows(cache.index.numpy()).tolist()
    assert [method.refresh_due(CLOCK._replace(step=step)) for step in range(5)] == [True, False, False, True, False]
    fixed = _method(dictionary="fixed", refresh_every=3)
    assert [fixed.refresh_due(CLOCK._replace(step=step)) for step in range(5)] == [True, False, False, False, False]
    for settings in ({}, {"dictionary": "cache", "lambda_y": 0, "lambda_f": 0}):
        assert not _method(**settings).refresh_due(CLOCK)


def test_a_fixed_image_graph_keeps_the_neighbours_of_the_first_features() -> None:
    method = _filled(_method(dictionary="fixed"))
    features = _features()
    found = joint_matching_pursuit(
        features,
        features,
        features,
        features,
        lambda_y=0,
        lambda_f=1,
        steps=5,
        excluded=torch.eye(12, dtype=torch.bool),
    )
    assert method.neighbours.equal(found.indices)
    torch.testing.assert_close(method.coefficients, found.feature_coefficients, rtol=1e-4, atol=1e-6)
    outputs = _outputs(method)
    numbers = torch.tensor([11, 3, 4, 0, 1, 2, 5, 6])
    losses = method.objective(outputs, _labels(), numbers, CLOCK)
    near = method.cache.features[found.indices[numbers].clamp(min=0)]  # type: ignore[union-attr]
    made = (method.coefficients[numbers][:, :, None] * near).sum(1)
    torch.testing.assert_close(losses["feature_smoothness"], (outputs["features"] - made).square().mean())


def test_loss_ratio_is_measured_in_the_first_step_that_has_both_and_kept() -> None:
    method = _method(lambda_y=2, lambda_f=0.5, scale="loss_ratio")
    outputs, labels = _outputs(method), _labels()
    nothing_known = method.objective(outputs, torch.zeros_like(labels), NUMBERS, CLOCK)
    assert method.label_ratio == 0
    torch.testing.assert_close(
        nothing_known["total"], 2 * nothing_known["label_smoothness"] + 0.5 * nothing_known["feature_smoothness"]
    )
    first = method.objective(outputs, labels, NUMBERS, CLOCK)
    torch.testing.assert_close(first["total"], 3.5 * first["supervised"])
    kept = method.label_ratio.clone()
    again = method.objective({**outputs, "logits": 3 * outputs["logits"]}, labels, NUMBERS, CLOCK)
    assert method.label_ratio.equal(kept)
    expected = again["supervised"] + 2 * kept * again["label_smoothness"]
    torch.testing.assert_close(again["total"], expected + 0.5 * method.feature_ratio * again["feature_smoothness"])


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"k": 1}, "both"),
        ({"clamp": False}, "both"),
        ({"balance": True, "threshold": 0.3}, "both"),
        ({"c": 1}, "both"),
        ({"threshold": 30}, "both"),
        ({"reconstruction": "linear"}, "label_smoothness"),
        ({"slope": 2}, "label_smoothness"),
        ({"graph": "identity"}, "label_smoothness"),
        ({"graph_top": 1}, "label_smoothness"),
        ({"side_classes": ("b",)}, "both"),
        ({"lambda_y": 3}, "total"),
        ({"lambda_f": 3}, "total"),
        ({"normalization": "class"}, "supervised"),
    ],
)
def test_each_switch_changes_its_part(settings: dict[str, Any], part: str) -> None:
    usual, other = _method(), _method(**settings)
    outputs = _outputs(usual)
    before, after = (m.objective(outputs, _labels(), NUMBERS, CLOCK) for m in (usual, other))
    changed = {name for name in before if not torch.allclose(before[name], after[name])}
    assert ("supervised" in changed) == (part == "supervised")
    assert "total" in changed
    if part in {"both", "label_smoothness"}:
        assert "label_smoothness" in changed
    if part == "supervised":
        assert not changed & {"label_smoothness", "feature_smoothness"}


def test_without_smoothness_it_is_bce_of_known_cells() -> None:
    outputs = _outputs(_method())
    mine = _method(lambda_y=0, lambda_f=0).objective(outputs, _labels(), NUMBERS, CLOCK)
    torch.manual_seed(0)
    bce = build_method("bce", {}, create_backbone("test_resnet", pretrained=False, size=32), Context(_table()))
    assert mine.keys() == {"total"}
    torch.testing.assert_close(mine["total"], bce.objective(outputs, _labels(), NUMBERS, CLOCK)["total"])


def test_side_information_is_not_smoothed_and_its_magnitude_guides_the_choice() -> None:
    """Image 0 is like image 1 but for the species, which it shares with image 2."""
    labels = torch.tensor([[1, 1, -1, 1], [1, 1, -1, -1], [-1, 0, 1, 1]], dtype=torch.int8)
    outputs = {"logits": torch.zeros(3, 4, dtype=torch.float64), "features": torch.rand(3, 8, dtype=torch.float64)}
    shares = []
    for magnitude in (0.1, 10):
        method = _method(lambda_f=0, k=1, side_classes=("d",), side_magnitude=magnitude, graph="identity")
        losses = method.objective(outputs, labels, torch.arange(3), CLOCK)
        shares.append(losses["label_smoothness"].item())
    assert shares[0] < shares[1] < 1  # were the species smoothed, its magnitude alone would make it 20
    for named, message in ((("x",), "'x' is no class"), (CLASSES, "none is left")):
        with pytest.raises(UsageError, match=message):
            _method(side_classes=named)


@pytest.mark.slow
@pytest.mark.parametrize("dictionary", ["cache", "fixed"])
def test_resumed_training_goes_on_with_its_dictionary(
    dictionary: str,
    color_images: tuple[Path, LabelTable],
    partial_labels: LabelTable,
    tmp_path: Path,
    at_steps: Any,
) -> None:
    """Interrupted between two refreshes: what was cached, and the measured ratio, must come from the checkpoint."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    keep = at_steps(
        lambda done: shutil.copytree(whole, cut, ignore=shutil.ignore_patterns(".owner*")) if done == 5 else None
    )
    train(
        partial_labels,
        images=color_images[0],
        out=whole,
        reporter=keep,
        method="interactive",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        epochs=2,
        batch_size=8,
        accelerator="cpu",
        checkpoint_every=1,
        lr=0.01,
        dictionary=dictionary,
        dictionary_size=20,
        refresh_every=3,
        scale="loss_ratio",
        report=False,
    )
    resume(cut, report=False)
    one, two = (load_file(run / "model" / "model.safetensors") for run in (whole, cut))
    assert all(one[name].equal(two[name]) for name in one)


def test_trains_on_frozen_maps(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path
) -> None:
    run = train(
        partial_labels,
        images=color_images[0],
        out=tmp_path / "run",
        method="interactive",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        freeze=True,
        epochs=12,
        batch_size=8,
        accelerator="cpu",
        lr=0.01,
        report=False,
    )
    rows = run.log()
    assert {"loss_supervised", "loss_label_smoothness", "loss_feature_smoothness", "neighbour_share"} <= rows[0].keys()
    assert float(rows[-1]["loss_supervised"]) < float(rows[0]["loss_supervised"])
    assert float(rows[0]["neighbour_share"]) > 0


def test_a_graph_that_was_read_once_needs_its_file_no_more(tmp_path: Path) -> None:
    edges = tmp_path / "edges.csv"
    edges.write_text("from,to,weight\na,b,1\nb,c,0.5\n")
    settings = {"graph": str(edges)}
    config = InteractiveConfig(graph=str(edges))
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    table = _table()
    assets = Interactive.own_assets(config, table.classes)
    read = build_method("interactive", settings, backbone, Context(table)).graph
    edges.unlink()
    kept = build_method("interactive", settings, backbone, Context(table, assets)).graph
    assert torch.equal(kept, read)
    with pytest.raises(UsageError, match="nor a file of edges"):
        build_method("interactive", settings, backbone, Context(table))
    assert Interactive.own_assets(InteractiveConfig(), table.classes) == {}
