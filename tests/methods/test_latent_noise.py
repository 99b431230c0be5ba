"""Latent Noise: the model of what is mentioned by explicit sums, and what it leaves to see."""

import math

import pytest
import torch

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.models.encoders.build import create_backbone
from partlabel.models.heads.latent_noise import reported

CLOCK = Clock(0, 0, 1, 1)
LABELS = torch.tensor([[1, 0, -1], [0, 1, 0]], dtype=torch.int8)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("tag_by", ["visual", "relevance"])
@torch.no_grad()
def test_loss_by_explicit_sums_over_what_may_be_seen(tag_by: str) -> None:
    torch.manual_seed(0)
    table = LabelTable.from_dense(["a", "b"], "xyz", LABELS.numpy())
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("latent_noise", {"tag_by": tag_by}, backbone, Context(table)).eval().double()
    head = method.tagger.head
    for layer in (head.said_if_seen, head.said_if_not):
        torch.nn.init.normal_(layer.weight)
    maps = torch.rand(2, backbone.num_features, 2, 2, dtype=torch.float64)
    output = head(maps)
    losses = method.objective({"logits": output.logits, **output.extra}, LABELS, torch.arange(2), CLOCK)
    features, total = maps.mean((2, 3)), 0.0
    for i in range(2):
        for n in range(3):
            seen, if_seen, if_not = (
                _sigmoid(float(features[i] @ layer.weight[n] + layer.bias[n]))
                for layer in (head.linear, head.said_if_seen, head.said_if_not)
            )
            # the four joint cases of seen and said, made conditional
            said = sum(r * p for r, p in ((if_seen, seen), (if_not, 1 - seen)))
            total -= math.log(said if LABELS[i, n] == 1 else 1 - said) / 6
            expected = seen if tag_by == "visual" else said
            assert torch.sigmoid(output.logits[i, n]).item() == pytest.approx(expected, abs=1e-9)
    assert losses["total"].item() == pytest.approx(total, abs=1e-9)


def test_a_class_that_is_never_mentioned_may_be_seen() -> None:
    """p(said) near 0 says nothing of p(seen) where mention is unlikely either way, and its logit stays finite."""
    huge = torch.full((1, 1), 60.0)
    assert reported(huge, -huge, -huge).item() == pytest.approx(-60, abs=1e-3)
    assert reported(huge, huge, -huge).item() == pytest.approx(60 - math.log(2), abs=1e-3)
    seen = torch.zeros(1, 1, requires_grad=True)
    reported(seen, torch.full((1, 1), 2.0), torch.full((1, 1), -2.0)).backward()
    assert seen.grad is not None
    assert seen.grad.item() > 0
