"""The command line repeats defaults of `TrainSettings` in words; they must be the same."""

import inspect
import re
from typing import Any, get_args

import pytest
import typer

from partlabel.cli.train import train
from partlabel.runs.settings import TrainSettings

STATED = {
    name: found[1]
    for name, parameter in inspect.signature(train).parameters.items()
    for option in get_args(parameter.annotation)
    if isinstance(option, typer.models.OptionInfo | typer.models.ArgumentInfo)
    and (found := re.search(r"Default: ([^;]+?)(?:, or as the run was trained)?\.?$", option.help or ""))
}


def test_defaults_are_stated_of_the_settings_that_have_an_option() -> None:
    assert {"method", "backbone", "epochs", "batch_size", "lr", "holdout", "seed", "workers"} <= STATED.keys()
    assert STATED.keys() <= TrainSettings.model_fields.keys()


@pytest.mark.parametrize("name", sorted(STATED.keys() - {"lr"}))
def test_a_stated_default_is_the_default(name: str) -> None:
    assert STATED[name] == str(getattr(TrainSettings(), name))


def test_the_stated_learning_rate_is_what_is_used() -> None:
    rates: dict[tuple[Any, ...], float] = {
        (freeze, pretrained): TrainSettings(freeze=freeze, pretrained=pretrained).learning_rate
        for freeze in (False, True)
        for pretrained in (False, True)
    }
    frozen_or_scratch, otherwise = re.findall(r"[\d.e-]+\d", STATED["lr"])
    assert STATED["lr"] == f"{frozen_or_scratch} frozen or from scratch, {otherwise} otherwise"
    for (freeze, pretrained), rate in rates.items():
        assert rate == float(frozen_or_scratch if freeze or not pretrained else otherwise)


@pytest.mark.parametrize("flag", ["freeze", "refit"])
def test_flags_are_off_by_default(flag: str) -> None:
    assert getattr(TrainSettings(), flag) is False
    assert inspect.signature(train).parameters[flag].default is False
