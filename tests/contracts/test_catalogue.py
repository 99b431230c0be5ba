"""What the catalogue says of a method is what its objective does."""

import inspect
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from partlabel.errors import AssumptionError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method, Seen
from partlabel.methods.build import build_method, method_class
from partlabel.methods.catalogue import CATALOGUE, check_fit, entry, misfit, notice
from partlabel.methods.catalogue.entry import Entry, Needs
from partlabel.methods.fitted import FittedMethod
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers

CLASSES = ("a", "b", "c", "d")
IMAGES, EPOCHS = 12, 10
STATES = np.random.default_rng(2).integers(-1, 2, (IMAGES, len(CLASSES))).astype(np.int8)
PRIOR = {"prior": str(Path(__file__).parents[1] / "methods" / "prior.csv")}
SETTINGS: dict[str, dict[str, Any]] = {
    "class_selective": {"top_k": 1, "prior_threshold": 0.5},  # the defaults leave out all of four classes
    "colearning": {"hidden": 16, "reduction": 16, "label_features": 8},
    **{name: {"hidden": 16, "reduction": 16, "pair_width": 16} for name in ("sst", "hst")},
    "positive_unlabeled": {"mixup_weight": 0},
    **{name: PRIOR for name, method in CATALOGUE.items() if method.needs_prior},
}
TOLD = [name for name, method in CATALOGUE.items() if method.may_assume_absent]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, SETTINGS.get(name, {})) for name, method in CATALOGUE.items() if not method.fitted},
    **{f"{name}, unknown absent": (name, {"unknown": "absent"}) for name in TOLD},
}

BY_LOGITS = [variant for variant, (name, _) in VARIANTS.items() if name != "cnn_rnn"]
"""Variants whose objective takes the logits by which images are tagged; `cnn_rnn` learns another sequence of scores."""


class Answer(NamedTuple):
    """An objective, and the gradient that reaches the logits of the images."""

    losses: dict[str, Tensor]
    gradient: Tensor

    @property
    def known(self) -> Tensor:
        """The part that known cells have in the loss, where it is told apart, else the whole."""
        return self.losses.get("supervised", self.losses.get("refined", self.losses["total"]))


def _entry(variant: str) -> Entry:
    return entry(*VARIANTS[variant])


def _build(variant: str) -> Method[Any]:
    name, settings = VARIANTS[variant]
    torch.manual_seed(0)
    table = LabelTable.from_dense([f"{row:02d}.png" for row in range(IMAGES)], CLASSES, STATES)
    context = Context(table, backbone=_towers() if CATALOGUE[name].joint_space else "")
    backbone = create_backbone(context.backbone or "test_resnet", pretrained=bool(context.backbone), **_space(name))
    return build_method(name, settings, backbone, context).eval()


def _space(name: str) -> dict[str, Any]:
    joint = CATALOGUE[name].joint_space
    return {"joint_space": joint} if joint else {"size": 32}


@cache
def _towers() -> str:
    return write_towers(Path(tempfile.mkdtemp()))


def _answer(method: Method[Any], logits: Tensor, labels: Tensor, epoch: int = 0, part: str = "total") -> Answer:
    """The objective of the first images of the table, if these were their logits in all outputs."""
    torch.manual_seed(1)
    outputs = dict(method({view: torch.randn(len(labels), 3, 32, 32) for view in method.views}))
    leaf = logits.clone().requires_grad_()
    outputs |= {name: leaf for name, value in outputs.items() if value.shape == logits.shape}
    losses = method.objective(outputs, labels, torch.arange(len(labels)), Clock(epoch, epoch, EPOCHS, EPOCHS))
    answer = Answer(losses, torch.zeros_like(logits))
    loss = answer.known if part == "known" else losses["total"]
    (gradient,) = torch.autograd.grad(loss, leaf, allow_unused=True, materialize_grads=True)
    return answer._replace(gradient=gradient)


def _seen() -> Iterator[Seen]:
    """The images of the table as a network sees them, made up."""
    random = torch.Generator().manual_seed(4)
    width = create_backbone("test_resnet", pretrained=False, size=32).num_features
    logits = 3 * torch.randn(IMAGES, len(CLASSES), generator=random)
    yield Seen(torch.arange(IMAGES), torch.rand(IMAGES, width, generator=random), logits)


def _last_epoch(method: Method[Any], logits: Tensor, labels: Tensor) -> Answer:
    """The objective in the last epoch, after all that methods keep from the ones before."""
    for epoch in range(EPOCHS):
        clock = Clock(epoch, epoch, EPOCHS, EPOCHS)
        if method.refresh_due(clock):
            method.refresh(clock, _seen)
        answer = _answer(method, logits, labels, epoch)
    return answer


def _spread_logits() -> Tensor:
    return 4 * torch.randn(IMAGES, len(CLASSES), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", [name for name in BY_LOGITS if name != "sarb"])  # which makes logits of its own
def test_unknown_is_ignored_where_the_catalogue_says_so_and_nowhere_else(name: str) -> None:
    method, labels = _build(name), torch.from_numpy(STATES)
    unknown = labels == 0
    first = _answer(method, _spread_logits(), labels).gradient[unknown]
    last = _last_epoch(method, _spread_logits(), labels).gradient[unknown]
    reached = bool((first != 0).any() or (last != 0).any())
    assert reached == (_entry(name).reads_unknown != "ignored")
    assert method.learns_from_unknown == reached


@pytest.mark.parametrize("name", VARIANTS)
def test_unknown_is_read_as_absent_where_the_catalogue_says_so_and_nowhere_else(name: str) -> None:
    method, logits, labels = _build(name), _spread_logits(), torch.from_numpy(STATES)
    losses = {
        filled: _answer(method, logits, torch.where(labels == 0, filled, labels).to(torch.int8)).losses["total"]
        for filled in (0, -1)
    }
    reads = _entry(name).reads_unknown
    assert torch.allclose(losses[0], losses[-1]) == (reads in {"absent", "unlabelled"})
    forgotten = torch.where(labels == -1, 0, labels).to(torch.int8)
    without_absent = _answer(method, logits, forgotten).losses["total"]
    assert torch.allclose(losses[0], without_absent) == (reads in {"absent", "unlabelled"})
    words = _entry(name).unknown
    assert reads != "absent" or words.startswith("taken as absent")
    assert (reads == "unlabelled") == words.startswith("unlabelled")


@pytest.mark.parametrize("name", BY_LOGITS)
def test_needs_are_what_the_objective_needs(name: str) -> None:
    """Without a known absent cell, a method that needs some has nothing to push a logit down with."""
    method = _build(name)
    present = torch.from_numpy(np.where(STATES == 1, 1, 0).astype(np.int8))
    flat = torch.zeros(present.shape)
    if _entry(name).needs is Needs.PRESENT:
        gradient = _answer(method, flat + 1, present, part="known").gradient
        assert (gradient > 0).any(), "it learns nothing but presence"
        assert (_answer(method, flat, present).gradient[present == 1] < 0).all()
    elif _entry(name).needs is Needs.NOTHING:
        gradient = _answer(method, flat, torch.zeros_like(present)).gradient
        assert (gradient > 0).any(), "it learns nothing but presence"
        assert (gradient < 0).any(), "it learns nothing but absence"
    else:
        assert not (_answer(method, flat + 1, present, part="known").gradient > 0).any()
    one_sign = present.clone()
    one_sign[: IMAGES // 2] = -1
    one_sign[IMAGES // 2 :] = 1
    assert (_answer(method, flat + 1, one_sign, part="known").gradient == 0).all() == (
        _entry(name).needs is Needs.PAIRS
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_told_before_training_comes_from_what_is_done(name: str) -> None:
    told = notice(*VARIANTS[name])
    assert (told is not None) == (_entry(name).reads_unknown in {"absent", "soft"})
    assert told is None or told == f"{VARIANTS[name][0]}: unknown cells are {_entry(name).unknown}"


def test_held_out_cells_are_misread_by_methods_that_take_absence_from_unknown() -> None:
    misreading = {name for name, method in CATALOGUE.items() if method.takes_absence_from_unknown}
    assert {"assume_negative", "coselection", "hill", "weak_assume_negative", "large_loss"} <= misreading
    assert not misreading & {
        "bce",
        "asl",
        "focal",
        "ml_gcn",
        "ssgrl",
        "saliency",
        "colearning",
        "interactive",
        "curriculum",
        "positive_unlabeled",
    }


def test_what_can_be_told_to_take_unknown_as_absent_is_what_has_the_setting() -> None:
    assert TOLD == ["asl", "focal", "ssgrl", "ml_gcn", "ml_decoder", "query2label"]
    for name in CATALOGUE:
        assert ("unknown" in method_class(name).Config.model_fields) == (name in TOLD)
        assert entry(name, {"unknown": "ignored"}) == entry(name, {}) == CATALOGUE[name]
    for name in TOLD:
        assert entry(name, {"unknown": "absent"}).takes_absence_from_unknown


@pytest.mark.parametrize("name", TOLD)
def test_told_to_take_unknown_as_absent_it_learns_what_it_learns_of_the_completed_table(name: str) -> None:
    """The head too, whose graph may be counted from the labels."""
    completed = np.where(STATES == 0, -1, STATES).astype(np.int8)
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    table = LabelTable.from_dense([f"{row:02d}.png" for row in range(IMAGES)], CLASSES, completed)
    plain, told = build_method(name, {}, backbone, Context(table)).eval(), _build(f"{name}, unknown absent")
    for buffer, value in plain.named_buffers():
        assert torch.equal(told.get_buffer(buffer), value), buffer
    one = _answer(told, _spread_logits(), torch.from_numpy(STATES))
    other = _answer(plain, _spread_logits(), torch.from_numpy(completed))
    torch.testing.assert_close(one.losses["total"], other.losses["total"])
    torch.testing.assert_close(one.gradient, other.gradient)


@pytest.mark.parametrize("name", CATALOGUE)
def test_locations_are_methods_with_frozen_settings(name: str) -> None:
    kind = method_class(name)
    assert issubclass(kind, Method)
    assert issubclass(kind, FittedMethod) == CATALOGUE[name].fitted
    assert kind.__name__ == CATALOGUE[name].location.partition(":")[2]
    config = kind.Config()
    with pytest.raises(ValueError, match="frozen"):
        setattr(config, next(iter(kind.Config.model_fields)), 1)


def test_a_table_that_does_not_fit_is_refused_with_names() -> None:
    only_present = LabelTable.from_dense(["x", "y"], ["a"], [[1], [0]])
    for name, method in CATALOGUE.items():
        if method.needs not in {Needs.PRESENT, Needs.NOTHING}:
            with pytest.raises(AssumptionError, match=r"1 present and no absent.*assume_negative"):
                check_fit(name, only_present)
        else:
            assert misfit(name, only_present) is None
    for name in TOLD:
        check_fit(name, only_present, {"unknown": "absent"})
        with pytest.raises(AssumptionError):
            check_fit(name, only_present, {"unknown": "ignored"})
    with pytest.raises(AssumptionError, match="no method can learn"):
        check_fit("bce", LabelTable.from_dense(["x"], ["a"], [[0]]))


@pytest.mark.parametrize("name", ["interactive", "positive_unlabeled"])
def test_long_notes_have_their_parts_in_order(name: str) -> None:
    lines = (inspect.getdoc(inspect.getmodule(method_class(name))) or "").splitlines()
    parts = ["Source", "Objective", "Unknown cells", "Settings", "Known deviations"]
    assert [line for line in lines if line in parts] == parts
    assert all(not lines[lines.index(part) - 1] for part in parts)
