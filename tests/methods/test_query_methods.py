"""ML-Decoder and Query2Label: losses against reference numbers and loops, and which settings exclude each other."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method
from partlabel.methods.build import build_method, method_class, method_config
from partlabel.models.encoders.build import create_backbone
from partlabel.models.heads.ml_decoder import MLDecoderHead

X = [[1.5, -0.5, 0.25], [-2.0, 0.75, -1.25]]
T = [[1, -1, -1], [0, 1, 0]]
LIGHT: dict[str, dict[str, Any]] = {
    "ml_decoder": {"width": 16, "feed_forward": 16, "heads": 2},
    "query2label": {"feed_forward": 16, "reduction": 16, "heads": 2},
}


def _build(name: str, assets: dict[str, torch.Tensor] | None = None, **settings: Any) -> Method[Any]:
    states = np.random.default_rng(0).integers(-1, 2, (8, 3)).astype(np.int8)
    context = Context(LabelTable.from_dense([f"{row}.png" for row in range(8)], ("a", "b", "c"), states), assets or {})
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    return build_method(name, {**LIGHT.get(name, {}), **settings}, backbone, context)


def _total(method: Method[Any], logits: torch.Tensor, labels: torch.Tensor) -> float:
    outputs = {"logits": logits}
    return float(method.objective(outputs, labels, torch.arange(len(labels)), Clock(0, 0, 1, 1))["total"])


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def _loop(logits: list[list[float]], states: list[list[int]], negative: float, clip: float) -> tuple[float, int]:
    """Sum of the asymmetric loss with gamma 0 for present cells, and how many cells are known."""
    total, known = 0.0, 0
    for row, signs in zip(logits, states, strict=True):
        for z, sign in zip(row, signs, strict=True):
            known += sign != 0
            if sign == 1:
                total -= math.log(_sigmoid(z))
            elif sign == -1:
                q = min(1 - _sigmoid(z) + clip, 1)
                total -= (1 - q) ** negative * math.log(q)
    return total, known


@pytest.mark.parametrize(("name", "negative", "clip"), [("ml_decoder", 4, 0.05), ("query2label", 2, 0)])
def test_default_losses_by_loop(name: str, negative: float, clip: float) -> None:
    """The sum over known cells through their number."""
    total, known = _loop(X, T, negative, clip)
    found = _total(_build(name), torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.int8))
    assert found == pytest.approx(total / known, rel=1e-6)


def test_official_divisor_of_query2label_by_loop_and_reference() -> None:
    logits, labels = torch.tensor(X, dtype=torch.float64), torch.tensor(T, dtype=torch.int8)
    total, _ = _loop(X, T, 2, 0)
    found = _total(_build("query2label", normalization="official"), logits, labels)
    assert found == pytest.approx(total / 6 * 1000, rel=1e-6)
    assert found == pytest.approx(152.81494435, rel=5e-7)
    told = _build("query2label", normalization="official", unknown="absent")
    absent, _ = _loop(X, [[sign or -1 for sign in row] for row in T], 2, 0)
    assert _total(told, logits, labels) == pytest.approx(absent / 6 * 1000, rel=1e-6)
    assert _total(told, logits, labels) == pytest.approx(155.19795673, rel=5e-7)


def test_label_vectors_go_into_the_head_and_are_not_trained() -> None:
    vectors = torch.randn(3, 5)
    method = _build("ml_decoder", {"label_vectors": vectors}, queries="words")
    torch.testing.assert_close(method.tagger.head.get_buffer("label_vectors"), vectors)
    learned = _build("ml_decoder", queries="words", label_features=7)
    assert learned.tagger.head.get_parameter("label_vectors").shape == (3, 7)


def test_a_source_of_label_vectors_is_asked_for_words_alone() -> None:
    kind = method_class("ml_decoder")
    assert kind.label_vectors(kind.Config(label_vectors="glove.txt")) is None
    assert kind.label_vectors(kind.Config(queries="words", label_vectors="glove.txt")) == "glove.txt"


def test_queries_as_the_settings_say() -> None:
    for queries in ("fixed", "learned"):
        head = _build("ml_decoder", queries=queries, groups=2).tagger.head
        assert isinstance(head, MLDecoderHead)
        assert head.queries.requires_grad == (queries == "learned")
        assert head.queries.shape == (2, 16)


@pytest.mark.parametrize(
    ("method", "settings", "said"),
    [
        ("ml_decoder", {"queries": "words", "groups": 5}, r'groups has no effect with queries "words"'),
        ("bce", {"head": "decoder"}, "head: input should be 'pooled', 'ml_decoder' or 'query2label', got 'decoder'"),
        ("bce", {"head_settings": {"width": 8}}, "head_settings counts only with head 'ml_decoder' or 'query2label'"),
        ("bce", {"head": "ml_decoder", "pool": "max"}, "pool counts only with head 'pooled'; leave it out"),
        ("asl", {"head": "query2label", "transform": "sqrt"}, "transform counts only with head 'pooled'"),
        (
            "hill",
            {"head": "ml_decoder", "head_settings": {"reduction": 8}},
            "no setting 'reduction'; its settings are gr",
        ),
        (
            "hill",
            {"head": "query2label", "head_settings": {"heads": 0}},
            "head_settings: heads: input should be greater",
        ),
        (
            "bce",
            {"head": "ml_decoder", "head_settings": {"queries": "words"}},
            "head_settings: queries: input should be",
        ),
        ("bce", {"head": "ml_decoder", "head_settings": 5}, "method bce: head_settings"),
        ("bce", {"head": ["ml_decoder"], "head_settings": {}}, "method bce: head"),
        ("positive_unlabeled", {"head": "ssgrl", "head_settings": {"heads": 2}}, "head_settings counts only with head"),
        ("ml_gcn", {"head": "ml_decoder"}, "method ml_gcn has no setting 'head'"),
        ("discriminant", {"head": "ml_decoder"}, "method discriminant has no setting 'head'"),
    ],
)
def test_settings_that_do_not_count_are_refused(method: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        method_config(method, settings)


def test_a_head_can_be_given_as_settings_of_its_own_type() -> None:
    config: Any = method_config("bce", {"head": "ml_decoder", "head_settings": {"heads": 2}})
    again: Any = method_config("bce", {"head": "ml_decoder", "head_settings": config.head_settings})
    assert again == config
    assert config.worn.settings["heads"] == 2
    assert method_config("bce", config.model_dump()) == config
    with pytest.raises(UsageError, match="are not those of head 'query2label'"):
        method_config("bce", {"head": "query2label", "head_settings": config.head_settings})
