"""The dual head and the zero-shot head, by reference numbers and by explicit loops."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.models.heads import HeadSpec, build_head
from partlabel.models.heads.dual import ClassVectors, DualHead
from partlabel.models.heads.zero_shot import ZeroShotHead

LOCATIONS = torch.tensor([[(2, 1), (0, 1), (-1, 1)], [(1, 0), (1, -1), (0, -2)]], dtype=torch.float64)
POSITIVE = torch.tensor([(1, 0), (0, 1), (1, 1)], dtype=torch.float64)
NEGATIVE = torch.tensor([(-1, 1), (1, 0), (0, -1)], dtype=torch.float64)
EVIDENCE = torch.tensor([(1, 1), (-1, 2), (2, -1)], dtype=torch.float64)
LABELS = torch.tensor([[1, -1, -1], [0, 1, 0]])


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _maps() -> Tensor:
    """Three locations in a row."""
    return LOCATIONS.transpose(1, 2)[:, :, None]


def _head(**settings: Any) -> DualHead:
    head = build_head(HeadSpec(kind="dual", settings={"image_token": False, **settings}), 2, 3).double()
    assert isinstance(head, DualHead)
    evidence = _unit(EVIDENCE) if settings.get("evidence") else None
    head.take(ClassVectors(_unit(POSITIVE), _unit(NEGATIVE), evidence))
    return head


PLUS = {"evidence": True, "spatial": 20.0, "scale": 20.1}
SMALL = {"evidence": True, "spatial": 2.0, "scale": 2.0, "winner_scale": 2.0}
REFERENCE: dict[str, tuple[dict[str, Any], list[list[float]]]] = {
    "DualCoOp++, double": (
        {**PLUS, "winner": "double"},
        [[24.02981358, 42.02271513, 47.12541691], [54.41284206, -20.10124105, -7.03533587]],
    ),
    "DualCoOp++, share": (
        {**PLUS, "winner": "share"},
        [[6.19405509, 26.32313929, 28.05752755], [34.31284630, -20.09974051, -10.62434419]],
    ),
    "DualCoOp++ small, double": (
        {**SMALL, "winner": "double"},
        [[0.97528161, 3.18130130, 3.56287323], [4.40677963, -2.35093223, -0.50938886]],
    ),
    "DualCoOp++ small, share": (
        {**SMALL, "winner": "share"},
        [[0.59166638, 2.15242638, 2.73805595], [3.32343684, -1.91852894, -0.86584850]],
    ),
    "baseline of TaI-DPT": (
        {"spatial": 20.0, "scale": 50.0},
        [[60.53274622, 50.05786813, 69.91794701], [85.35533896, -50.00001494, 35.35528805]],
    ),
}


@pytest.mark.parametrize("case", REFERENCE)
def test_logits_are_those_of_reference(case: str) -> None:
    settings, expected = REFERENCE[case]
    torch.testing.assert_close(_head(**settings)(_maps()).logits.float(), torch.tensor(expected), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "positive", "negative"),
    [
        (
            {},
            [[89.44271758, 99.91567953, 94.67721272], [99.91654871, -0.00005121, 70.71062711]],
            [[-31.62277486, -0.20005674, -45.15868129], [-70.79412910, 99.99997867, 0.00005101]],
        ),
        (
            {"spatial": 2.0, "scale": 2.0},
            [[1.43351584, 1.63338425, 1.56763984], [1.64730618, -0.44578233, 1.02181112]],
            [[-0.26063567, -0.10335311, -1.32453013], [-1.60693690, 1.70032685, 0.35480149]],
        ),
    ],
    ids=["official", "small"],
)
def test_both_halves_are_those_of_reference(
    settings: dict[str, float], positive: list[list[float]], negative: list[list[float]]
) -> None:
    """The temperatures of DualCoOp are the defaults."""
    logits, parts = _head(**settings)(_maps())
    torch.testing.assert_close(parts["positive_score"].float(), torch.tensor(positive), rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(parts["negative_score"].float(), torch.tensor(negative), rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(logits, parts["positive_score"] - parts["negative_score"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"spatial": 2.0, "scale": 2.0}, 4.91258894), ({**SMALL, "winner": "double"}, 0.12976182 / 0.02)],
    ids=["DualCoOp", "DualCoOp++"],
)
def test_losses_are_those_of_reference(settings: dict[str, Any], expected: float) -> None:
    logits, targets = _head(**settings)(_maps()).logits, (LABELS == 1).double()
    cells = asymmetric_cells(logits, targets, gamma_positive=1, gamma_negative=2, clip=0.05)
    assert float(cells[LABELS != 0].sum()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("image_token", [False, True])
@pytest.mark.parametrize("winner", ["none", "double", "share"])
@pytest.mark.parametrize("evidence", [False, True])
def test_logits_by_explicit_loops(evidence: bool, winner: str, image_token: bool) -> None:
    torch.manual_seed(0)
    settings = {"spatial": 3.0, "scale": 7.0, "winner": winner, "winner_scale": 5.0, "evidence": evidence}
    head = DualHead(4, 3, **settings, image_token=image_token, learned=True).double()
    maps, image = torch.randn(2, 4, 2, 3).double(), torch.randn(2, 4).double()
    logits = head(maps, image).logits
    for number in range(2):
        tokens = [maps[number, :, y, x] for y in range(2) for x in range(3)]
        tokens = [image[number], *tokens] if image_token else tokens

        def cosine(one: Tensor, other: Tensor) -> float:
            return float(one.detach() @ other.detach()) / float(one.detach().norm() * other.detach().norm())

        for k in range(3):
            by = head.evidence_vectors[k] if evidence else head.positive[k]
            weights = [math.exp(3 * cosine(by, token)) for token in tokens]
            total = 0.0
            for weight, token in zip(weights, tokens, strict=True):
                here = [cosine(head.positive[j], token) for j in range(3)]
                shares = [math.exp(5 * one * max(here)) for one in here]
                shares = [one / sum(shares) for one in shares]
                factor = {"none": 1.0, "double": 1 + shares[k], "share": shares[k] / max(shares)}[winner]
                total += weight / sum(weights) * 7 * (here[k] * factor - cosine(head.negative[k], token))
            assert float(logits[number, k].detach()) == pytest.approx(
                total, rel=1e-6
            )  # temperatures are in single precision


def test_class_maps_of_one_location_are_its_logits() -> None:
    head = DualHead(4, 3, winner="double", evidence=True, image_token=False, learned=True)
    maps = torch.randn(2, 4, 1, 1)
    torch.testing.assert_close(head.class_maps(maps)[:, :, 0, 0], head(maps).logits)


def test_which_weights_are_trained() -> None:
    assert not [name for name, parameter in DualHead(4, 3).named_parameters() if parameter.requires_grad]
    both = DualHead(4, 3, learned=True, learn_spatial=True, learn_scale=True, evidence=True)
    names = {name for name, parameter in both.named_parameters() if parameter.requires_grad}
    assert names == {"positive", "negative", "evidence_vectors", "log_spatial", "log_scale"}
    assert both.class_axes == dict.fromkeys(("positive", "negative", "evidence_vectors"), (0,))


def test_unknown_words_are_refused() -> None:
    for spec in (
        HeadSpec(kind="dual", settings={"winner": "first"}),
        HeadSpec(kind="zero_shot", settings={"scoring": "cosine"}),
    ):
        with pytest.raises(UsageError, match=spec.kind):
            build_head(spec, 4, 3)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_share_of_a_class_is_its_part_of_a_softmax(scale: float) -> None:
    """Even where one class has all but nothing of the others' share."""
    torch.manual_seed(0)
    head = ZeroShotHead(4, 5, scale=scale).double()
    head.text.copy_(_unit(torch.randn(5, 4)))
    image = torch.randn(3, 4).double()
    logits = head(torch.zeros(3, 4, 1, 1).double(), image).logits
    for number in range(3):
        z = [scale * float(_unit(image[number]) @ text) for text in head.text]
        for k in range(5):
            others = math.fsum(math.exp(z[j] - max(z)) for j in range(5) if j != k)
            assert float(logits[number, k]) == pytest.approx(z[k] - max(z) - math.log(others), rel=1e-9, abs=1e-9)


def test_the_sigmoid_judges_each_class_by_itself() -> None:
    head = ZeroShotHead(2, 2, scoring="sigmoid", scale=10.0, bias=-4.0)
    head.text.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    logits = head(torch.zeros(1, 2, 1, 1), torch.tensor([[3.0, 0.0]])).logits
    torch.testing.assert_close(logits, torch.tensor([[6.0, 2.0]]))
    maps = torch.tensor([3.0, 0.0])[None, :, None, None]
    torch.testing.assert_close(head.class_maps(maps)[:, :, 0, 0], logits)
