"""SST, HST and SARB: pairs, bank, contrast, prototypes and mixes, by reference numbers and by loops."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method
from partlabel.methods.hst import HST, prototype_cells
from partlabel.methods.sarb import SARB, chosen
from partlabel.methods.sst import PairTransfer
from partlabel.methods.tools.positive_bank import PositiveBank, contrast
from partlabel.models.encoders.build import create_backbone
from partlabel.models.label_pairs import LabelPairs, mean_pair_probability, pair_states

SMALL: dict[str, Any] = {"hidden": 8, "reduction": 8, "label_features": 4, "label_vectors": "learned"}
EARLY, LATE = Clock(0, 0, 10, 10), Clock(9, 9, 10, 10)
LABELS = torch.tensor([[1, -1, 0, 0], [0, 1, -1, 1], [1, 0, 0, -1]], dtype=torch.int8)


def _method(name: str, **settings: Any) -> Any:
    table = LabelTable.from_dense([f"{row}.png" for row in range(3)], list("abcd"), LABELS.numpy().astype(np.int8))
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    torch.manual_seed(0)
    wide = {} if name == "sarb" else {"pair_width": 6}
    return build_method(name, {**SMALL, **wide, **settings}, backbone, Context(table)).eval()


def _square(logits: list[float]) -> Tensor:
    """The logits of pairs 01, 02, 12 as a symmetric matrix."""
    square = torch.zeros(1, 3, 3)
    for (i, j), logit in zip(((0, 1), (0, 2), (1, 2)), logits, strict=True):
        square[0, i, j] = square[0, j, i] = logit
    return square


def test_pairs_are_those_of_reference() -> None:
    """Classes 0 and 2 present, 1 unknown, which the official code reads as absent in its pairs."""
    pairs, labels = _square([2.0, -1.0, 0.5]), torch.tensor([[1, 0, 1]], dtype=torch.int8)
    assert float(mean_pair_probability(pairs, labels)[0, 1]) == pytest.approx(0.75162820, rel=1e-6)
    method = _method("sst")
    assert float(method.pair_loss(pairs, labels, "absent")) == pytest.approx(0.82160623, rel=1e-6)
    assert float(method.pair_loss(pairs, labels, "ignored")) == pytest.approx(0.96007122, rel=1e-6)


def test_prototype_cells_are_those_of_reference() -> None:
    """As the official code has it, and as the paper means it."""
    cosine, labels = torch.tensor([[0.9, 0.9, 0.9]]), torch.tensor([[1, -1, 0]], dtype=torch.int8)
    torch.testing.assert_close(prototype_cells(cosine, labels, 1), torch.tensor([[1.9, 0.1, 1.0]]))
    torch.testing.assert_close(prototype_cells(cosine, labels, -1), torch.tensor([[0.1, 1.9, 1.0]]))


def test_pairs_by_loops() -> None:
    torch.manual_seed(0)
    pairs = LabelPairs(3, 4, 5)
    torch.nn.init.normal_(pairs.bias)
    features = torch.randn(2, 4, 3)
    found = pairs(features).detach()
    weight, bias = pairs.projection.weight.detach(), pairs.projection.bias.detach()
    for image in range(2):
        for i in range(4):
            for j in range(4):
                hidden = torch.relu(weight @ (features[image, i] + features[image, j]) + bias)
                rows = pairs.weight[i, j].detach() + pairs.weight[j, i].detach()
                constant = float(pairs.bias[i, j].detach() + pairs.bias[j, i].detach())
                expected = 0.0 if i == j else float(hidden @ rows) + constant
                assert float(found[image, i, j]) == pytest.approx(expected, abs=1e-5)
    states = pair_states(LABELS)
    for image in range(3):
        for i in range(4):
            for j in range(4):
                both = {int(LABELS[image, i]), int(LABELS[image, j])}
                assert int(states[image, i, j]) == (-1 if -1 in both else 1 if both == {1} else 0)


def test_too_many_pairs_are_refused() -> None:
    with pytest.raises(UsageError, match="201 classes are 20,100 pairs"):
        LabelPairs(2, 201, 2)


def test_the_bank_keeps_the_last_and_compares_with_them() -> None:
    bank, features = PositiveBank(2, 3, 2), torch.randn(3, 2, 3)
    assert not bank.mean_cosine(features).any()
    labels = torch.tensor([[1, 0], [1, -1], [1, 1]], dtype=torch.int8)
    bank.add(features, labels)
    assert bank.count.tolist() == [3, 1]

    def cosine(one: Tensor, other: Tensor) -> float:
        return float(one @ other / (one.norm() * other.norm()))

    asked = torch.randn(1, 2, 3)
    kept = [[features[1, 0], features[2, 0]], [features[2, 1]]]
    for column, of_class in enumerate(kept):
        total = sum(cosine(asked[0, column], one) for one in of_class)
        assert float(bank.mean_cosine(asked)[0, column]) == pytest.approx(total / len(of_class), abs=1e-6)
        assert float(bank.mean_cosine(asked, over_empty=True)[0, column]) == pytest.approx(total / 2, abs=1e-6)
    centres = bank.prototypes(2)
    torch.testing.assert_close(centres.norm(dim=2), torch.ones(2, 2))
    for one in kept[0]:
        assert max(cosine(one, centre) for centre in centres[0]) == pytest.approx(1, abs=1e-6)


def test_contrast_by_loops() -> None:
    features = torch.randn(3, 4, 5)
    cells = []
    for one in range(3):
        for other in range(3):
            for column in range(4):
                states = (int(LABELS[one, column]), int(LABELS[other, column]))
                if one == other or 0 in states:
                    continue
                a, b = features[one, column], features[other, column]
                cosine = float(a @ b / (a.norm() * b.norm()))
                cells.append(1 - cosine if states == (1, 1) else 1 + cosine)
    assert float(contrast(features, LABELS)) == pytest.approx(sum(cells) / len(cells), rel=1e-5)
    assert float(contrast(features, torch.zeros_like(LABELS))) == 0


def _bce(logit: float, target: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -target * math.log(p) - (1 - target) * math.log(1 - p)


@pytest.mark.parametrize("name", ["sst", "hst"])
def test_found_cells_count_from_their_epoch_on(name: str) -> None:
    """The loss of known cells, then also with unknown ones as present whose score reaches the margin."""
    method = _method(name, margin=0.5, margin_step=0.0, lowest_margin=0.5)
    assert isinstance(method, PairTransfer)
    torch.manual_seed(1)
    with torch.no_grad():
        outputs = dict(method({"weak": torch.randn(3, 3, 32, 32)}))
        outputs["pairs"] = 3 * torch.randn(3, 4, 4)
        outputs["pairs"] += outputs["pairs"].transpose(1, 2).clone()
        early = method.objective(outputs, LABELS, torch.arange(3), EARLY)
        late = method.objective(outputs, LABELS, torch.arange(3), LATE)
    assert "intra" not in early
    known, found = [], []
    for image in range(3):
        present = [j for j in range(4) if LABELS[image, j] == 1]
        for k in range(4):
            state, logit = int(LABELS[image, k]), float(outputs["logits"][image, k])
            others = [1 / (1 + math.exp(-float(outputs["pairs"][image, j, k]))) for j in present if j != k]
            if state:
                known.append(_bce(logit, (state + 1) / 2))
            elif others and sum(others) / len(others) >= 0.5:
                found.append(_bce(logit, 1.0))
    assert found
    assert float(early["supervised"]) == pytest.approx(sum(known) / len(known), rel=1e-4)
    assert float(late["intra"]) == pytest.approx(sum(known + found) / len(known + found), rel=1e-4)
    weighed = {"supervised": 1.0, "pairs": 10.0, "contrast": 0.05, "intra": 1.0, "inter": 1.0, "prototype": 0.05}
    for losses in (early, late):
        total = sum(weight * float(losses[part]) for part, weight in weighed.items() if part in losses)
        assert float(losses["total"]) == pytest.approx(total, rel=1e-5)


def test_the_margin_falls() -> None:
    method = _method("sst")
    margins = [method.margin(Clock(epoch, epoch, 20, 20)) for epoch in range(20)]
    assert margins[:6] == [0.95] * 6
    assert margins[6] == pytest.approx(0.925)
    assert margins[13:] == pytest.approx([0.75] * 7)


def test_learned_margins_move_by_weight_decay_alone() -> None:
    """They start where no score is above them."""
    method = _method("hst", margins="learned")
    assert isinstance(method, HST)
    outputs = method({"weak": torch.randn(3, 3, 32, 32)})
    method.bank.add(outputs["semantic"], LABELS)
    method.prototypes.copy_(method.bank.prototypes(10))
    losses = method.objective(outputs, LABELS, torch.arange(3), LATE)
    losses["total"].backward()
    assert method.learned is not None
    assert method.learned.grad is not None
    assert float(losses["intra"].detach()) == pytest.approx(float(losses["supervised"].detach()), rel=1e-5)


def test_mixes_by_loops() -> None:
    """At cells that are unknown here and present in the reversed batch; one cell of an image beside a prototype."""
    labels = torch.tensor([[1, -1, 0, 0], [0, 1, -1, 1], [1, 0, 0, 1]], dtype=torch.int8)
    method = _method("sarb", alpha=0.3, beta=0.6)
    assert isinstance(method, SARB)
    torch.manual_seed(2)
    with torch.no_grad():
        outputs = dict(method({"weak": torch.randn(3, 3, 32, 32)}))
        semantic = outputs["semantic"]
        method.bank.add(semantic, labels)
        method.prototypes.copy_(method.bank.prototypes(10))
        number = int(outputs["number"])
        picked = chosen(outputs["logits"], (labels == 0) & (labels == 1).any(0), outputs["place"])
        losses = method.objective(outputs, labels, torch.arange(3), LATE)
        mixed, blended = semantic.clone(), semantic.clone()
        targets = {"instance": (labels == 1).float(), "prototype": (labels == 1).float()}
        counted = {"instance": labels != 0, "prototype": labels != 0}
        for image in range(3):
            for k in range(4):
                if labels[image, k] == 0 and labels[2 - image, k] == 1:
                    mixed[image, k] = 0.3 * semantic[image, k] + 0.7 * semantic[2 - image, k]
                    targets["instance"][image, k], counted["instance"][image, k] = 0.7, True
                if picked[image, k]:
                    prototype = method.prototypes[k, number] * semantic[image, k].norm()
                    blended[image, k] = 0.6 * semantic[image, k] + 0.4 * prototype
                    targets["prototype"][image, k], counted["prototype"][image, k] = 0.4, True
        for part, features in (("instance", mixed), ("prototype", blended)):
            logits = method.tagger.head.logits_of(features)  # type: ignore[operator]
            cells = [
                _bce(float(logits[i, k]), float(targets[part][i, k]))
                for i in range(3)
                for k in range(4)
                if counted[part][i, k]
            ]
            assert float(losses[part]) == pytest.approx(sum(cells) / len(cells), rel=1e-4)
    assert counted["instance"].sum() > (labels != 0).sum()


def test_one_unknown_cell_is_chosen_evenly() -> None:
    logits, among = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[True, False, True]])
    assert chosen(logits, among, torch.tensor([0.2])).tolist() == [[False, False, True]]
    assert chosen(logits, among, torch.tensor([0.7])).tolist() == [[True, False, False]]
    assert not chosen(logits, torch.zeros_like(among), torch.tensor([0.7])).any()
