"""Optimizers and schedules against explicit loops, and settings of them that do not go together."""

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Context, OptimizerRule
from partlabel.methods.build import build_method
from partlabel.models.encoders.build import create_backbone
from partlabel.runs.settings import TrainSettings, make_settings
from partlabel.training.optimizers import make_optimizer, make_plateau, make_schedule


class _Line(nn.Module):
    """What `make_optimizer` reads of a method, with a weight, a bias and a table of its own rule."""

    optimizer_rules: ClassVar = {"table": OptimizerRule(lr_factor=5, decay=False)}

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 3)
        self.table = nn.Parameter(torch.ones(3, 2))


def _settings(**values: Any) -> TrainSettings:
    return make_settings({"lr": 0.1, "epochs": 4, "weight_decay": 0.0, **values}, ())


def _rates(settings: TrainSettings, steps_per_epoch: int, steps: int, name: str = "lr") -> list[Any]:
    optimizer = make_optimizer(_Line(), settings)  # type: ignore[arg-type]
    schedule = make_schedule(optimizer, settings, steps_per_epoch)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0][name])
        optimizer.step()
        if schedule is not None:
            schedule.step()
    return found


@pytest.mark.parametrize("tensorflow", [False, True])
def test_rmsprop_by_explicit_loop(tensorflow: bool) -> None:
    """torch: v from 0, g / (√v + ε), then momentum, then the rate; TensorFlow: v from 1, √(v + ε), the rate inside."""
    settings = _settings(
        optimizer="rmsprop_tf" if tensorflow else "rmsprop", momentum=0.7, rmsprop_decay=0.6, epsilon=0.5
    )
    model = _Line()
    optimizer = make_optimizer(model, settings)  # type: ignore[arg-type]
    value = float(model.line.weight[0, 0].detach())
    square, moved = (1.0 if tensorflow else 0.0), 0.0
    for step in range(5):
        gradient = math.cos(step)
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        square = 0.6 * square + 0.4 * gradient**2
        if tensorflow:
            moved = 0.7 * moved + 0.1 * gradient / math.sqrt(square + 0.5)
            value -= moved
        else:
            moved = 0.7 * moved + gradient / (math.sqrt(square) + 0.5)
            value -= 0.1 * moved
        assert float(model.line.weight[0, 0].detach()) == pytest.approx(value, abs=1e-6)


def test_epsilon_reaches_adam() -> None:
    for name in ("adam", "adamw"):
        optimizer = make_optimizer(_Line(), _settings(optimizer=name, epsilon=0.5))  # type: ignore[arg-type]
        assert {group["eps"] for group in optimizer.param_groups} == {0.5}


@pytest.mark.parametrize("decay_on", ["weights", "all"])
def test_decay_by_explicit_loop(decay_on: str) -> None:
    """Without a gradient plain SGD only decays: w ← w - rate · decay · w."""
    model = _Line()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    settings = _settings(optimizer="sgd", momentum=0, weight_decay=0.5, decay_on=decay_on)
    optimizer = make_optimizer(model, settings)  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = {"line.weight": 0.95, "line.bias": 0.95 if decay_on == "all" else 1.0, "table": 1.0}
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name] * shrunk[name])


def test_the_default_decay_spares_biases_and_norms_of_a_network() -> None:
    table = LabelTable.from_dense(["a", "b"], "xy", [[1, -1], [-1, 1]])
    method = build_method("bce", {}, create_backbone("test_resnet", pretrained=False, size=32), Context(table))
    for decay_on, spared in (("weights", True), ("all", False)):
        for group in make_optimizer(method, make_settings({"decay_on": decay_on}, ())).param_groups:
            for parameter in group["params"]:
                assert group["weight_decay"] == (0 if spared and parameter.ndim <= 1 else 0.01)


def _one_cycle(step: int, steps: int, rise: float, low: float, high: float, end: float) -> float:
    """Two half cosines, as Smith & Topin's schedule has them in torch."""
    peak, last = rise * steps - 1, steps - 1
    start, stop, share = (low, high, step / peak) if step <= peak else (high, end, (step - peak) / (last - peak))
    return stop + (start - stop) / 2 * (1 + math.cos(math.pi * share))


def test_training_stops_inside_a_schedule() -> None:
    """4 epochs of 10 steps, in a schedule of 8: the rates are the first half of the whole schedule."""
    cycled = _settings(optimizer="adam", schedule_epochs=8, cycle_momentum=True)
    wanted = [_one_cycle(step, 80, 0.2, 0.1 / 25, 0.1, 0.1 / 25 / 1e4) for step in range(40)]
    assert _rates(cycled, 10, 40) == pytest.approx(wanted)
    betas = [_one_cycle(step, 80, 0.2, 0.95, 0.85, 0.95) for step in range(40)]
    assert [beta for beta, _ in _rates(cycled, 10, 40, "betas")] == pytest.approx(betas)
    assert {beta for beta, _ in _rates(_settings(optimizer="adam"), 10, 40, "betas")} == {0.9}
    sgd = _settings(optimizer="sgd", cycle_momentum=True)
    assert _rates(sgd, 20, 80, "momentum") == pytest.approx(
        [_one_cycle(step, 80, 0.2, 0.95, 0.85, 0.95) for step in range(80)]
    )
    cosine = _rates(_settings(schedule="cosine", schedule_epochs=8), 10, 40)
    assert cosine == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 80)) for step in range(40)])


@pytest.mark.parametrize("warmup", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("epochs", [1, 2, 5, 10])
def test_a_schedule_of_very_few_steps(epochs: int, warmup: float) -> None:
    """A warm-up of 0.2 of 5 steps, or 0.1 of 10, is exactly one step."""
    assert all(0 < rate <= 0.1 for rate in _rates(_settings(epochs=epochs, warmup=warmup), 1, epochs))


def test_steps_by_explicit_loop() -> None:
    """3 batches an epoch, two of them a step of the optimizer: epochs end after 1.5, 3, 4.5, 6 steps."""
    settings = _settings(schedule="step", step_epochs=[1, 3], schedule_factor=0.5, accumulate=2)
    assert _rates(settings, 3, 6) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.05, 0.025])
    assert _rates(_settings(schedule="constant"), 3, 6) == [0.1] * 6


@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_by_explicit_loop(patience: int) -> None:
    settings = _settings(schedule="plateau", schedule_factor=0.8, schedule_patience=patience)
    optimizer = make_optimizer(_Line(), settings)  # type: ignore[arg-type]
    plateau = make_plateau(optimizer, settings)
    assert plateau is not None
    assert make_schedule(optimizer, settings, 3) is None
    rate, best, bad = 0.1, -1.0, 0
    for value in (0.5, 0.6, 0.59, 0.6, 0.60001, 0.2, 0.3, 0.4, 0.5, 0.7):
        plateau.step(value)
        best, bad = (value, 0) if value > best else (best, bad + 1)
        if bad > patience:
            rate, bad = 0.8 * rate, 0
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, rate, 5 * rate, 5 * rate])
    assert rate < 0.1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"schedule": "plateau", "holdout": 0}, "follows the held-out cells; set holdout above 0"),
        ({"schedule": "plateau", "refit": True}, "which refit trains on"),
        ({"schedule": "step"}, r"needs step_epochs, such as \[2\]"),
        ({"schedule": "step", "step_epochs": 2}, r"setting step_epochs: a list such as \[2, 4\] is needed, got 2"),
        ({"schedule": "step", "step_epochs": [2, 4]}, "step_epochs 4 has no effect in a training of 4 epochs"),
        ({"schedule_epochs": 3}, "ends after 3 epochs"),
        ({"optimizer": "sgd", "momentum": 0, "cycle_momentum": True}, "whatever momentum says; leave one of them out"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _settings(**values)
