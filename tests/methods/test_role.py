"""ROLE and EPR as methods: the table of estimates, its learning rate, the expected number of present classes."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable
from partlabel.losses.assume_negative import expected_positive_penalty
from partlabel.methods.base import Clock, Context, Method
from partlabel.methods.build import build_method
from partlabel.methods.role import initial_estimates, role_cells
from partlabel.methods.single_positive import expected_positives
from partlabel.models.encoders.build import create_backbone
from partlabel.runs.settings import TrainSettings
from partlabel.training.adapter import Adapter
from partlabel.training.data import Source
from partlabel.training.ema import MovingAverage

STATES = np.random.default_rng(0).integers(-1, 2, (20, 3)).astype(np.int8)
CLOCK = Clock(0, 0, 1, 1)


def _table(states: np.ndarray[Any, Any] = STATES) -> LabelTable:
    return LabelTable.from_dense(
        [f"{row}.png" for row in range(len(states))], [f"c{c}" for c in range(states.shape[1])], states
    )


def _method(name: str = "role", table: LabelTable | None = None, **settings: Any) -> Method[Any]:
    torch.manual_seed(0)
    return build_method(
        name, settings, create_backbone("test_resnet", pretrained=False, size=32), Context(table or _table())
    )


def test_estimates_start_as_published_and_from_the_seed() -> None:
    torch.manual_seed(5)
    estimates = initial_estimates(_table())
    assert estimates.dtype == torch.float32
    torch.testing.assert_close(estimates[STATES == 1].sigmoid(), torch.full((int((STATES == 1).sum()),), 0.995))
    torch.testing.assert_close(estimates[STATES == -1].sigmoid(), torch.full((int((STATES == -1).sum()),), 0.005))
    unknown = estimates[STATES == 0].sigmoid()
    assert 0.4 <= unknown.min() < 0.45
    assert 0.55 < unknown.max() <= 0.6
    torch.manual_seed(5)
    assert torch.equal(initial_estimates(_table()), estimates)


def test_objective_takes_the_rows_of_the_images() -> None:
    method = _method(expected_positives=1.5)
    index, logits = torch.tensor([7, 3, 19]), torch.randn(3, 3)
    labels = torch.from_numpy(STATES[index.numpy()])
    found = method.objective({"logits": logits}, labels, index, CLOCK)
    estimates: torch.Tensor = method.estimates[index]  # type: ignore[index]
    penalties = [expected_positive_penalty(z.sigmoid().sum(1), 1.5, 3) for z in (logits, estimates)]
    torch.testing.assert_close(found["total"], role_cells(logits, estimates, labels).mean() + sum(penalties) / 2)
    found["total"].backward()
    touched = method.estimates.grad.abs().sum(1) > 0  # type: ignore[union-attr,operator]
    assert touched.nonzero().flatten().tolist() == [3, 7, 19]


def test_estimates_are_state_of_the_method_and_of_nothing_else() -> None:
    method = _method()
    assert method.state_dict()["estimates"].shape == (20, 3)
    assert isinstance(method.estimates, torch.nn.Parameter)
    assert not any(tensor.shape == (20, 3) for tensor in method.tagger.state_dict().values())
    average = MovingAverage(method.tagger, 0.9)
    assert not any(tensor.shape == (20, 3) for tensor in average.state_dict().values())


def _groups(method: Method[Any], **settings: Any) -> tuple[Mapping[str, Any], torch.optim.Optimizer]:
    nothing = Source(torch.utils.data.Dataset(), lambda batch: batch)
    configured = TrainSettings(method="role", lr=0.02, batch_size=5, epochs=4, **settings)
    adapter = Adapter(method, _table(), nothing, nothing, configured)
    found = adapter.configure_optimizers()
    return found, found["optimizer"] if isinstance(found, dict) else found


def test_estimates_learn_ten_times_faster_without_decay() -> None:
    method = _method()
    _, optimizer = _groups(method, schedule="constant", weight_decay=0.1)
    of_parameter = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    assert len(of_parameter) == len(list(method.parameters()))
    for name, parameter in method.named_parameters():
        group = of_parameter[id(parameter)]
        assert group["lr"] == pytest.approx(0.2 if name == "estimates" else 0.02)
        assert group["weight_decay"] == (0 if name == "estimates" or parameter.ndim <= 1 else 0.1)
    assert optimizer.param_groups[0]["lr"] == 0.02


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_the_factor_holds_along_the_schedule(schedule: str) -> None:
    found, optimizer = _groups(_method(estimate_lr_factor=3), schedule=schedule)
    highest = 0.0
    for _ in range(16):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates[2] == pytest.approx(3 * rates[0])
        highest = max(highest, rates[0])
        optimizer.step()
        found["lr_scheduler"]["scheduler"].step()
    assert highest == pytest.approx(0.02, rel=0.05)


def test_a_method_without_rules_has_the_two_ordinary_groups() -> None:
    method = _method("bce")
    _, optimizer = _groups(method, schedule="constant")
    decayed, plain = optimizer.param_groups
    assert decayed["params"] == [p for p in method.parameters() if p.ndim > 1]
    assert plain["params"] == [p for p in method.parameters() if p.ndim <= 1]


def test_expected_positives_are_estimated_where_both_signs_are_known() -> None:
    complete = (np.random.default_rng(1).random((4000, 10)) < 0.27) * 2 - 1
    hidden = np.where(np.random.default_rng(2).random(complete.shape) < 0.3, complete, 0).astype(np.int8)
    assert expected_positives(None, _table(hidden)) == pytest.approx((complete > 0).sum(1).mean(), rel=0.05)
    assert expected_positives(None, _table(complete.astype(np.int8))) == pytest.approx((complete > 0).sum(1).mean())
    assert expected_positives(1.5, _table(hidden)) == 1.5


@pytest.mark.parametrize("name", ["role", "expected_positive"])
def test_expected_positives_must_be_given_for_positives_alone(name: str) -> None:
    table = _table(np.maximum(STATES, 0))
    with pytest.raises(AssumptionError, match=r"0 known absent cells .*set expected_positives= to the mean number"):
        _method(name, table)
    total = _method(name, table, expected_positives=1.4).objective(
        {"logits": torch.zeros(2, 3)}, torch.zeros(2, 3, dtype=torch.int8), torch.arange(2), CLOCK
    )["total"]
    assert math.isfinite(total.item())
