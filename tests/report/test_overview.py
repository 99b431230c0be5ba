"""The head of the page: notes and settings."""

from typing import Any

import pytest

from partlabel.report.overview import all_settings, facts, notes
from partlabel.runs.settings import TrainSettings


def test_settings_that_differ_from_their_default_are_told() -> None:
    settings = TrainSettings(method="saliency", freeze=True, train_last=2, method_settings={"alpha": 0.25})
    rows = {row.name: row for row in all_settings(settings)}
    assert rows.keys() == (TrainSettings.model_fields.keys() - {"method_settings"}) | {"alpha"}
    assert {name for name, row in rows.items() if row.changed} == {"method", "freeze", "train_last", "alpha"}
    assert rows["alpha"].value == "0.25"
    assert rows["lr"].value == "null"
    said = dict(facts(settings, None))
    assert said["backbone"] == "resnet50, pretrained weights, frozen but for the last 2 stage(s)"
    assert "learning rate 0.001 (onecycle)" in said["training"]
    assert "images" not in said


@pytest.mark.parametrize(
    ("settings", "found_lr", "said"),
    [
        ({}, False, []),
        ({"select": "best"}, False, ["also chose the epoch,"]),
        ({"select": "best"}, True, ["also chose the learning rate and the epoch,"]),
        ({"refit": True}, True, ["also chose the learning rate,", "the shipped model has seen these cells"]),
    ],
)
def test_notes_tell_what_flatters_the_held_out_numbers(
    case: Any, settings: dict[str, Any], found_lr: bool, said: list[str]
) -> None:
    if found_lr:
        case.run.update(found_lr={"0.001": 0.5})
    found = notes(case.run, TrainSettings(**settings), True)
    assert len(found) == 1 + len(said)
    for sentence, part in zip(found[1:], said, strict=True):
        assert part in sentence
    assert notes(case.run, TrainSettings(**settings), False) == []
