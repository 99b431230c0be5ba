"""What every method promises, tried on each in turn."""

import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from partlabel.api.train import train
from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method, Seen
from partlabel.methods.build import build_method, method_class, method_config
from partlabel.methods.catalogue import CATALOGUE, entry, notice
from partlabel.methods.catalogue.entry import Needs
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers
from partlabel.runs.settings import TrainSettings

LIGHT = {"reduction": 32, "hidden": 64, "dropout": 0.0, "mlp_dropout": 0.0}
"""Of `colearning`: at the learning rate of the overfitting test the full width is unsteady, and dropout would be judged
too.
"""
SOFT = {"spatial": 5.0, "scale": 10.0}
"""Of methods with cosines: features of random towers are alike, and at full scale no cell would have a gradient."""
LIGHT_DECODER = {"width": 64, "feed_forward": 64, "dropout": 0.0}
LIGHT_QUERIES = {"feed_forward": 64, "reduction": 32, "dropout": 0.0}
"""Of `ml_decoder` and `query2label`, as `LIGHT`."""
SIDE = Path(__file__).parents[1] / "methods" / "side.csv"
PRIOR = {"prior": str(SIDE.with_name("prior.csv"))}
COLEARNING_BASE = {"region": False, "self_attention": False, "sgfe": False, "srfl": False, "colearning": False}
COLEARNING_ROWS: dict[str, dict[str, Any]] = {
    "base": COLEARNING_BASE,
    "+region": {**COLEARNING_BASE, "region": True},
    "+SA": {"sgfe": False, "srfl": False, "colearning": False},
    "+SGFE": {"srfl": False, "colearning": False, **LIGHT},
    "+SRFL": {"colearning": False, **LIGHT},
    "official": {"pseudo": "scaled", "normalization": "official", **LIGHT},
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, PRIOR if method.needs_prior else {}) for name, method in CATALOGUE.items() if not method.fitted},
    **{
        f"{name}, unknown absent": (name, {"unknown": "absent"})
        for name, method in CATALOGUE.items()
        if method.may_assume_absent
    },
    "bce by image": ("bce", {"normalization": "partial_bce"}),
    "self_training asl": ("self_training", {"loss": "asl"}),
    "saliency BN-BCE": ("saliency", {"saliency": False, "pseudo": "none"}),
    "saliency +PL": ("saliency", {"saliency": False, "pseudo": "weak"}),
    "saliency +CR": ("saliency", {"saliency": False, "pseudo": "strong"}),
    "saliency +SR": ("saliency", {"pseudo": "none"}),
    "saliency +SR +CR (no SR)": ("saliency", {"pseudo_from": "plain", "pseudo_into": "plain"}),
    "saliency weak view": ("saliency", {"supervised": "weak"}),
    "colearning": ("colearning", LIGHT),
    **{f"colearning {row}": ("colearning", settings) for row, settings in COLEARNING_ROWS.items()},
    "interactive no graphs": ("interactive", {"lambda_y": 0, "lambda_f": 0}),
    "interactive fixed image graph": ("interactive", {"dictionary": "fixed"}),
    "interactive fixed label graph": ("interactive", {"learn_graph": False}),
    "interactive cache": ("interactive", {"dictionary": "cache", "dictionary_size": 30}),
    "interactive official code": (
        "interactive",
        {
            "candidates": "positive",
            "clamp": False,
            "balance": True,
            "threshold": 1e-3,
            "imputation": "phi",
            "graph_mixes": "predictions",
            "reconstruction": "linear",
            "scale": "mean",
        },
    ),
    "interactive side information": ("interactive", {"side": str(SIDE), "graph": "identity", "scale": "mean"}),
    "large_loss LL-Ct": ("large_loss", {"scheme": "correct_temporarily"}),
    "large_loss LL-Cp": ("large_loss", {"scheme": "correct_permanently", "delta_rel": 20}),
    "class_selective": (
        "class_selective",
        {"top_k": 1, "prior_threshold": 0.5},
    ),  # the defaults leave out all of four classes
    "class_selective without prior": ("class_selective", {"prior_share": 0, "top_k": 1}),
    "ssgrl reduced": ("ssgrl", {"reduction": 16, "hidden": 32}),
    "sst": ("sst", {"reduction": 16, "hidden": 32, "pair_width": 16}),
    "sst official code": (
        "sst",
        {"reduction": 16, "hidden": 32, "pair_width": 16, "unknown_pairs": "absent", "empty_bank": "zeros"},
    ),
    "hst": ("hst", {"reduction": 16, "hidden": 32, "pair_width": 16}),
    "hst official code": (
        "hst",
        {"reduction": 16, "hidden": 32, "pair_width": 16, "margins": "learned", "prototype_sign": "official"},
    ),
    "sarb": ("sarb", {"reduction": 16, "hidden": 32}),
    "ml_gcn avg": ("ml_gcn", {"pool": "avg", "normalization": "batch"}),
    "entropy_maximization EM alone": ("entropy_maximization", {"proportion": 0}),
    "role K given": ("role", {"expected_positives": 1.5}),
    "co_teaching by cell": ("co_teaching", {"unit": "cell"}),
    "co_teaching_plus by cell": ("co_teaching_plus", {"unit": "cell"}),
    "jocor by cell": ("jocor", {"unit": "cell"}),
    "coselection much removed": ("coselection", {"ramp": 0.1, "tau_h": 0.2}),
    "curriculum by proportion": ("curriculum", {"rule": "proportion"}),
    "positive_unlabeled unbalanced": ("positive_unlabeled", {"gamma": 0}),
    "positive_unlabeled no temperature": ("positive_unlabeled", {"temperature": False}),
    "positive_unlabeled uPU": ("positive_unlabeled", {"risk": "unbiased", "class_prior": 0.3, "mixup_weight": 0}),
    "positive_unlabeled nnPU, U without P": (
        "positive_unlabeled",
        {"risk": "non_negative", "unlabelled": "without_present", "class_prior": 0.3},
    ),
    "positive_unlabeled U without P": ("positive_unlabeled", {"unlabelled": "without_present"}),
    "positive_unlabeled no mixup": ("positive_unlabeled", {"mixup_weight": 0}),
    **{name: (name, SOFT) for name in ("clip_map", "positive_coop", "dual_coop", "dual_coop_plus")},
    "dual_coop shared words": ("dual_coop", {"per_class": False, **SOFT}),
    "dual_coop of TaI-DPT": ("dual_coop", {"image_token": False, "learn_scales": True, **SOFT}),
    "dual_coop_plus share": ("dual_coop_plus", {"winner": "share", **SOFT}),
    "ml_decoder": ("ml_decoder", LIGHT_DECODER),
    "ml_decoder, unknown absent": ("ml_decoder", {**LIGHT_DECODER, "unknown": "absent"}),
    "ml_decoder queries learned": ("ml_decoder", {**LIGHT_DECODER, "queries": "learned"}),
    "ml_decoder queries from words": (
        "ml_decoder",
        {**LIGHT_DECODER, "queries": "words", "label_vectors": "learned", "label_features": 16},
    ),
    "query2label official loss": ("query2label", {**LIGHT_QUERIES, "normalization": "official"}),
    "positive_unlabeled ML-Decoder head": (
        "positive_unlabeled",
        {"head": "ml_decoder", "head_settings": LIGHT_DECODER, "temperature": False},
    ),  # its first logits hardly differ from image to image, which the temperature answers with steep gradients
    "co_teaching Query2Label heads": ("co_teaching", {"head": "query2label", "head_settings": LIGHT_QUERIES}),
    "vlpl by rank": ("vlpl", {**PRIOR, "scale": "rank", "threshold": 0.8, "warmup_epochs": 2}),
    "gpr negative": ("gpr", {**PRIOR, "negative_share": 0.5, "threshold": 0.2, "expected_positives": 1.5}),
    "cdul as it is": ("cdul", {**PRIOR, "scale": "as_is", "expected_positives": 1.5}),
    "positive_unlabeled SSGRL head": (
        "positive_unlabeled",
        {"head": "ssgrl", "hidden": 64, "reduction": 32, "label_vectors": "learned"},
    ),
}
LIGHTER = {name: {"lambda_y": 0.1, "lambda_f": 0.05} for name in ("interactive", "interactive fixed label graph")}
"""Smoothness over similar images of noise, at its full weight, holds back what is to be learned by heart."""
CHANGE_WITH_TIME = {
    "co_teaching Query2Label heads",
    "self_training",
    "self_training asl",
    "co_teaching",
    "co_teaching by cell",
    "co_teaching_plus",
    "co_teaching_plus by cell",
    "jocor",
    "jocor by cell",
    "coselection",
    "coselection much removed",
    "large_loss",
    "large_loss LL-Ct",
    "large_loss LL-Cp",
    "splc",
    "class_selective",
    "curriculum",
    "curriculum by proportion",
    "entropy_maximization",
    "sst",
    "sst official code",
    "hst",
    "hst official code",
    "sarb",
    "interactive cache",
    "interactive fixed image graph",
    "vlpl by rank",
    "gpr",
    "gpr negative",
    "cdul",
    "cdul as it is",
}
"""Variants whose objective depends on the epoch, by itself or by what a refresh keeps."""
CLASSES = ("a", "b", "c", "d")
EARLY, LATE = Clock(0, 0, 10, 10), Clock(9, 9, 10, 10)


def _context(classes: tuple[str, ...] = CLASSES) -> Context:
    """A training table of 40 images whose cells depend on the class names alone, so that permuting classes permutes
    it.
    """
    columns = [np.random.default_rng(sum(map(ord, name))).integers(-1, 2, 40) for name in classes]
    return Context(
        LabelTable.from_dense([f"{row:02d}.png" for row in range(40)], classes, np.stack(columns, 1).astype(np.int8))
    )


def _params(names: Iterable[str]) -> list[Any]:
    """Names as parameters; quick checks take each method as it is by default, all tests take its variants too."""
    return [name if name in CATALOGUE else pytest.param(name, marks=pytest.mark.slow) for name in names]


def _build(variant: str, classes: tuple[str, ...] = CLASSES, seed: int = 0, **more: Any) -> Method[Any]:
    name, settings = VARIANTS[variant]
    settings, context, joint = {**settings, **more}, _context(classes), entry(name).joint_space
    if joint:
        assets = method_class(name).tower_assets(method_config(name, settings), context.labels, _towers())
        context = Context(context.labels, assets, _towers())
    torch.manual_seed(seed)
    if joint:
        return build_method(name, settings, create_backbone(_towers(), joint_space=joint), context)
    return build_method(name, settings, create_backbone("test_resnet", pretrained=False, size=32), context)


@cache
def _towers() -> str:
    return write_towers(Path(tempfile.mkdtemp()))


@pytest.fixture(params=_params(VARIANTS))
def make(request: pytest.FixtureRequest) -> Callable[..., Method[Any]]:
    return partial(_build, request.param)


class Case(NamedTuple):
    """A variant and when it is tried: as `make` builds it, and as it has become by the clock."""

    make: Callable[..., Method[Any]]
    clock: Clock

    def method(self) -> Method[Any]:
        method = self.make()
        _live_through(method, self.clock)
        return method


@pytest.fixture(
    params=_params([*VARIANTS, *(f"{variant}, late" for variant in VARIANTS if variant in CHANGE_WITH_TIME)])
)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(
        partial(_build, request.param.removesuffix(", late")), LATE if request.param.endswith(", late") else EARLY
    )


def _views(method: Method[Any], batch: int = 6) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {view: torch.randn(batch, 3, 32, 32) for view in method.views}


def _labels(batch: int = 6, classes: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(-1, 2, (batch, classes)).astype(np.int8))


def _leaves(outputs: Any) -> dict[str, torch.Tensor]:
    """Outputs as leaves; numbers of images and the like stay what they are."""
    copies = {name: value.detach().clone() for name, value in outputs.items()}
    return {name: value.requires_grad_() if value.ndim > 1 else value for name, value in copies.items()}


def _spread(outputs: Any) -> dict[str, torch.Tensor]:
    """Outputs of a new network as a trained one could have them: sure of some cells."""
    return {name: value * 10 if value.ndim > 1 else value for name, value in outputs.items()}


def _total(
    method: Method[Any], outputs: dict[str, torch.Tensor], labels: torch.Tensor, clock: Clock = EARLY
) -> torch.Tensor:
    losses = method.objective(outputs, labels, torch.arange(len(labels)), clock)
    assert all(value.ndim == 0 for value in losses.values())
    return losses["total"]


def _live_through(method: Method[Any], end: Clock) -> None:
    """Every refresh that is due up to a time, and in every epoch before it an objective, for what methods keep of
    these.
    """
    if end.epoch == 0:
        return
    outputs, labels = _spread(method(_views(method))), _labels()
    for epoch in range(end.epoch + 1):
        clock = Clock(epoch, epoch, end.epochs, end.steps)
        if method.refresh_due(clock):
            method.refresh(clock, partial(_seen, method))
        if epoch < end.epoch:
            _total(method, outputs, labels, clock)


def _seen(method: Method[Any], wanted: torch.Tensor | None = None) -> Iterator[Seen]:
    """The images of the table, or those that are wanted, in batches of twenty, made up."""
    torch.manual_seed(4)
    for index in (torch.arange(40) if wanted is None else wanted).split(20):
        features = torch.rand(len(index), method.tagger.backbone.num_features)
        yield Seen(index, features, 3 * torch.randn(len(index), len(CLASSES)))


def test_no_gradient_reaches_unknown_logits_unless_declared(make: Callable[..., Method[Any]]) -> None:
    method = make()
    outputs, labels = _leaves(method(_views(method))), _labels()
    _total(method, outputs, labels).backward()
    gradients = [value.grad for value in outputs.values() if value.grad is not None]
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    if not method.learns_from_unknown:
        for gradient in gradients:
            assert gradient[labels == 0].abs().sum() == 0


@pytest.mark.parametrize("variant", _params(VARIANTS))
def test_the_catalogue_says_with_which_settings_unknown_is_ignored(variant: str) -> None:
    name, settings = VARIANTS[variant]
    assert _build(variant).learns_from_unknown == (entry(name, settings).reads_unknown != "ignored")
    assert ("unknown cells" in (notice(name, settings) or "")) == (
        entry(name, settings).reads_unknown in {"absent", "soft"}
    )


@pytest.mark.parametrize("variant", _params(VARIANTS))
def test_unknown_is_not_read_as_absent(variant: str) -> None:
    """Only methods that say so may give the same loss for a table with unknowns and the one that calls them absent."""
    method, reads = _build(variant), entry(*VARIANTS[variant])
    outputs, labels = method(_views(method)), _labels()
    completed = torch.where(labels == 0, -torch.ones_like(labels), labels)
    same = torch.allclose(_total(method, outputs, labels), _total(method, outputs, completed))
    assert same == (reads.reads_unknown in {"absent", "unlabelled"})


def test_permuting_classes_permutes_the_result(case: Case) -> None:
    order = torch.tensor([2, 0, 3, 1])
    method, other = case.method(), case.make(tuple(CLASSES[place] for place in order))
    state = method.state_dict()
    for name, places in method.class_axes.items():
        for place in places:
            state[name] = state[name].index_select(place, order)
    other.load_state_dict(state)
    views, labels = _views(method), _labels()
    method.eval(), other.eval()
    outputs = []
    for each in (method, other):
        torch.manual_seed(2)  # the same draws, where images are mixed
        outputs.append(_spread(each(views)))
    one, two = outputs
    torch.testing.assert_close(two["logits"], one["logits"][:, order])
    torch.testing.assert_close(
        _total(other, two, labels[:, order], case.clock), _total(method, one, labels, case.clock)
    )


@pytest.mark.parametrize("fill", [0, -1, 1])
@pytest.mark.parametrize("batch", [1, 6])
def test_finite_on_poor_batches(case: Case, fill: int, batch: int) -> None:
    method = case.method()
    outputs = _leaves(method.eval()(_views(method, batch)))
    total = _total(method, outputs, torch.full((batch, 4), fill, dtype=torch.int8), case.clock)
    assert torch.isfinite(total)
    if total.requires_grad:
        total.backward()
        assert all(torch.isfinite(value.grad).all() for value in outputs.values() if value.grad is not None)


def test_finite_at_large_logits_in_bf16(case: Case) -> None:
    method = case.method()
    outputs = {
        name: (torch.sign(torch.randn_like(value)) * 50).to(torch.bfloat16).requires_grad_()
        if value.ndim > 1
        else value
        for name, value in method(_views(method)).items()
    }
    total = _total(method, outputs, _labels(), case.clock)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(value.grad).all() for value in outputs.values() if value.grad is not None)


def test_state_round_trips(case: Case, tmp_path: Path) -> None:
    method, other = case.method(), case.make(seed=7)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    views = _views(method)
    torch.testing.assert_close(other.eval()(views)["logits"], method.eval()(views)["logits"], rtol=0, atol=0)
    outputs, labels = _spread(method(views)), _labels()
    one, two = (_total(each, outputs, labels, case.clock) for each in (method, other))
    torch.testing.assert_close(two, one, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", _params(VARIANTS))
def test_overfits_32_images(variant: str) -> None:
    method = _build(variant, **LIGHTER.get(variant, {}))
    torch.manual_seed(3)
    images, labels = torch.randn(32, 3, 32, 32), torch.from_numpy(_context().labels.rows(np.arange(32)))
    views = dict.fromkeys(method.views, images)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    right = torch.zeros(1)
    for _ in range(61):
        outputs = method(views)
        right = _right(variant, outputs["logits"].detach(), labels)
        if right.float().mean() > 0.97:
            return
        optimizer.zero_grad()
        _total(method, outputs, labels).backward()
        optimizer.step()
    pytest.fail(f"{right.float().mean():.0%} right after 60 steps")


def _right(variant: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Whether each cell, or each pair of cells, has the logits that the labels ask for."""
    reads = entry(*VARIANTS[variant])
    told_absent = VARIANTS[variant] == ("assume_negative", {}) or "unknown" in VARIANTS[variant][1]
    goal = torch.where(labels == 0, -1, labels) if told_absent else labels
    if reads.reads_unknown == "unlabelled":  # its logits order the images of a class
        return (logits[:, None] > logits)[(labels == 1)[:, None] & (labels != 1)]
    if reads.needs is Needs.PAIRS:  # its logits order the classes of an image
        above = logits[:, :, None] > logits[:, None]
        return above[(goal == 1)[:, :, None] & (goal == -1)[:, None]]
    return ((logits > 0) == (goal > 0))[goal != 0]


def test_images_are_tagged_by_the_logits_of_training(make: Callable[..., Method[Any]]) -> None:
    method = make().eval()
    views = _views(method)
    torch.testing.assert_close(method.tagger(views["weak"])[0], method(views)["logits"])


@pytest.mark.parametrize("variant", _params(VARIANTS))
def test_time_changes_the_objective_where_it_is_said_to(variant: str) -> None:
    """Without this, checks at a late time could be repetitions of those at an early one."""
    method, labels = _build(variant), _labels()
    outputs = _spread(method(_views(method)))
    early = _total(method, outputs, labels, EARLY)
    _live_through(method, LATE)
    late = _total(method, outputs, labels, LATE)
    assert torch.allclose(early, late) == (variant not in CHANGE_WITH_TIME)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_setting_can_be_given_by_its_name(name: str) -> None:
    """One that has the name of a setting of the loop or of an argument of `train` could not."""
    taken = TrainSettings.model_fields.keys() | inspect.signature(train).parameters.keys()
    assert not taken & method_class(name).Config.model_fields.keys()


def test_unknown_method_and_setting_are_refused() -> None:
    backbone = create_backbone("test_resnet", pretrained=False, size=32)
    with pytest.raises(UsageError, match=r"no method 'sr'; .*methods are assume_negative"):
        build_method("sr", {}, backbone, _context())
    with pytest.raises(UsageError, match=r"no setting 'alpha2'; did you mean alpha\? Its settings are"):
        build_method("saliency", {"alpha2": 1}, backbone, _context())


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("saliency", {"alpha": -1}, "method saliency: alpha: input should be greater than or equal to 0, got -1"),
        ("saliency", {"pseudo_weight": -1}, "pseudo_weight: input should be greater than or equal to 0, got -1"),
        ("saliency", {"k": 1.5}, "k: a number of places is whole, and a fraction of them is below 1, unlike 1.5"),
        ("interactive", {"graph_lr": -1}, "method interactive: graph_lr: input should be greater than 0, got -1"),
        ("coselection", {"taus_of": "coco 25", "tau_h": 0.5}, "method coselection: taus_of takes both taus from"),
    ],
)
def test_what_a_setting_was_is_told_with_its_name(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        method_config(name, settings)
    assert said in str(refused.value)
    assert "constrained" not in str(refused.value)
    assert "its settings are" not in str(refused.value)
    assert str(refused.value).count("1.5") <= 1
