"""The discriminant against loops over images and cells that share no code with it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.labels import LabelTable, Source
from partlabel.methods import discriminant as module
from partlabel.methods.base import Context, Seen
from partlabel.methods.build import build_method
from partlabel.methods.catalogue import entry
from partlabel.methods.discriminant import SHRINKAGES, SOFT_WEIGHT, STAGE_WEIGHTS, Discriminant, DiscriminantConfig
from partlabel.methods.fitted import Chosen, Fit
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.models.encoders.build import create_backbone
from partlabel.progress import SILENT

Floats = NDArray[np.float64]
Joint = Callable[..., Floats]
CLASSES = ("a", "b", "c")
IMAGES = 60
BACKBONE = create_backbone("test_resnet", pretrained=False, size=32, freeze=True)
TWO_STAGES = create_backbone("test_resnet", pretrained=False, size=32, freeze=True, stages=2)


def _data() -> tuple[Floats, NDArray[np.int8]]:
    """Pooled features, none below 0, that know something of the labels, and known labels."""
    random = np.random.default_rng(0)
    truth = random.random((IMAGES, len(CLASSES))) < [0.5, 0.3, 0.2]
    features = random.gamma(2.0, 0.2, (IMAGES, BACKBONE.num_features)) + truth @ random.uniform(
        0, 1.5, (len(CLASSES), BACKBONE.num_features)
    )
    known = random.random(truth.shape) < 0.6
    return features.astype(np.float32).astype(np.float64), np.where(known, np.where(truth, 1, -1), 0).astype(np.int8)


FEATURES, STATES = _data()


def _table(states: NDArray[np.int8], classes: tuple[str, ...] = CLASSES) -> LabelTable:
    return LabelTable.from_dense([f"{row:02d}.png" for row in range(len(states))], classes, states)


def _fit(
    labels: LabelTable, features: Floats = FEATURES, batch: int = 64, chosen: Chosen | None = None, **settings: Any
) -> tuple[Discriminant, Chosen]:
    torch.manual_seed(0)
    backbone = TWO_STAGES if features.shape[1] == TWO_STAGES.num_features else BACKBONE
    method: Any = build_method("discriminant", settings, backbone, Context(labels))
    values = torch.from_numpy(features).float()

    def images(index: Tensor | None = None) -> Iterator[Seen]:
        for part in (torch.arange(len(labels)) if index is None else index).split(batch):
            yield Seen(part, values[part], torch.zeros(len(part), len(labels.classes)))

    with torch.no_grad():
        return method, method.fit(Fit(labels, images, 0, SILENT, chosen or {}))


def _logits(method: Discriminant, features: Floats = FEATURES) -> Floats:
    with torch.no_grad():
        logits: Tensor = method.tagger.head(torch.from_numpy(features).float()[:, :, None, None]).logits
    return logits.numpy().astype(np.float64)


class Oracle:
    """One class at a time, one image at a time."""

    def __init__(self, states: NDArray[np.int8], features: Floats, shrinkage: float, weight: float) -> None:
        self.states, self.shrinkage, self.weight = states, shrinkage, weight
        self.features = features
        self.mean = sum(features) / len(features)
        size = features.shape[1]
        self.covariance = np.zeros((size, size))
        for row in features:
            self.covariance += np.outer(row - self.mean, row - self.mean) / len(features)
        self.shrunk = (1 - shrinkage) * self.covariance
        for j in range(size):
            self.shrunk[j, j] += shrinkage * np.trace(self.covariance) / size

    def scores(self, column: int, weights: dict[int, tuple[float, float]]) -> Floats:
        """Of all images, from the present and the absent weight of some."""
        sums, totals = np.zeros((2, self.features.shape[1])), [0.0, 0.0]
        for row, pair in weights.items():
            for side in (0, 1):
                sums[side] += pair[side] * self.features[row]
                totals[side] += pair[side]
        if not totals[0]:
            return np.zeros(len(self.features))
        absent = sums[1] / totals[1] if totals[1] else self.mean
        direction = np.linalg.solve(self.shrunk, sums[0] / totals[0] - absent)
        direction /= np.sqrt(direction @ self.covariance @ direction)
        return np.array([(row - self.mean) @ direction for row in self.features])

    def known(self, column: int, rows: list[int]) -> dict[int, tuple[float, float]]:
        return {
            row: (float(self.states[row, column] == 1), float(self.states[row, column] == -1))
            for row in rows
            if self.states[row, column]
        }

    def prevalence(self, weights: dict[int, tuple[float, float]], images: int) -> float:
        present, absent = (sum(pair[side] for pair in weights.values()) for side in (0, 1))
        return (present + 0.5) / ((present + absent if absent else images) + 1)

    def softened(self, column: int, rows: list[int], slope: float) -> Floats:
        """Scores of the second pass."""
        weights = self.known(column, rows)
        scores = self.scores(column, weights)
        unknown = [row for row in rows if not self.states[row, column]]
        offset = _offset(slope, scores[unknown], self.prevalence(weights, len(rows)))
        for row in unknown:
            likely = expit(slope * scores[row] + offset)
            weights[row] = (self.weight * likely, self.weight * (1 - likely))
        return self.scores(column, weights)


def _offset(slope: float, scores: Floats, prevalence: float) -> float:
    if not len(scores):
        return float(logit(prevalence))
    return float(brentq(lambda b: expit(slope * scores + b).mean() - prevalence, -60, 60))


def _slope(scores: Floats, states: NDArray[np.int8]) -> float:
    present = [s for s, state in zip(scores.flat, states.flat, strict=True) if state == 1]
    absent = [s for s, state in zip(scores.flat, states.flat, strict=True) if state == -1]
    below = np.mean(absent) if absent else np.mean(scores)
    return float(min(max(np.mean(present) - below, 0.5), 8.0))


def _expected(
    joint_lines: Joint,
    states: NDArray[np.int8],
    features: Floats,
    folds: NDArray[np.int64],
    shrinkage: float,
    weight: float,
) -> tuple[Floats, Floats]:
    """Logits, and the scores of images by what the other folds tell."""
    oracle = Oracle(states, features, shrinkage, weight)
    everything, columns = list(range(len(states))), range(states.shape[1])
    left_out = np.empty(states.shape)

    def by_folds(scores_of: Any) -> float:
        for fold in set(folds.tolist()):
            others = [row for row in everything if folds[row] != fold]
            for column in columns:
                left_out[folds == fold, column] = scores_of(column, others)[folds == fold]
        judged = (states != 0).any(1)
        return _slope(left_out[judged], states[judged])

    slope = by_folds(lambda column, rows: oracle.scores(column, oracle.known(column, rows)))
    first = slope
    if weight:
        slope = by_folds(lambda column, rows: oracle.softened(column, rows, first))
    logits, judged = np.empty(states.shape), (states != 0).any(1)
    both = [column for column in columns if {1, -1} <= set(states[:, column].tolist())]
    lines = (
        dict(zip(both, joint_lines(left_out[judged][:, both], states[judged][:, both], slope).T, strict=True))
        if both
        else {}
    )
    for column in columns:
        known = oracle.known(column, everything)
        scores = oracle.softened(column, everything, first) if weight else oracle.scores(column, known)
        if column in lines:
            logits[:, column] = lines[column][0] * scores + lines[column][1]
        else:
            logits[:, column] = slope * scores + _offset(slope, scores, oracle.prevalence(known, len(states)))
    return logits, left_out


def _folds(labels: LabelTable, count: int) -> NDArray[np.int64]:
    return FeaturePasses(Fit(labels, lambda index=None: iter(()), 0, SILENT, {}), count).fold.numpy()


PRESENT_ALONE = np.where(STATES == -1, 0, STATES).astype(np.int8)
ONE_CLASS_WITHOUT_ABSENT = np.where((STATES == -1) & (np.arange(3) == 1), 0, STATES).astype(np.int8)


@pytest.mark.parametrize("states", [STATES, PRESENT_ALONE, ONE_CLASS_WITHOUT_ABSENT], ids=["both", "present", "mixed"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("transform", ["none", "sqrt"])
def test_logits_are_those_of_the_loops(
    joint_lines: Joint, states: NDArray[np.int8], weight: float, transform: str
) -> None:
    labels = _table(states)
    features = FEATURES / np.sqrt(FEATURES + 1e-4) if transform == "sqrt" else FEATURES
    expected, left_out = _expected(joint_lines, states, features, _folds(labels, 4), 0.3, weight)
    method, chosen = _fit(labels, transform=transform, shrinkage=0.3, soft_weight=weight, folds=4)
    np.testing.assert_allclose(_logits(method), expected, rtol=0.01, atol=0.05)
    assert chosen["soft_weight"] == weight
    assert 0.51 < float(chosen["slope"]) < 7.9, "the bounds would hide it"
    judged = (states != 0).any(1)
    against = states if (states == -1).any() else np.where(states == 0, -1, states)
    values = [
        average_precision_score(against[rows, column] == 1, left_out[rows, column])
        for column in range(3)
        if len(np.unique(against[rows := judged & (against[:, column] != 0), column])) == 2
    ]
    assert chosen["folds_mAP"] == pytest.approx(np.mean(values), abs=0.01)


def test_recovered_cells_are_learned_from_but_choose_nothing(joint_lines: Joint) -> None:
    random = np.random.default_rng(8)
    guessed = (STATES == 0) & (random.random(STATES.shape) < 0.5)
    states = np.where(guessed, random.choice([-1, 1], STATES.shape), STATES).astype(np.int8)
    rows, columns = np.nonzero(states)
    sources = np.where(guessed[rows, columns], Source.RECOVERED, Source.IMPORT)
    images = [f"{row:02d}.png" for row in range(IMAGES)]
    labels = LabelTable.from_cells(images, CLASSES, rows, columns, states[rows, columns], sources)
    _, chosen = _fit(labels, transform="none", shrinkage=0.3, soft_weight=0, folds=4)
    _, left_out = _expected(joint_lines, states, FEATURES, _folds(labels, 4), 0.3, 0.0)
    own = [
        average_precision_score(STATES[known, column] == 1, left_out[known, column])
        for column in range(len(CLASSES))
        for known in [STATES[:, column] != 0]
    ]
    assert chosen["folds_mAP"] == pytest.approx(np.mean(own), abs=0.01)
    assert chosen["slope"] == pytest.approx(_slope(left_out, STATES), abs=0.01)
    _, imported = _fit(_table(states), transform="none", shrinkage=0.3, soft_weight=0, folds=4)
    assert abs(imported["folds_mAP"] - chosen["folds_mAP"]) > 0.05


def _with_second_stage() -> Floats:
    """Features of a second stage, larger ones, that know of the labels too."""
    random = np.random.default_rng(5)
    width = TWO_STAGES.num_features - BACKBONE.num_features
    seen = (STATES == 1) @ random.uniform(0, 1.2, (len(CLASSES), width))
    return np.hstack([FEATURES, (random.gamma(2.0, 1.0, (IMAGES, width)) + seen).astype(np.float32)])


SECOND = _with_second_stage()
NOISY = np.maximum(SECOND + np.random.default_rng(6).normal(0, 1.5, SECOND.shape).astype(np.float32), 0)


def test_features_of_a_second_stage_are_weighted(joint_lines: Joint) -> None:
    scaled = SECOND.copy()
    for columns, weight in ((slice(0, BACKBONE.num_features), 1.0), (slice(BACKBONE.num_features, None), 0.7)):
        variance = sum(((column - column.mean()) ** 2).mean() for column in SECOND[:, columns].T)
        scaled[:, columns] *= weight / np.sqrt(variance)
    labels = _table(STATES)
    expected, _ = _expected(joint_lines, STATES, scaled, _folds(labels, 4), 0.3, 0.5)
    method, chosen = _fit(labels, SECOND, transform="none", shrinkage=0.3, soft_weight=0.5, folds=4, stage_weight=0.7)
    np.testing.assert_allclose(_logits(method, SECOND), expected, rtol=0.01, atol=0.05)
    assert chosen["stage_weight"] == 0.7


def test_the_weight_of_a_second_stage_with_the_best_folds_is_taken() -> None:
    labels = _table(STATES)
    assert STAGE_WEIGHTS == (0.35, 0.7, 1.4)
    tried = {
        weight: _fit(labels, NOISY, transform="none", soft_weight=0, stage_weight=weight)[1]["folds_mAP"]
        for weight in STAGE_WEIGHTS
    }
    chosen = _fit(labels, NOISY, transform="none", soft_weight=0)[1]
    assert len(set(tried.values())) > 1
    assert tried[chosen["stage_weight"]] == chosen["folds_mAP"] == max(tried.values())


def test_a_weight_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="stage_weight has no effect on features of one stage"):
        _fit(_table(STATES), stage_weight=0.7)


def test_the_shrinkage_with_the_best_folds_is_taken() -> None:
    labels = _table(STATES)
    tried = {
        shrinkage: _fit(labels, transform="none", shrinkage=shrinkage, soft_weight=0)[1]["folds_mAP"]
        for shrinkage in SHRINKAGES
    }
    chosen = _fit(labels, transform="none", soft_weight=0)[1]
    assert len(set(tried.values())) > 3
    assert chosen["folds_mAP"] == max(tried.values())
    assert tried[chosen["shrinkage"]] == max(tried.values())


@pytest.mark.parametrize("states", [STATES, PRESENT_ALONE])
def test_soft_labels_and_transform_are_taken_where_folds_say_so(states: NDArray[np.int8]) -> None:
    labels = _table(states)
    best, name = -1.0, ""
    for transform in ("none", "sqrt"):
        without = _fit(labels, transform=transform, soft_weight=0)[1]
        if without["folds_mAP"] > best:
            best, name = without["folds_mAP"], transform
    with_soft = _fit(labels, transform=name, soft_weight=SOFT_WEIGHT)[1]
    method, chosen = _fit(labels)
    assert chosen["transform"] == name
    assert chosen["folds_mAP_of_first_pass"] == best
    assert chosen["soft_weight"] == (SOFT_WEIGHT if with_soft["folds_mAP"] >= best else 0)
    assert method.tagger.head_spec.settings.get("transform", "none") == name


def test_soft_labels_that_make_folds_worse_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = _table(STATES)
    without, _ = _fit(labels, transform="none", soft_weight=0)
    monkeypatch.setattr(
        module, "_softened", lambda passes, sums, first, weight: [-one for one in module.known_differences(sums)]
    )
    method, chosen = _fit(labels, transform="none")
    assert chosen["soft_weight"] == 0
    one, other = (fitted.tagger.head.state_dict() for fitted in (without, method))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_what_an_earlier_fit_chose_is_taken_over(weight: float) -> None:
    labels = _table(STATES)
    first, chosen = _fit(labels, SECOND, transform="sqrt", shrinkage=0.3, soft_weight=weight, stage_weight=1.4)
    again, kept = _fit(labels, SECOND, chosen=chosen)
    state = again.tagger.head.state_dict()
    assert all(torch.equal(state[name], value) for name, value in first.tagger.head.state_dict().items())
    judged = {name for name in chosen if name.startswith("folds_mAP")}
    assert {name: value for name, value in kept.items() if name not in judged} == {
        name: value for name, value in chosen.items() if name not in judged
    }


def test_defaults_choose_by_folds() -> None:
    assert DiscriminantConfig() == DiscriminantConfig(
        transform="auto", shrinkage=None, soft_weight=None, stage_weight=None, folds=5, pool="avg"
    )
    assert SHRINKAGES == (1.0, 0.99, 0.97, 0.95, 0.9, 0.8, 0.5, 0.2, 0.05)
    assert SOFT_WEIGHT == 0.5
    assert entry("discriminant").reads_unknown == "soft"
    assert entry("discriminant", {"soft_weight": 0}).reads_unknown == "ignored"


def test_the_same_bits_whatever_the_batches_are() -> None:
    labels = _table(STATES)
    states = [_fit(labels, batch=batch)[0].tagger.head.state_dict() for batch in (1, 7, 60)]
    for other in states[1:]:
        assert all(torch.equal(other[name], value) for name, value in states[0].items())


def test_the_order_of_images_does_not_matter() -> None:
    order = np.random.default_rng(3).permutation(IMAGES)
    labels = _table(STATES)
    one, other = _fit(labels)[0], _fit(labels.select_images(order), FEATURES[order])[0]
    np.testing.assert_allclose(_logits(other), _logits(one), atol=1e-5)


def test_permuting_classes_permutes_the_result() -> None:
    order = [2, 0, 1]
    one = _fit(_table(STATES))[0]
    other = _fit(_table(STATES[:, order], tuple(CLASSES[place] for place in order)))[0]
    np.testing.assert_allclose(_logits(other), _logits(one)[:, order], atol=1e-5)


def test_unknown_is_not_absent() -> None:
    completed = np.where(STATES == 0, -1, STATES).astype(np.int8)
    for weight in (0, 0.5):
        one, other = (_fit(_table(states), soft_weight=weight)[0] for states in (STATES, completed))
        assert np.abs(_logits(one) - _logits(other)).max() > 0.1


def test_without_soft_labels_unknown_cells_add_nothing_but_their_image() -> None:
    """What is unknown has no part in the means: the same labels with their unknown cells of another class are equal."""
    two, three = _table(STATES[:, :2], CLASSES[:2]), _table(STATES)
    for settings in ({"soft_weight": 0}, {"soft_weight": 0.5}):
        fixed = {"shrinkage": 0.5, "transform": "none", **settings}
        one, other = _fit(two, **fixed)[0], _fit(three, **fixed)[0]
        rows = [head.state_dict()["linear.weight"][:2] for head in (one.tagger.head, other.tagger.head)]
        cosine = torch.nn.functional.cosine_similarity(*rows)
        assert (cosine > 0.995 if settings["soft_weight"] else cosine > 1 - 1e-6).all()


@pytest.mark.parametrize(
    "states",
    [
        np.array([[1, 0, 0]], np.int8),
        np.array([[1, -1, 0], [0, 0, 0]], np.int8),
        np.array([[1, 1, 1], [1, 1, 1], [-1, -1, -1]], np.int8),
        np.array([[1, -1, -1], [0, -1, 0], [-1, -1, 0], [1, 0, -1]], np.int8),
    ],
)
def test_finite_on_poor_tables(states: NDArray[np.int8]) -> None:
    method, chosen = _fit(_table(states), FEATURES[: len(states)])
    assert np.isfinite(_logits(method)).all()
    assert 0 < float(chosen["shrinkage"]) <= 1


def test_a_class_that_is_never_present_is_unlikely_everywhere() -> None:
    states = STATES.copy()
    states[:, 1] = np.where(states[:, 1] == 1, 0, states[:, 1])
    logits = _logits(_fit(_table(states))[0])
    assert (logits[:, 1] < -2).all()
    assert np.ptp(logits[:, 1]) == 0


def test_constant_features_give_the_prevalence() -> None:
    method, _ = _fit(_table(STATES), np.ones_like(FEATURES))
    present, absent = (STATES == 1).sum(0), (STATES == -1).sum(0)
    np.testing.assert_allclose(_logits(method)[0], logit(present / (present + absent)), atol=0.1)
    assert np.ptp(_logits(method), axis=0).max() == 0


OTHERS: dict[str, Any] = {
    "stage_weight": 3.0,
    "transform": "sqrt",
    "shrinkage": 0.35,
    "soft_weight": 0.9,
    "folds": 3,
    "pool": "max",
}


@pytest.mark.parametrize("setting", DiscriminantConfig.model_fields)
def test_every_setting_counts(setting: str) -> None:
    base = {"transform": "none", "shrinkage": 0.6, "soft_weight": 0.3}
    features = SECOND if setting == "stage_weight" else FEATURES
    one, other = (_fit(_table(STATES), features, **{**base, **more})[0] for more in ({}, {setting: OTHERS[setting]}))
    pools = [method.tagger.head_spec.settings["pool"] for method in (one, other)]
    assert pools == (["avg", "max"] if setting == "pool" else ["avg", "avg"])
    assert setting == "pool" or np.abs(_logits(one, features) - _logits(other, features)).max() > 1e-3


@pytest.mark.parametrize(
    "settings", [{"shrinkage": 0.0}, {"shrinkage": 1.1}, {"soft_weight": -0.1}, {"folds": 1}, {"folds": 101}]
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"method discriminant: {next(iter(settings))}"):
        _fit(_table(STATES), **settings)


def test_a_seed_draws_other_folds() -> None:
    labels = _table(STATES)
    one, other = (
        FeaturePasses(Fit(labels, lambda index=None: iter(()), seed, SILENT, {}), 5).fold.tolist() for seed in (0, 1)
    )
    assert sorted(one) == sorted(other)
    assert one != other
    assert max(one.count(fold) for fold in range(5)) - min(one.count(fold) for fold in range(5)) <= 1
    assert sorted(_folds(_table(STATES[:3]), 5).tolist()) == [0, 1, 2]


def test_no_more_images_judge_than_memory_is_meant_for(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = _table(STATES)
    passes = FeaturePasses(Fit(labels, lambda index=None: iter(()), 0, SILENT, {}), 5)
    everyone = passes.judged(9)
    assert everyone.tolist() == np.flatnonzero((STATES != 0).any(1)).tolist()
    monkeypatch.setattr("partlabel.methods.tools.feature_passes.MOST_JUDGED", 9 * 3 * 20)
    monkeypatch.setattr("partlabel.methods.tools.feature_passes.LEAST_JUDGED", 0)
    some = passes.judged(9)
    assert len(some) == 20
    assert set(some) < set(everyone)
