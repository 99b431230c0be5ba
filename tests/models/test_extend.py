"""Bundles with classes that came later: nothing changes for the others, to the last bit."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.errors import RunError, UsageError
from partlabel.inference.decisions import decide
from partlabel.models.bundle import BundleInfo, load_bundle, save_bundle
from partlabel.models.encoders.build import create_backbone
from partlabel.models.extend import NEVER, AddedRow, extended, linear_head
from partlabel.models.heads import HeadSpec, build_head
from partlabel.models.heads.pooled import PooledHead, transformed
from partlabel.models.tagger import Tagger
from partlabel.recovery.calibrate import Calibration

CLASSES = ("red", "green")
CALIBRATION = Calibration(CLASSES, np.array([0.5, -1.0]), np.array([2.0, 0.5]), 0.9, 0.3).to_json()


def _bundle(head: HeadSpec | None = None, stages: int = 1, **said: object) -> tuple[Tagger, BundleInfo]:
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, stages=stages)
    tagger = Tagger(backbone, head or HeadSpec(), CLASSES).eval()
    return tagger, BundleInfo(backbone=backbone.spec, head=tagger.head_spec, classes=CLASSES, method="bce", **said)  # type: ignore[arg-type]


def _rows(tagger: Tagger) -> list[AddedRow]:
    weights = torch.randn(2, tagger.backbone.num_features, generator=torch.Generator().manual_seed(1))
    return [AddedRow("blue", weights[0], 0.25, 0.125), AddedRow("grey", weights[1].double(), -0.5, None)]


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("transform", ["none", "sqrt"])
def test_the_other_logits_have_the_same_bits(pool: str, transform: str) -> None:
    """For any number of features, classes and images; a larger matrix would not have them."""
    settings = {"pool": pool, "transform": transform}
    for features, classes in ((1280, 1), (1280, 74), (513, 7)):
        head = build_head(HeadSpec(settings=settings), features, classes)
        wider = build_head(HeadSpec(kind="extended", settings={**settings, "added": 3}), features, classes + 3)
        wider.load_state_dict({**wider.state_dict(), **head.state_dict()})
        for images in (1, 2, 17):
            maps = torch.randn(images, features, 2, 2)
            logits = wider(maps).logits
            assert torch.equal(logits[:, :classes], head(maps).logits)
            torch.testing.assert_close(wider.class_maps(maps)[:, :classes], head.class_maps(maps))
            assert isinstance(head, PooledHead)
            weight, bias = (wider.get_parameter(f"added.{name}") for name in ("weight", "bias"))
            expected = transformed(head.pooled(maps), head.transform) @ weight.T + bias
            torch.testing.assert_close(logits[:, classes:], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transform", ["none", "sqrt"])
def test_class_maps_of_added_classes_have_their_logits_as_mean(transform: str) -> None:
    maps = torch.randn(3, 5, 2, 4)
    head = build_head(HeadSpec(kind="extended", settings={"transform": transform, "added": 2}), 5, 4)
    torch.testing.assert_close(head.class_maps(maps).mean((2, 3)), head(maps).logits)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("said", [{}, {"thresholds": (0.5, -0.5), "calibration": CALIBRATION}])
def test_a_bundle_keeps_what_it_said_of_the_others(tmp_path: Path, stages: int, said: dict[str, object]) -> None:
    tagger, info = _bundle(HeadSpec(settings={"transform": "sqrt"}), stages, **said)
    rows = _rows(tagger)
    save_bundle(tmp_path, *extended(tagger, info, rows))
    loaded, its = load_bundle(tmp_path)
    assert (its.classes, loaded.classes) == ((*CLASSES, "blue", "grey"),) * 2
    images = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        logits, before = loaded(images).logits, tagger(images).logits
        pooled = linear_head(tagger, "it").pooled(tagger.features(images).maps)
    assert torch.equal(logits[:, :2], before)
    for place, row in enumerate(rows, start=2):
        expected = transformed(pooled, "sqrt").double() @ row.weight.double() + row.bias
        torch.testing.assert_close(logits[:, place].double(), expected, rtol=1e-4, atol=1e-4)

    old = decide(before.numpy(), info.thresholds, info.calibration)
    new = decide(logits.numpy(), its.thresholds, its.calibration)
    np.testing.assert_allclose(new.probability[:, :2], old.probability, rtol=1e-12)
    np.testing.assert_array_equal(new.predicted[:, :2], old.predicted)
    np.testing.assert_array_equal(new.predicted[:, 3], logits[:, 3].numpy() >= 0)


def test_a_class_told_by_its_name_is_never_tagged_and_has_one_probability() -> None:
    tagger, info = _bundle()
    _, its = extended(tagger, info, _rows(tagger))
    logits = np.array([[0, 0, value, 0] for value in (-3e38, -5, 0, 5, 3.4e38)], np.float32)
    found = decide(logits[1:4], its.thresholds, its.calibration)
    np.testing.assert_allclose(found.probability[:, 2], 0.125, rtol=1e-6)
    assert not decide(logits, its.thresholds, None).predicted[:, 2].any()
    assert float(np.finfo(np.float32).max) < NEVER < math.inf


def test_ceiling_and_bend_of_the_run_are_not_those_of_added_classes() -> None:
    tagger, info = _bundle(calibration=CALIBRATION)
    _, its = extended(tagger, info, _rows(tagger))
    logits = np.array([[0, 0, value, value] for value in (-2, 0, 3)], np.float32)
    found = decide(logits, its.thresholds, its.calibration).probability
    np.testing.assert_allclose(found[:, 2], 0.125, rtol=1e-6)
    np.testing.assert_allclose(found[:, 3], [1 / (1 + math.exp(-value)) for value in (-2, 0, 3)], rtol=1e-6)
    assert its.calibration is not None
    single = Calibration.from_json(its.calibration).of(logits[:, 3].astype(np.float64), np.full(3, 3))
    np.testing.assert_allclose(single, found[:, 3], rtol=1e-12)
    with pytest.raises(RunError, match="4 classes, and 5 plain ones"):
        Calibration.from_json({**its.calibration, "plain": 5})


def test_nothing_is_made_up_where_logits_are_log_odds() -> None:
    tagger, info = _bundle()
    _, its = extended(tagger, info, _rows(tagger)[1:])
    assert its.calibration is None
    assert its.thresholds == (0.0, 0.0, 0.0)


def test_another_head_is_refused_with_the_remedy() -> None:
    tagger, info = _bundle(HeadSpec(kind="low_rank", settings={"rank": 2}))
    with pytest.raises(
        UsageError, match=r"its head 'low_rank' is more than one linear layer .*train again on the table"
    ):
        extended(tagger, info, _rows(tagger))


@pytest.mark.parametrize("added", [0, -1, 3, 10**9, 1.5, "2", None])
def test_a_bundle_that_says_another_number_is_refused(tmp_path: Path, added: object) -> None:
    tagger, info = _bundle()
    save_bundle(tmp_path, *extended(tagger, info, _rows(tagger)))
    described = json.loads((tmp_path / "model.json").read_text())
    described["head"]["settings"]["added"] = added
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(RunError, match=r"describes no model that can be built|do not fit test_resnet"):
        load_bundle(tmp_path)
