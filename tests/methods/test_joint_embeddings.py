"""Wsabie and Fast0Tag: heads and losses by explicit loops."""

import math

import pytest
import torch

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.methods.fast0tag import pair_images
from partlabel.models.encoders.build import create_backbone

CLOCK = Clock(0, 0, 1, 1)
LABELS = torch.tensor([[1, 0, -1, -1], [0, 1, 0, 1], [-1, 1, 1, 0]], dtype=torch.int8)


def _context(vectors: torch.Tensor | None = None) -> Context:
    table = LabelTable.from_dense(["a", "b", "c"], "wxyz", LABELS.numpy())
    return Context(table, {} if vectors is None else {"label_vectors": vectors})


def _mean(losses: list[float]) -> float:
    return sum(losses) / 2  # the second image has no absent class, hence no pair


@torch.no_grad()
def test_wsabie_by_loops() -> None:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    method = build_method("wsabie", {"rank": 5}, backbone, _context()).double().eval()
    head, maps = method.tagger.head, torch.rand(3, backbone.num_features, 2, 2, dtype=torch.float64)
    scores = [
        [
            sum(float(head.images.weight[r] @ maps[i].mean((1, 2))) * float(head.labels[n, r]) for r in range(5))
            for n in range(4)
        ]
        for i in range(3)
    ]
    found = head(maps).logits
    torch.testing.assert_close(found, torch.tensor(scores, dtype=torch.float64))
    torch.testing.assert_close(head.class_maps(maps).mean((2, 3)), found)
    losses = []
    for i in (0, 2):
        loss = 0.0
        for j in range(4):
            hinges = [1 - scores[i][j] + scores[i][n] for n in range(4) if LABELS[i, n] == -1]
            violators = [hinge for hinge in hinges if hinge > 0]
            if LABELS[i, j] == 1 and violators:
                weight = sum(1 / (r + 1) for r in range(len(violators)))
                loss += weight * sum(violators) / len(violators)
        losses.append(loss)
    total = method.objective({"logits": found}, LABELS, torch.arange(3), CLOCK)["total"]
    assert total.item() == pytest.approx(_mean(losses), abs=1e-9)


@pytest.mark.parametrize("given", [False, True])
@torch.no_grad()
def test_fast0tag_by_loops(given: bool) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    vectors = torch.randn(4, 6) if given else None
    settings = {"hidden": 7, "label_features": 6}
    method = build_method("fast0tag", settings, backbone, _context(vectors)).eval()
    head, maps = method.tagger.head, torch.rand(3, backbone.num_features, 2, 2)
    assert ("label_vectors" in dict(head.named_parameters())) == (not given)
    if vectors is not None:
        assert torch.equal(head.label_vectors, vectors)
    found = head(maps).logits
    first, _, second, _, third = head.direction
    losses = []
    for i in range(3):
        hidden = torch.relu(first.weight @ maps[i].mean((1, 2)) + first.bias)
        direction = third.weight @ torch.relu(second.weight @ hidden + second.bias) + third.bias
        scores = [float(head.label_vectors[n] @ direction) for n in range(4)]
        torch.testing.assert_close(found[i], torch.tensor(scores))
        pairs = [(p, n) for p in range(4) for n in range(4) if LABELS[i, p] == 1 and LABELS[i, n] == -1]
        losses += [sum(math.log(1 + math.exp(scores[n] - scores[p])) for p, n in pairs) / len(pairs)] if pairs else []
    total = method.objective({"logits": found}, LABELS, torch.arange(3), CLOCK)["total"]
    assert total.item() == pytest.approx(_mean(losses), abs=1e-5)
    assert pair_images(found, LABELS)[1] == 0
