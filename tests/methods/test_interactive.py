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
from partlabel.models.graphs.smoothing_graph import smoothing_graph
from partlabel.runs.holdout import hold_out
from partlabel.runs.learned_graph import read_learned_graph
from partlabel.runs.settings import TrainSettings
from partlabel.training.optimizers import make_optimizer
from partlabel.training.scoring import seen

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


class _Look:
    """A pass over twelve images in batches of five, which counts those it is asked for."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.forwarded = scale, 0

    def __call__(self, index: Tensor | None = None) -> Iterator[Seen]:
        for part in (torch.arange(12) if index is None else index).split(5):
            self.forwarded += len(part)
            yield Seen(part, self.scale * _features()[part].float(), torch.zeros(len(part), 4))


def _filled(method: Interactive) -> Interactive:
    method.refresh(CLOCK, _Look())
    return method


def _chosen(i: int, y: Tensor, mixed: Tensor, f: Tensor, k: int = 5) -> tuple[list[int], Any, Any]:
    """Algorithm 2 of the paper for image i of a batch, with λ_y = 1 and λ_f = 0.5."""
    own, atoms, features = (tensor.detach().numpy() for tensor in (y, mixed, f))
    left, chosen, c, c_bar = (own[i], features[i]), [], np.zeros(0), np.zeros(0)
    for _ in range(k):
        scores = {
            j: (left[0] @ atoms[j]) ** 2 / (atoms[j] @ atoms[j])
            + 0.5 * (left[1] @ features[j]) ** 2 / (features[j] @ features[j])
            for j in range(len(own))
            if j != i
        }
        best = max(scores, key=lambda j: scores[j])
        if left[0] @ own[best] <= 0 or left[1] @ features[best] <= 0 or best in chosen:
            break
        chosen.append(best)
        c, c_bar = (
            np.maximum(np.linalg.lstsq(matrix[chosen].T, target, rcond=None)[0], 0)
            for matrix, target in ((atoms, own[i]), (features, features[i]))
        )
        left = own[i] - c @ atoms[chosen], features[i] - c_bar @ features[chosen]
    return chosen, c, c_bar


def _by_hand(method: Interactive, outputs: dict[str, Tensor], labels: Tensor, mixes: str) -> tuple[Tensor, ...]:
    """L_c, l_y and l_f of eqs. 1 to 6, entry by entry, as sums over images and entries."""
    graph, logits, f = method.graph, outputs["logits"], outputs["features"]
    images, classes = labels.shape
    entries = range(classes)
    stands_for = {1: torch.tensor(1.0).double(), -1: torch.tensor(-0.5).double()}
    predicted = [[1.5 / (1 + torch.exp(-logits[i, n])) - 0.5 for n in entries] for i in range(images)]
    y = [[stands_for.get(int(labels[i, n]), predicted[i][n]) for n in entries] for i in range(images)]

    def a_times(i: int, n: int) -> Tensor:
        state = int(labels[i, n])
        if mixes == "predictions" and state:
            return stands_for[state]
        mixed = y[i] if mixes == "labels" else predicted[i]
        return sum((graph[m, n] * mixed[m] for m in entries), torch.zeros(()))

    mixed = [[a_times(i, n) for n in entries] for i in range(images)]
    of_known, of_labels, of_features = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    for i in range(images):
        for n in entries:
            p = 1 / (1 + torch.exp(-logits[i, n]))
            of_known = of_known - {1: torch.log(p), -1: torch.log(1 - p), 0: 0}[int(labels[i, n])]
        chosen, c, c_bar = _chosen(i, *(torch.stack([torch.stack(row) for row in v]) for v in (y, mixed)), f)
        for n in entries if chosen else ():
            made = sum((c[s] * mixed[j][n] for s, j in enumerate(chosen)), torch.zeros(()))
            of_labels = of_labels + (y[i][n] - torch.tanh(made)) ** 2
        for n in range(f.shape[1]) if chosen else ():
            made = sum((c_bar[s] * f[j, n] for s, j in enumerate(chosen)), torch.zeros(()))
            of_features = of_features + (f[i, n] - made) ** 2
    return of_known, of_labels, of_features


@pytest.mark.parametrize("mixes", ["labels", "predictions"])
@pytest.mark.parametrize("scale", ["sum", "image_mean", "mean"])
def test_objective_and_gradients_are_those_of_the_formula(mixes: str, scale: str) -> None:
    """The loop takes indices and coefficients as constants; so must the gradients with respect to z, f and A."""
    method, labels = _method(graph_mixes=mixes, scale=scale), _labels()
    outputs = _outputs(method)
    losses = method.objective(outputs, labels, NUMBERS, CLOCK)
    images, classes, width = *labels.shape, outputs["features"].shape[1]
    divisors = {
        "sum": (1, 1, 1),
        "image_mean": (images, images, images),
        "mean": (int((labels != 0).sum()), images * classes, images * width),
    }[scale]
    parts = _by_hand(method, outputs, labels, mixes)
    of_known, of_labels, of_features = (part / divisor for part, divisor in zip(parts, divisors, strict=True))
    total = of_known + of_labels + 0.5 * of_features
    torch.testing.assert_close(losses["supervised"], of_known)
    torch.testing.assert_close(losses["label_smoothness"], of_labels)
    torch.testing.assert_close(losses["feature_smoothness"], of_features)
    torch.testing.assert_close(losses["total"], total)
    variables = [outputs["logits"], outputs["features"], method.graph]
    mine = torch.autograd.grad(losses["total"], variables)
    for gradient, expected in zip(mine, torch.autograd.grad(total, variables), strict=True):
        torch.testing.assert_close(gradient, expected)
        assert gradient.abs().sum() > 0


def test_known_labels_of_neighbours_pass_through_the_graph() -> None:
    """All labels are known, so that A has a gradient only if it mixes known labels too (eqs. 4 and 5)."""
    labels = torch.where(_labels() == 0, 1, _labels()).to(torch.int8)
    for mixes in ("labels", "predictions"):
        method = _method(graph_mixes=mixes)
        loss = method.objective(_outputs(method), labels, NUMBERS, CLOCK)["label_smoothness"]
        gradient = torch.autograd.grad(loss, method.graph)[0]
        assert (gradient.abs().sum() > 0) == (mixes == "labels")


def test_gradients_through_cached_neighbours_reach_the_head_and_the_graph_but_not_the_cache() -> None:
    """All labels of the batch are known here, so that the gradient of label smoothness comes by way of neighbours
    alone, some labels of which are not.
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
    moved.refresh(CLOCK, _Look(scale=2))  # the network has changed since: no image is near itself
    assert moved.objective(_outputs(moved), _labels(), NUMBERS, CLOCK)["feature_smoothness"] > 1e-3


def test_cache_holds_the_features_of_its_images_and_is_due_again() -> None:
    method, look = _method(dictionary="cache", dictionary_size=7, refresh_every=3), _Look()
    method.refresh(CLOCK, look)
    assert look.forwarded == 7  # a refresh costs what it fills
    cache = method.cache
    assert cache is not None
    assert len(cache.index) == 7
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
    assert (found.indices >= 0).any(1).all()
    assert method.neighbours.equal(found.indices)
    torch.testing.assert_close(method.coefficients, found.feature_coefficients, rtol=1e-4, atol=1e-6)
    outputs = _outputs(method)
    numbers = torch.tensor([11, 3, 4, 0, 1, 2, 5, 6])
    losses = method.objective(outputs, _labels(), numbers, CLOCK)
    near = method.cache.features[found.indices[numbers].clamp(min=0)]  # type: ignore[union-attr]
    made = (method.coefficients[numbers][:, :, None] * near).sum(1)
    torch.testing.assert_close(losses["feature_smoothness"], (outputs["features"] - made).square().sum())


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
        ({"candidates": "positive"}, "both"),
        ({"balance": True, "threshold": 0.3}, "both"),
        ({"lowest": -1}, "both"),
        ({"imputation": "phi"}, "both"),
        ({"threshold": 30}, "both"),
        ({"reconstruction": "linear"}, "label_smoothness"),
        ({"graph": "identity"}, "label_smoothness"),
        ({"graph_top": 1}, "label_smoothness"),
        ({"graph_mixes": "predictions"}, "label_smoothness"),
        ({"lambda_y": 3}, "total"),
        ({"lambda_f": 3}, "total"),
    ],
)
def test_each_switch_changes_its_part(settings: dict[str, Any], part: str) -> None:
    base = {"candidates": "positive"} if "clamp" in settings else {}  # else too few images are chosen to tell
    usual, other = _method(**base), _method(**base, **settings)
    outputs = _outputs(usual)
    before, after = (m.objective(outputs, _labels(), NUMBERS, CLOCK) for m in (usual, other))
    changed = {name for name in before if not torch.allclose(before[name], after[name])}
    assert "supervised" not in changed
    assert "total" in changed
    if part in {"both", "label_smoothness"}:
        assert "label_smoothness" in changed


def test_without_smoothness_it_is_bce_of_known_cells() -> None:
    outputs = _outputs(_method())
    mine = _method(lambda_y=0, lambda_f=0, scale="mean").objective(outputs, _labels(), NUMBERS, CLOCK)
    torch.manual_seed(0)
    bce = build_method("bce", {}, create_backbone("test_resnet", pretrained=False, size=32), Context(_table()))
    assert mine.keys() == {"total"}
    torch.testing.assert_close(mine["total"], bce.objective(outputs, _labels(), NUMBERS, CLOCK)["total"])


def test_images_of_one_category_are_preferred_and_the_category_is_never_learned(tmp_path: Path) -> None:
    """Image 0 has the labels of image 1 and the species of image 2; of image 3 nothing is said."""
    species = tmp_path / "species.csv"
    species.write_text("image,category\n00.png,wren\n01.png,robin\n02.png,wren\nelsewhere.png,wren\n")
    labels = torch.tensor([[1, 1, -1, 1], [1, 1, -1, 1], [1, 0, 1, 1], [1, 1, -1, -1]], dtype=torch.int8)
    vectors = torch.tensor([[1, 1, -0.5, 1], [1, 1, -0.5, 1], [1, 0.25, 1, 1], [1, 1, -0.5, -0.5]]).double()
    outputs = {"logits": torch.zeros(4, 4).double(), "features": torch.rand(4, 8).double()}
    for magnitude, near in ((0.1, 1), (10, 2)):
        method = _method(lambda_f=0, k=1, side=str(species), side_magnitude=magnitude, graph="identity")
        losses = method.objective(outputs, labels, torch.arange(4), CLOCK)
        # every image but the first has image 0 or another one for a neighbour; by hand, with a one-hot vector beside y
        beside = torch.cat([vectors, magnitude * torch.tensor([[0, 1], [1, 0], [0, 1], [0, 0]]).double()], 1)
        total = torch.zeros(()).double()
        for i in range(4):
            scores = [float((beside[i] @ b) ** 2 / (b @ b)) if j != i else -1.0 for j, b in enumerate(beside)]
            best = int(np.argmax(scores))
            assert i or best == near
            c = beside[i] @ beside[best] / (beside[best] @ beside[best])
            total += (vectors[i] - torch.tanh(c * vectors[best])).square().sum()
        torch.testing.assert_close(losses["label_smoothness"], total)
        assert losses["supervised"].item() == pytest.approx(15 * np.log(2))  # species are no labels
    assert not any("side" in name or "categor" in name for name in method.state_dict())


def test_side_information_and_graph_that_were_read_once_need_their_files_no_more(tmp_path: Path) -> None:
    edges, species = tmp_path / "edges.csv", tmp_path / "species.csv"
    edges.write_text("from,to,weight\na,b,1\nb,c,0.5\n")
    species.write_text("image,category\n" + "".join(f"{row:02d}.png,{'ab'[row % 2]}\n" for row in range(12)))
    settings = {"graph": str(edges), "side": str(species)}
    config, table = InteractiveConfig(**settings), _table()
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    assets = Interactive.own_assets(config, table)
    read = build_method("interactive", settings, backbone, Context(table))
    edges.unlink()
    species.unlink()
    kept = build_method("interactive", settings, backbone, Context(table, assets))
    assert torch.equal(kept.graph, read.graph)
    assert kept.similar.categories.tolist() == read.similar.categories.tolist() == [0, 1] * 6
    for gone, message in (({"graph": str(edges)}, "nor a file of edges"), ({"side": str(species)}, "is no file")):
        with pytest.raises(UsageError, match=message):
            build_method("interactive", gone, backbone, Context(table))
    assert Interactive.own_assets(InteractiveConfig(), table) == {}


def test_the_graph_has_a_learning_rate_of_its_own_and_no_weight_decay() -> None:
    method, settings = _method(graph_lr=0.25), TrainSettings(lr=0.01, weight_decay=0.1)
    groups = make_optimizer(method, settings).param_groups
    mine = [group for group in groups if any(parameter is method.graph for parameter in group["params"])]
    assert [(group["lr"], group["weight_decay"]) for group in mine] == [(0.25, 0)]
    assert {group["lr"] for group in groups if group is not mine[0] and group["params"]} == {0.01}
    same = make_optimizer(_method(graph_lr="lr"), settings).param_groups
    assert {group["lr"] for group in same} == {0.01}


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
    )
    rows = run.log()
    assert {"loss_supervised", "loss_label_smoothness", "loss_feature_smoothness", "neighbour_share"} <= rows[0].keys()
    assert float(rows[-1]["loss_supervised"]) < float(rows[0]["loss_supervised"])
    assert float(rows[0]["neighbour_share"]) > 0
    edges = read_learned_graph(run.path / "label_graph.csv")
    start = smoothing_graph("co_occurrence", hold_out(run.labels(), 0.1, 0).training, 50)
    names = run.labels().classes
    linked = {(names[i], names[j]) for i, j in start.nonzero().tolist() if i != j}
    assert {(edge.source, edge.target) for edge in edges} == linked
    assert linked
    for edge in edges:
        assert edge.start == pytest.approx(start[names.index(edge.source), names.index(edge.target)].item(), rel=1e-5)
        assert 0 < abs(edge.weight - edge.start) < 1e-3
    html = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Largest weights of the label graph" in html
    assert f"{edges[0].source} → {edges[0].target}" in html


def test_a_refresh_in_training_looks_at_the_images_of_the_cache_alone(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[list[int]] = []

    def counted(*given: Any, **how: Any) -> Iterator[Seen]:
        for part in seen(*given, **how):
            looked_at.append(part.index.tolist())
            yield part

    monkeypatch.setattr("partlabel.training.adapter.seen", counted)
    train(
        partial_labels,
        images=color_images[0],
        out=tmp_path / "run",
        method="interactive",
        backbone="test_resnet",
        pretrained=False,
        size=32,
        freeze=True,
        epochs=2,
        batch_size=16,
        accelerator="cpu",
        dictionary="cache",
        dictionary_size=9,
        refresh_every=3,
        report=False,
    )
    steps = 2 * -(-len(partial_labels) // 16)
    assert len(looked_at) == -(-steps // 3)
    assert all(part == looked_at[0] and len(part) == 9 for part in looked_at)
