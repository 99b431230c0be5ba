"""The co-learning head: every part by explicit loops in float64, every switch changes its part alone."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.models.heads import HEADS, HeadSpec, build_head
from partlabel.models.heads.colearning import (
    CoLearningHead,
    PlaceExpansion,
    SemanticGuidance,
    SemanticRelatedFeatures,
    region_logits,
)
from partlabel.models.position_code import sine_positions

OFF: dict[str, Any] = {"region": False, "self_attention": False, "sgfe": False, "srfl": False, "coarse": False}
ROWS: dict[str, dict[str, Any]] = {"base": OFF}
for switch, row in (
    ("region", "+region"),
    ("self_attention", "+SA"),
    ("sgfe", "+SGFE"),
    ("srfl", "+SRFL"),
    ("coarse", "+CL"),
):
    ROWS[row] = {**list(ROWS.values())[-1], switch: True}
CLIP: dict[str, Any] = {"feed_forward": 12, "expansion": 10, "image_vector": "encoder"}
SMALL: dict[str, Any] = {"label_features": 3, "hidden": 6, "heads": 2}


def _head(classes: int = 4, **settings: Any) -> CoLearningHead:
    torch.manual_seed(0)
    head = CoLearningHead(8, classes, **{**SMALL, **settings}).double().eval()
    for name, buffer in head.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return head


def _maps(batch: int = 2, height: int = 2, width: int = 3) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, 8, height, width, dtype=torch.float64)


def _gelu(x: Tensor) -> Tensor:
    return torch.tensor([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], dtype=x.dtype)


def _naive_srfl(state: dict[str, Tensor], labels: Tensor, image: Tensor, training: bool = False) -> Tensor:
    """Concatenate, W1, batch norm over images and labels, GELU, W2."""
    rows = [
        [state["inner.weight"] @ torch.cat([label, one]) + state["inner.bias"] for label in labels] for one in image
    ]
    every = torch.stack([x for of_image in rows for x in of_image])
    mean, variance = (
        (every.mean(0), every.var(0, correction=0))
        if training
        else (state["norm.running_mean"], state["norm.running_var"])
    )
    out = [
        [
            state["outer.weight"]
            @ _gelu((x - mean) / (variance + 1e-5).sqrt() * state["norm.weight"] + state["norm.bias"])
            + state["outer.bias"]
            for x in of_image
        ]
        for of_image in rows
    ]
    return torch.stack([torch.stack(of_image) for of_image in out])


def _naive_linear(state: dict[str, Tensor], labels: Tensor, image: Tensor) -> Tensor:
    """One linear map of each pair of a label and an image."""
    rows = [
        [state["linear.weight"] @ torch.cat([label, one]) + state["linear.bias"] for label in labels] for one in image
    ]
    return torch.stack([torch.stack(row) for row in rows])


def _naive_guidance(state: dict[str, Tensor], places: Tensor, labels: Tensor, temperature: float = 1) -> Tensor:
    """w · (P tanh(U f ∘ V s) + b) + b' for every pair, then a softmax over the labels at each place."""
    out = torch.zeros(len(places), len(labels), dtype=places.dtype)
    for p, place in enumerate(places):
        for c, label in enumerate(labels):
            joined = torch.tanh((state["image_part.weight"] @ place) * (state["label_part.weight"] @ label))
            mixed = state["mixing.weight"] @ joined + state["mixing.bias"]
            out[p, c] = (state["output.weight"] @ mixed + state["output.bias"])[0] / temperature
        out[p] = out[p].exp() / out[p].exp().sum()
    return out


def _naive_region_logits(scores: Tensor) -> Tensor:
    logits = []
    for of_class in scores.T.tolist():
        total = sum(math.exp(score) for score in of_class)
        logits.append(sum(math.exp(score) / total * score for score in of_class))
    return torch.tensor(logits, dtype=scores.dtype)


def _below(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}


def _naive(
    head: CoLearningHead, settings: dict[str, Any], maps: Tensor, images: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Logits, coarse logits and class maps of one image at a time; the encoder has a test of its own."""
    state = {name: value.detach() for name, value in head.state_dict().items()}
    logits, coarse, class_maps = [], [], []
    for image, vector in zip(maps, images, strict=True):
        places = torch.stack([image[:, y, x] for y in range(maps.shape[2]) for x in range(maps.shape[3])])
        if settings.get("reduction"):
            kernel = state["reduction.weight"][:, :, 0, 0]
            places = torch.stack([kernel @ place + state["reduction.bias"] for place in places])
        if settings["self_attention"]:
            codes = sine_positions(maps.shape[2], maps.shape[3], places.shape[1], dtype=places.dtype)
            codes = codes if settings.get("positions", True) else torch.zeros_like(places)
            places = head.encoder(places[None], codes)[0].detach()  # type: ignore[misc]
            for number in range(1, settings.get("layers", 1)):
                places = head.further_encoders[number - 1](places[None], codes)[0].detach()
        if settings.get("expansion"):
            own = _below(state, "expansion")
            wide = [own["linear.weight"] @ place + own["linear.bias"] - own["norm.running_mean"] for place in places]
            scale = own["norm.weight"] / (own["norm.running_var"] + 1e-5).sqrt()
            places = torch.stack([place * scale + own["norm.bias"] for place in wide])
        told = list(places)
        if settings["sgfe"]:
            labels = state["label_vectors"]
            if settings["srfl"]:
                own = _below(state, "semantics")
                linear = settings.get("srfl_projection") == "linear"
                seen = vector if settings.get("image_vector") == "encoder" else places.mean(0)
                labels = (_naive_linear if linear else _naive_srfl)(own, labels, seen[None])[0]
            attention = _naive_guidance(_below(state, "guidance"), places, labels, settings.get("temperature", 1))
            fused = [
                torch.cat([sum(a * s for a, s in zip(shares, labels, strict=True)), place])
                for shares, place in zip(attention, places, strict=True)
            ]
            told = [_gelu(state["mlp.0.weight"] @ g + state["mlp.0.bias"]) for g in fused]
        scores = torch.stack([state["classifier.weight"] @ x + state["classifier.bias"] for x in told])
        logits.append(_naive_region_logits(scores) if settings["region"] else scores.max(0).values)
        weights = scores.exp() / scores.exp().sum(0) if settings["region"] else scores
        class_maps.append(weights.T.reshape(-1, maps.shape[2], maps.shape[3]))
        if settings["coarse"]:
            coarse.append(
                torch.stack([state["coarse.weight"] @ x + state["coarse.bias"] for x in places]).max(0).values
            )
    return torch.stack(logits), torch.stack(coarse) if coarse else None, torch.stack(class_maps)


@pytest.mark.parametrize(
    "row",
    [
        *ROWS,
        "sgfe without region",
        "reduction",
        "temperature",
        "layers",
        "no positions",
        "linear SRFL",
        "expansion",
        "expansion of reduced maps",
        "image vector",
        "CLIP",
        "CLIP, linear SRFL",
    ],
)
def test_whole_head_by_explicit_loops(row: str) -> None:
    settings = {
        **ROWS,
        "sgfe without region": {**ROWS["+CL"], "region": False},
        "reduction": {**ROWS["+CL"], "reduction": 4},
        "temperature": {**ROWS["+CL"], "temperature": 0.3},
        "layers": {**ROWS["+CL"], "layers": 3},
        "no positions": {**ROWS["+CL"], "positions": False},
        "linear SRFL": {**ROWS["+CL"], "srfl_projection": "linear"},
        "expansion": {**ROWS["+CL"], "expansion": 10},
        "expansion of reduced maps": {**ROWS["+CL"], "expansion": 10, "reduction": 4},
        "image vector": {**ROWS["+CL"], "image_vector": "encoder"},
        "CLIP": {**ROWS["+CL"], **CLIP},
        "CLIP, linear SRFL": {**ROWS["+CL"], **CLIP, "srfl_projection": "linear"},
    }[row]
    head, maps = _head(**settings), _maps()
    for name, parameter in head.named_parameters():
        if name.startswith("expansion."):
            torch.nn.init.normal_(parameter)
    images = torch.randn(2, 8, dtype=torch.float64)
    logits, coarse, class_maps = _naive(head, settings, maps, images)
    found = head(maps, images)
    torch.testing.assert_close(found.logits, logits)
    torch.testing.assert_close(head.class_maps(maps, images), class_maps)
    if coarse is None:
        assert found.extra == {}
    else:
        torch.testing.assert_close(found.extra["coarse"], coarse)


@pytest.mark.parametrize("training", [False, True])
def test_label_features_by_explicit_loops(training: bool) -> None:
    torch.manual_seed(0)
    srfl = SemanticRelatedFeatures(3, 8, 8).double().train(training)
    torch.nn.init.normal_(srfl.norm.weight), torch.nn.init.normal_(srfl.norm.bias)
    labels, image = torch.randn(4, 3, dtype=torch.float64), torch.randn(2, 8, dtype=torch.float64)
    state = {name: value.clone() for name, value in srfl.state_dict().items()}
    torch.testing.assert_close(srfl(labels, image), _naive_srfl(state, labels, image, training))


def test_expansion_in_training_is_over_images_and_places() -> None:
    torch.manual_seed(0)
    expansion = PlaceExpansion(3, 4).double().train()
    places = torch.randn(2, 5, 3, dtype=torch.float64)
    state = {name: value.clone() for name, value in expansion.state_dict().items()}
    wide = [state["linear.weight"] @ place + state["linear.bias"] for image in places for place in image]
    mean = sum(wide) / 10
    variance = sum((one - mean) ** 2 for one in wide) / 10
    expected = torch.stack([(one - mean) / (variance + 1e-5).sqrt() for one in wide]).reshape(2, 5, 4)
    torch.testing.assert_close(expansion(places), expected)


def test_parameters_of_the_published_head_on_clip() -> None:
    """Counted by hand from the official code for 80 classes: encoder, expansion, SRFL, SGFE, MLP, coarse head."""
    with torch.device("meta"):
        head = CoLearningHead(
            512, 80, label_features=768, learned_labels=False, feed_forward=2048, expansion=2048, image_vector="encoder"
        )
    encoder = 4 * (512 * 512 + 512) + (512 * 2048 + 2048) + (2048 * 512 + 512) + 2 * 2 * 512
    expansion = 512 * 2048 + 2048 + 2 * 2048
    srfl = 1280 * 1280 + 1280 + 2 * 1280 + 1280 * 2048 + 2048
    sgfe = 2 * 2048 * 1024 + (1024 * 1024 + 1024) + (1024 + 1)
    mlp = 4096 * 4096 + 4096 + 4096 * 80 + 80
    coarse = 2048 * 80 + 80
    assert sum(parameter.numel() for parameter in head.parameters()) == encoder + expansion + srfl + sgfe + mlp + coarse


@pytest.mark.parametrize("labelled", [1, 2])
def test_guidance_and_all_its_gradients_are_those_of_the_unfolded_form(labelled: int) -> None:
    torch.manual_seed(0)
    sgfe = SemanticGuidance(8, 3, 5).double()
    places = torch.randn(2, 6, 8, dtype=torch.float64, requires_grad=True)
    labels = torch.randn(labelled, 4, 3, dtype=torch.float64, requires_grad=True)
    found = sgfe(places, labels)
    joined = torch.tanh(sgfe.image_part(places)[:, :, None] * sgfe.label_part(labels)[:, None])
    unfolded = sgfe.output(sgfe.mixing(joined)).squeeze(3).softmax(2)
    torch.testing.assert_close(found, unfolded)
    state = {name: value.detach() for name, value in sgfe.state_dict().items()}
    for image in range(2):
        own = labels[image if labelled == 2 else 0].detach()
        torch.testing.assert_close(found[image].detach(), _naive_guidance(state, places[image].detach(), own))
    parts, seen = [places, labels, *sgfe.parameters()], torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, parts, seen), torch.autograd.grad(unfolded, parts, seen), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_region_logits_by_explicit_loops() -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 5, 3, dtype=torch.float64) * 3
    expected = torch.stack([_naive_region_logits(image) for image in scores])
    torch.testing.assert_close(region_logits(scores), expected)
    assert (region_logits(scores) <= scores.amax(1)).all()
    assert (region_logits(scores) >= scores.mean(1)).all()


PARTS = {
    "base": {"classifier.weight", "classifier.bias"},
    "+region": set(),
    "+SA": {"encoder"},
    "+SGFE": {"label_vectors", "guidance", "mlp"},
    "+SRFL": {"semantics"},
    "+CL": {"coarse.weight", "coarse.bias"},
}


def test_each_row_of_the_ablation_adds_the_parameters_of_its_part_alone() -> None:
    before: set[str] = set()
    for row, settings in ROWS.items():
        names = set(_head(**settings).state_dict())
        added = names - before
        assert before <= names, row
        assert all(name in PARTS[row] or name.split(".")[0] in PARTS[row] for name in added), (row, added)
        assert bool(added) == bool(PARTS[row]), row
        before = names


def _with_weights_of(other: CoLearningHead, **settings: Any) -> CoLearningHead:
    head = _head(**settings)
    own = other.state_dict()
    head.load_state_dict({name: own[name] for name in head.state_dict()})
    return head


def test_where_there_is_one_place_region_aggregation_changes_nothing() -> None:
    full = _head(**ROWS["+CL"])
    plain = _with_weights_of(full, **{**ROWS["+CL"], "region": False})
    torch.testing.assert_close(full(_maps(2, 1, 1)).logits, plain(_maps(2, 1, 1)).logits)
    assert not torch.allclose(full(_maps()).logits, plain(_maps()).logits)
    torch.testing.assert_close(full(_maps()).extra["coarse"], plain(_maps()).extra["coarse"])


def test_self_attention_only_replaces_the_places() -> None:
    maps = _maps()
    full = _head(**{**ROWS["+SA"], "coarse": True})
    plain = _with_weights_of(full, **{**ROWS["+region"], "coarse": True})
    codes = sine_positions(2, 3, 8, dtype=torch.float64)
    assert full.encoder is not None
    places = full.encoder(maps.flatten(2).transpose(1, 2), codes)
    encoded = places.transpose(1, 2).reshape_as(maps)
    torch.testing.assert_close(full(maps).logits, plain(encoded).logits)
    torch.testing.assert_close(full(maps).extra["coarse"], plain(encoded).extra["coarse"])


def test_srfl_that_returns_the_label_vectors_changes_nothing() -> None:
    """With label vectors as long as a place is wide, the rows with and without SRFL have the same other weights."""
    full = _head(**ROWS["+SRFL"], label_features=8)
    plain = _with_weights_of(full, **ROWS["+SGFE"], label_features=8)
    assert not torch.allclose(full(_maps()).logits, plain(_maps()).logits)
    full.semantics.forward = lambda labels, image: labels.expand(len(image), -1, -1)  # type: ignore[union-attr,assignment,method-assign]
    torch.testing.assert_close(full(_maps()).logits, plain(_maps()).logits)


def test_the_coarse_head_does_not_touch_the_logits() -> None:
    full = _head(**ROWS["+CL"])
    plain = _with_weights_of(full, **ROWS["+SRFL"])
    torch.testing.assert_close(full(_maps()).logits, plain(_maps()).logits, rtol=0, atol=0)
    assert plain(_maps()).extra == {}


def test_class_maps_say_what_they_promise() -> None:
    maps = _maps()
    region = _head(**ROWS["+SA"])
    torch.testing.assert_close(region.class_maps(maps).sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))
    base = _head(**ROWS["base"])
    torch.testing.assert_close(base.class_maps(maps).amax((2, 3)), base(maps).logits)
    full = _head(**ROWS["+CL"])
    torch.testing.assert_close(full.class_maps(maps).sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))


def test_further_maps_are_the_product_with_the_attention_and_the_coarse_logits_of_each_place() -> None:
    maps, head = _maps(), _head(**ROWS["+CL"])
    found = head.other_maps(maps)
    assert found.keys() == {"attended", "coarse"}
    torch.testing.assert_close(found["coarse"].amax((2, 3)), head(maps).extra["coarse"])
    assert head.guidance is not None
    seen: list[Tensor] = []
    head.guidance.register_forward_hook(lambda _, __, attention: seen.append(attention))
    own = head.class_maps(maps)
    for image in range(2):
        for c in range(4):
            for y in range(2):
                for x in range(3):
                    product = own[image, c, y, x] * seen[0][image, 3 * y + x, c]
                    torch.testing.assert_close(found["attended"][image, c, y, x], product)
    assert _head(**ROWS["+SRFL"]).other_maps(maps).keys() == {"attended"}
    assert _head(**ROWS["+SA"]).other_maps(maps) == {}


@pytest.mark.parametrize(("dropout", "mlp_dropout"), [(0, 0), (0.5, 0), (0, 0.5)])
def test_dropout_of_both_kinds_is_taken_from_the_settings(dropout: float, mlp_dropout: float) -> None:
    head, maps = _head(dropout=dropout, mlp_dropout=mlp_dropout).train(), _maps()
    assert torch.equal(head(maps).logits, head(maps).logits) == (dropout + mlp_dropout == 0)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("row", ROWS)
def test_bfloat16_and_few_of_everything(row: str, classes: int) -> None:
    head = _head(classes, **ROWS[row]).float()
    maps = _maps(1, 1, 2).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(maps)
        found.logits.float().sum().backward()
    torch.testing.assert_close(found.logits.float(), head(maps).logits, rtol=0.05, atol=0.05)
    gradients = [parameter.grad for parameter in head.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_places_are_told_apart_in_half_precision_as_well() -> None:
    """Position codes are those of float32, whatever type autocast gives the maps."""
    head = CoLearningHead(1024, 3, sgfe=False, srfl=False, coarse=False)
    assert head.encoder is not None
    seen = []
    head.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    with torch.autocast("cpu", torch.bfloat16):
        head(torch.randn(1, 1024, 14, 14, dtype=torch.bfloat16))
    torch.testing.assert_close(seen[0], sine_positions(14, 14, 1024))


def test_all_parameters_learn() -> None:
    """Two processes hang if a parameter is left out; constants that cancel have a gradient of zero."""
    head = _head().train()
    found = head(_maps())
    (found.logits.sum() + found.extra["coarse"].sum()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_label_vectors_are_learned_or_given() -> None:
    assert "label_vectors" in dict(_head().named_parameters())
    given = _head(learned_labels=False)
    assert "label_vectors" in dict(given.named_buffers())
    assert given.label_vectors.shape == (4, 3)
    assert "label_vectors" not in _head(**ROWS["+SA"]).state_dict()


def test_a_spec_builds_it_and_what_does_not_fit_is_refused() -> None:
    spec = HeadSpec(kind="colearning", settings=json.loads(json.dumps({**ROWS["+CL"], **SMALL, "reduction": 4})))
    assert isinstance(build_head(spec, 8, 4), HEADS["colearning"])
    with pytest.raises(UsageError, match="srfl off too, or sgfe on"):
        CoLearningHead(8, 4, sgfe=False)
    with pytest.raises(UsageError, match="12 channels with 8 heads"):
        CoLearningHead(12, 4)
    CoLearningHead(12, 4, reduction=8)
