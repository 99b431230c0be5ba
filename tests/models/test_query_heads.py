"""ML-Decoder's and Query2Label's heads against loops in float64, head by head, place by place."""

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from partlabel.errors import UsageError
from partlabel.models.heads import HeadSpec, build_head
from partlabel.models.heads.ml_decoder import MLDecoderHead, group_logits
from partlabel.models.heads.query2label import Query2LabelHead
from partlabel.models.heads.twin import TwinHead

Array = NDArray[np.float64]


def _weights_of(module: nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


def _part(w: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)}


def _layer_norm(w: dict[str, Array], prefix: str, x: Array) -> Array:
    centred = x - x.mean()
    return np.asarray(w[f"{prefix}.weight"] * centred / np.sqrt((centred**2).mean() + 1e-5) + w[f"{prefix}.bias"])


def _attention(w: dict[str, Array], heads: int, queries: Array, keys: Array, values: Array) -> tuple[Array, Array]:
    """What each query gets `[K, d]`, and how it looks at places `[K, N]`, as the mean over heads."""
    d = queries.shape[1]
    size = d // heads
    (wq, wk, wv), (bq, bk, bv) = np.split(w["in_proj_weight"], 3), np.split(w["in_proj_bias"], 3)
    got, looks = np.zeros_like(queries), np.zeros((len(queries), len(keys)))
    for k, query in enumerate(queries):
        joined = np.zeros(d)
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            asked = (wq @ query + bq)[rows]
            scores = np.array([asked @ (wk @ key + bk)[rows] / size**0.5 for key in keys])
            share = np.exp(scores - scores.max())
            share /= share.sum()
            for n, value in enumerate(values):
                joined[rows] += share[n] * (wv @ value + bv)[rows]
            looks[k] += share / heads
        got[k] = w["out_proj.weight"] @ joined + w["out_proj.bias"]
    return got, looks


def _feed_forward(w: dict[str, Array], x: Array) -> Array:
    inner = np.maximum(w["feed_forward.0.weight"] @ x + w["feed_forward.0.bias"], 0)
    return np.asarray(w["feed_forward.3.weight"] @ inner + w["feed_forward.3.bias"])


def _post_norm(w: dict[str, Array], heads: int, queries: Array, keys: Array, values: Array, kept: Array) -> list[Array]:
    """A post-norm layer: what `kept` becomes `[K, d]`, and the attention."""
    got, looks = _attention(_part(w, "attention."), heads, queries, keys, values)
    out = np.zeros_like(kept)
    for k in range(len(kept)):
        middle = _layer_norm(w, "attention_norm", kept[k] + got[k])
        out[k] = _layer_norm(w, "output_norm", middle + _feed_forward(w, middle))
    return [out, looks]


def _randomised(head: nn.Module) -> Any:
    """In float64, with norms and biases that do something."""
    torch.manual_seed(3)
    for name, parameter in head.named_parameters():
        if parameter.dim() == 1:
            parameter.data = torch.randn_like(parameter) * 0.3 + ("norm.weight" in name)
    return head.double().eval()


def _maps(features: int = 5) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, features, 2, 3, dtype=torch.float64)


def _decoder(w: dict[str, Array], places: Array, queries: Array) -> tuple[Array, Array]:
    """ML-Decoder's queries of one image after its layer, and how they look at places."""
    memory = np.maximum(places @ w["embed.weight"].T + w["embed.bias"], 0)
    normed = np.stack([_layer_norm(w, "query_norm", query + query) for query in queries])
    answers, looks = _post_norm(_part(w, "layer."), 2, normed, memory, memory, normed)
    return answers, looks


@pytest.mark.parametrize(("groups", "classes"), [(100, 4), (2, 5), (3, 7), (4, 5)])
def test_ml_decoder_against_loops(groups: int, classes: int) -> None:
    torch.manual_seed(0)
    head = _randomised(MLDecoderHead(5, classes, groups=groups, width=6, heads=2, feed_forward=7))
    maps = _maps()
    with torch.no_grad():
        w, logits = _weights_of(head), head(maps).logits.numpy()
    per_query = math.ceil(classes / min(groups, classes))
    for image in range(2):
        answers, looks = _decoder(w, maps[image].flatten(1).T.numpy(), w["queries"])
        for c in range(classes):
            expected = w["group_weight"][c] @ answers[c // per_query] + w["group_bias"][c]
            np.testing.assert_allclose(logits[image, c], expected, rtol=1e-9)
        assert head.has_class_maps == (per_query == 1)
        if head.has_class_maps:
            with torch.no_grad():
                found = head.class_maps(maps)[image].numpy()
            np.testing.assert_allclose(found, looks.reshape(classes, 2, 3), rtol=1e-9)
            np.testing.assert_allclose(found.sum((1, 2)), 1)


@pytest.mark.parametrize("learned", [True, False])
def test_ml_decoder_with_queries_from_words_against_loops(learned: bool) -> None:
    torch.manual_seed(0)
    head = _randomised(
        MLDecoderHead(5, 4, width=6, heads=2, feed_forward=7, queries="words", label_features=3, learned_labels=learned)
    )
    vectors = torch.randn(4, 3, dtype=torch.float64)
    head.label_vectors.data.copy_(vectors)
    maps = _maps()
    with torch.no_grad():
        w, logits = _weights_of(head), head(maps).logits.numpy()
    assert ("label_vectors" in dict(head.named_parameters())) == learned
    for image in range(2):
        queries = np.stack([np.maximum(w["word_part.weight"] @ v + w["word_part.bias"], 0) for v in vectors.numpy()])
        answers, _ = _decoder(w, maps[image].flatten(1).T.numpy(), queries)
        for c in range(4):
            expected = w["group_weight"][0] @ answers[c] + w["group_bias"][0]
            np.testing.assert_allclose(logits[image, c], expected, rtol=1e-9)


def test_nothing_but_its_vector_belongs_to_a_class_whose_query_is_made_from_words() -> None:
    """So a class without any label is scored by the vector of its name, and no class by that of another."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"width": 6, "heads": 2, "feed_forward": 7, "queries": "words", "label_features": 3}
    few = _randomised(MLDecoderHead(5, 2, **settings, learned_labels=False))
    more = _randomised(MLDecoderHead(5, 3, **settings, learned_labels=False))
    vectors = torch.randn(3, 3, dtype=torch.float64)
    few.label_vectors.copy_(vectors[:2])
    state = {**few.state_dict(), "label_vectors": vectors}
    more.load_state_dict(state)
    torch.testing.assert_close(more(_maps()).logits[:, :2], few(_maps()).logits)


def test_group_head_of_the_reference() -> None:
    """K 2, d 2, f 2, C 3: W by group is [[[1, 0], [.5, -1]], [[2, 1], [0, 3]]]."""
    queries = torch.tensor([[[1.0, 2.0], [-1.0, 0.5]]])
    by_group = torch.tensor([[[1.0, 0.0], [0.5, -1.0]], [[2.0, 1.0], [0.0, 3.0]]])
    rows = by_group.transpose(1, 2).reshape(4, 2)[:3]
    torch.testing.assert_close(group_logits(queries, rows, torch.zeros(3)), torch.tensor([[2.0, -2.0, -2.0]]))
    torch.testing.assert_close(group_logits(queries, rows, torch.arange(3.0)), torch.tensor([[2.0, -1.0, 0.0]]))


def test_first_weights_of_ml_decoder() -> None:
    """Queries from N(0, 1), kept unless they are to be learned; the group head as Xavier-normal of [K, width, f]."""
    torch.manual_seed(0)
    head = MLDecoderHead(5, 4000, groups=100, width=96, heads=2, feed_forward=7)
    assert head.queries.shape == (100, 96)
    assert not head.queries.requires_grad
    assert abs(float(head.queries.detach().std()) - 1) < 0.03
    by_group = torch.empty(100, 96, 40)
    nn.init.xavier_normal_(by_group)
    assert float(head.group_weight.detach().std()) == pytest.approx(float(by_group.std()), rel=0.02)
    assert not head.group_bias.any()
    assert MLDecoderHead(5, 4, width=8, heads=2, feed_forward=7, queries="learned").queries.requires_grad


def test_dropout_falls_on_a_copy_of_each_image_s_queries_before_their_norm() -> None:
    torch.manual_seed(0)
    head, maps = MLDecoderHead(5, 3, width=64, heads=2, feed_forward=7, dropout=0.5).train(), _maps().float()
    with torch.no_grad():
        torch.manual_seed(7)
        queries, _ = head._asked(maps)
        torch.manual_seed(7)
        lost = nn.functional.dropout(head.queries.expand(2, -1, -1), 0.5)
        torch.testing.assert_close(queries, torch.layer_norm(head.queries + lost, (64,)))
        assert not torch.allclose(queries[0], queries[1])
        still, _ = head.eval()._asked(maps)
    torch.testing.assert_close(still[0], torch.layer_norm(2 * head.queries, (64,)))


def test_ml_decoder_of_ten_thousand_classes() -> None:
    start = time.monotonic()
    head = MLDecoderHead(8, 10_000).eval()
    assert head.queries.shape == (100, 768)
    with torch.no_grad():
        logits = head(torch.randn(1, 8, 2, 2)).logits
    assert logits.shape == (1, 10_000)
    assert time.monotonic() - start < 20


def test_queries_that_no_class_reads_are_left_out() -> None:
    """101 classes of 100 groups are two each, for which 51 queries do."""
    assert MLDecoderHead(5, 101, width=8, heads=2, feed_forward=7).queries.shape == (51, 8)
    assert MLDecoderHead(5, 100, width=8, heads=2, feed_forward=7).queries.shape == (100, 8)


def test_classes_of_a_group_can_change_places() -> None:
    head = _randomised(MLDecoderHead(5, 6, groups=3, width=8, heads=2, feed_forward=7))
    other = _randomised(MLDecoderHead(5, 6, groups=3, width=8, heads=2, feed_forward=7))
    order = torch.tensor([1, 0, 2, 3, 5, 4])
    state = head.state_dict()
    assert set(head.class_axes) == {"group_weight", "group_bias"}
    for name in head.class_axes:
        state[name] = state[name][order]
    other.load_state_dict(state)
    torch.testing.assert_close(other(_maps()).logits, head(_maps()).logits[:, order])


def _sizes(classes: int, **settings: Any) -> MLDecoderHead:
    return MLDecoderHead(5, classes, **{"width": 8, "heads": 2, "feed_forward": 7, **settings})


@pytest.mark.parametrize(
    ("mine", "theirs", "classes", "alike"),
    [
        ({}, {}, (0, 3), True),  # each has its query
        ({"groups": 2}, {"groups": 2}, (0, 1), True),  # the first group of both
        ({"groups": 2}, {"groups": 2}, (0, 2), False),  # the first and the second
        ({"groups": 2}, {}, (0, 0), False),
        ({"groups": 3}, {"groups": 2}, (0, 0), True),  # two classes a query and two queries, however it was said
        ({"queries": "words"}, {"queries": "words"}, (0, 3), True),
        ({"queries": "words"}, {}, (0, 0), False),
        ({"queries": "learned"}, {}, (1, 3), True),
    ],
)
def test_what_a_class_has_of_its_own_means_the_same_beside_the_same_query(
    mine: dict[str, Any], theirs: dict[str, Any], classes: tuple[int, int], alike: bool
) -> None:
    assert _sizes(4, **mine).reads_alike(_sizes(4, **theirs), *classes) == alike


def test_rows_of_groups_of_other_sizes_are_not_alike() -> None:
    assert not _sizes(9, groups=3).reads_alike(_sizes(6, groups=3), 0, 0)
    assert not _sizes(4, groups=2).reads_alike(_sizes(6, groups=3), 0, 0)
    assert not _sizes(4).reads_alike(Query2LabelHead(8, 4, heads=2, feed_forward=7), 0, 0)
    assert Query2LabelHead(8, 4, heads=2, feed_forward=7).reads_alike(_sizes(4), 0, 3)
    spec = {"kind": "ml_decoder", "settings": {"width": 8, "heads": 2, "feed_forward": 7, "groups": 2}}
    one, two = TwinHead(5, 4, spec), TwinHead(5, 4, spec)
    assert one.reads_alike(two, 0, 1)
    assert not one.reads_alike(two, 0, 2)
    assert one.reads_alike(_sizes(4), 0, 2)


def _sine(rows: int, columns: int, d: int) -> Array:
    code = np.zeros((rows * columns, d))
    half = d // 2
    for y in range(rows):
        for x in range(columns):
            for start, angle in ((0, (y + 1) / rows), (half, (x + 1) / columns)):
                for i in range(half // 2):
                    turned = 2 * np.pi * angle / 10000 ** (2 * i / half)
                    code[y * columns + x, start + 2 * i : start + 2 * i + 2] = np.sin(turned), np.cos(turned)
    return code


@pytest.mark.parametrize(
    ("features", "settings"),
    [
        (8, {}),
        (5, {"reduction": 8}),
        (8, {"encoder_layers": 0, "decoder_layers": 1}),
        (8, {"encoder_layers": 2, "decoder_layers": 3}),
    ],
)
def test_query2label_against_loops(features: int, settings: dict[str, Any]) -> None:
    """Targets start at 0; embeddings are added to queries only, the code of places to keys only."""
    torch.manual_seed(0)
    head = _randomised(Query2LabelHead(features, 3, heads=2, feed_forward=7, **settings))
    maps = _maps(features)
    with torch.no_grad():
        w, logits, class_maps = _weights_of(head), head(maps).logits.numpy(), head.class_maps(maps).numpy()
    code, embedded = _sine(2, 3, 8), w["label_embeddings"]
    for image in range(2):
        memory = maps[image].flatten(1).T.numpy()
        if "reduction" in settings:
            memory = memory @ w["reduction.weight"].T + w["reduction.bias"]
        for layer in range(settings.get("encoder_layers", 1)):
            coded = memory + code
            memory, _ = _post_norm(_part(w, f"encoder.{layer}."), 2, coded, coded, memory, memory)
        targets = np.zeros((3, 8))
        for layer in range(settings.get("decoder_layers", 2)):
            own = _part(w, f"decoder.{layer}.")
            targets, looks = _post_norm(own, 2, targets + embedded, memory + code, memory, targets)
        np.testing.assert_allclose(class_maps[image], looks.reshape(3, 2, 3), rtol=1e-8)
        for c in range(3):
            expected = w["query_weight"][c] @ _layer_norm(w, "output_norm", targets[c]) + w["query_bias"][c]
            np.testing.assert_allclose(logits[image, c], expected, rtol=1e-8)


def test_classes_of_query2label_do_not_see_each_other() -> None:
    head = _randomised(Query2LabelHead(8, 3, heads=2, feed_forward=7))
    before = head(_maps(8)).logits
    with torch.no_grad():
        head.label_embeddings[1] += 1
        head.query_weight[1] += 1
    after = head(_maps(8)).logits
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]], rtol=0, atol=0)
    assert not torch.allclose(after[:, 1], before[:, 1])


def test_first_weights_of_query2label() -> None:
    """Xavier-uniform in all matrices of the transformer, N(0, 1) for the embeddings, ±1/√d for the last layer."""
    torch.manual_seed(0)
    head = Query2LabelHead(64, 200, heads=2, feed_forward=96)
    assert abs(float(head.label_embeddings.detach().std()) - 1) < 0.03
    for layer in (*head.encoder, *head.decoder):
        for parameter in layer.parameters():
            if parameter.dim() > 1:
                bound = (6 / sum(parameter.shape)) ** 0.5
                assert 0.98 * bound < float(parameter.detach().abs().max()) <= bound
    for parameter in (head.query_weight, head.query_bias):
        assert 0.98 / 8 < float(parameter.detach().abs().max()) <= 1 / 8
    assert isinstance(head.reduction, nn.Identity)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("ml_decoder", {"heads": 7}, "7 heads do not divide its 768 channels; choose other heads"),
        ("ml_decoder", {"groups": 0}, "groups at least 1, not 'fixed' and 0"),
        ("ml_decoder", {"queries": "drawn"}, "head 'ml_decoder'"),  # where types are checked, that says it first
        ("ml_decoder", {"dropout": 1.0}, "dropout is at least 0 and below 1, not 1.0"),
        ("ml_decoder", {"feed_forward": 0}, "channels, heads and feed_forward are at least 1"),
        ("query2label", {"heads": 3}, "3 heads do not divide its 8 channels"),
        ("query2label", {"reduction": 6, "heads": 2}, "4 must divide its 6 channels"),
        ("query2label", {"decoder_layers": 0}, "decoder_layers at least 1"),
        ("query2label", {"encoder_layers": -1}, "encoder_layers are at least 0"),
        ("query2label", {"layers": 1}, "does not take these settings"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(kind: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_head(HeadSpec(kind=kind, settings=settings), 8, 3)
