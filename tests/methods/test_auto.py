import itertools
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable
from partlabel.methods.auto import AUTO, RULES, Choice, Facts, Network, choices, choose
from partlabel.methods.build import method_class, method_config, setting_names
from partlabel.methods.catalogue import CATALOGUE, misfit
from partlabel.methods.catalogue.entry import Needs

ROOT = Path(__file__).parents[2]
STATES = arrays(np.int8, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.sampled_from([-1, 0, 1]))


def table(states: list[list[int]] | np.ndarray, background: int = 0) -> LabelTable:
    dense = np.asarray(states)
    rows, columns = np.nonzero(dense)
    images, classes = (
        [f"{kind}{number}" for number in range(size)] for kind, size in zip("xc", dense.shape, strict=True)
    )
    return LabelTable.from_cells(images, classes, rows, columns, dense[rows, columns], background=background)


BOTH = table([[1, -1, 0], [-1, 0, -1], [0, -1, 1]])
MOSTLY_PRESENT = table([[1, 1, 0], [1, 0, -1], [0, 1, 1]])
SINGLE = table([[1, 0, 0], [0, 0, 1], [0, 0, 0]])
POSITIVES = table([[1, 0, 1], [0, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    ("labels", "frozen", "pretrained", "kind", "method", "settings"),
    [
        (BOTH, True, True, "both signs", "discriminant", {}),
        (BOTH, True, False, "both signs", "discriminant", {}),
        (BOTH, False, True, "both signs", "asl", {}),
        (BOTH, False, False, "both signs", "saliency", {"pseudo": "none", "supervised": "weak"}),
        (MOSTLY_PRESENT, True, True, "both signs", "discriminant", {}),
        (MOSTLY_PRESENT, False, True, "both signs", "bce", {}),
        (MOSTLY_PRESENT, False, False, "both signs", "saliency", {"pseudo": "none", "supervised": "weak"}),
        (SINGLE, True, True, "single positive", "discriminant", {}),
        (SINGLE, False, True, "single positive", "positive_unlabeled", {}),
        (POSITIVES, True, True, "positives only", "discriminant", {}),
        (POSITIVES, False, True, "positives only", "positive_unlabeled", {}),
        (POSITIVES, False, False, "positives only", "positive_unlabeled", {}),
    ],
)
def test_every_rule(
    labels: LabelTable, frozen: bool, pretrained: bool, kind: str, method: str, settings: dict[str, str]
) -> None:
    choice = choose(labels, frozen=frozen, pretrained=pretrained)
    assert (choice.facts.kind, choice.method, choice.settings) == (kind, method, settings)


def test_every_rule_can_be_reached_and_followed() -> None:
    reached = set()
    kinds = ("both signs", "single positive", "positives only")
    for kind, share, network in itertools.product(kinds, (0.1, 0.9), get_args(Network)):
        words = Facts(kind, 10, 10, 0.5, share, 2).words | {network}  # type: ignore[arg-type]
        reached.add(next(rule for rule in range(len(RULES)) if words >= set(RULES[rule].when)))
    assert reached == set(range(len(RULES)))
    for rule in RULES:
        method_config(rule.method, rule.settings)
        assert (ROOT / rule.evidence).is_file()
        assert setting_names(AUTO) >= set(method_class(rule.method).Config.model_fields)


def test_the_documented_rules_are_the_rules() -> None:
    lines = (ROOT / "docs" / "auto.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]
    documented = [(when, taken) for when, taken, *_ in rows]
    written = []
    for rule in RULES:
        settings = "".join(f", `{name} = {value}`" for name, value in rule.all_settings.items())
        written.append((", ".join(rule.when), f"`{rule.method}`{settings}"))
    assert documented == written


@given(STATES, st.sampled_from([0, -1]))
def test_what_is_taken_fits_and_leaves_unknown_unknown(states: np.ndarray, background: int) -> None:
    labels = table(states, background)
    found = choices(labels)
    if not (labels.dense() == 1).any():
        assert found == {}
        with pytest.raises(AssumptionError, match="no known present cell"):
            choose(labels, frozen=True)
        return
    assert set(found) == set(get_args(Network))
    for choice in found.values():
        assert misfit(choice.method, labels) is None
        assert "taken as absent" not in CATALOGUE[choice.method].unknown
        if (labels.dense() == -1).any():
            assert CATALOGUE[choice.method].needs is Needs.BOTH_SIGNS or choice.method == "discriminant"


@given(STATES, st.sampled_from([0, -1]))
def test_facts_by_counting(states: np.ndarray, background: int) -> None:
    labels = table(states, background)
    dense = labels.dense().tolist()
    cells = [state for row in dense for state in row]
    if 1 not in cells:
        return
    kind = "positives only"
    if -1 in cells:
        kind = "both signs"
    elif len(labels.classes) > 1 and all(row.count(1) <= 1 for row in dense):
        kind = "single positive"
    known = len(cells) - cells.count(0)
    by_class = sorted(column.count(1) for column in zip(*dense, strict=True))
    middle = (by_class[(len(by_class) - 1) // 2] + by_class[len(by_class) // 2]) / 2
    facts = Facts.of(labels)
    assert (facts.kind, facts.images, facts.classes, facts.median_present) == (kind, len(dense), len(dense[0]), middle)
    assert facts.known_share == pytest.approx(known / len(cells))
    assert facts.present_share == pytest.approx(cells.count(1) / known)
    assert ("mostly present" in facts.words) == (2 * cells.count(1) > known)


def test_one_class_is_no_single_positive() -> None:
    assert Facts.of(table([[1], [0], [1]])).kind == "positives only"


def test_the_choice_as_a_sentence() -> None:
    facts = Facts("both signs", 4500, 74, 0.1, 0.03591, 16)
    sentence = str(Choice("saliency", {"pseudo": "none"}, "because (docs/demo.md)", facts))
    assert sentence == (
        "auto takes saliency, pseudo = none: because (docs/demo.md); the labels: both signs, 4,500 × 74 cells, 10 % "
        "known, 3.59 % of these present, a class has 16 of them in the median"
    )
