"""No setting of a method is without effect: each is given another value, and training must come out differently.

What is compared is one pass of a few epochs over a table of twelve images without any step of an optimizer: losses,
gradients and the logits by which images are tagged. Maps of a made-up backbone stand for images; they change from epoch
to epoch, as they would if the network learned.
"""

import tempfile
import zlib
from collections.abc import Iterator
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import Tensor

from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context, Method, MethodConfig, Seen
from partlabel.methods.build import build_method, method_class
from partlabel.methods.catalogue import CATALOGUE
from partlabel.models.encoders.base import Backbone, Features
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.small_towers import write_towers
from partlabel.models.encoders.timm_maps import TimmBackbone

pytestmark = pytest.mark.slow


class Row(NamedTuple):
    """How a setting is tried.

    Args:
        other: a value beside the one it has; none for switches and choices, of which every value is tried.
        base: other settings with which it counts.
    """

    other: Any = None
    base: dict[str, Any] = {}  # noqa: RUF012


BASES: dict[str, dict[str, Any]] = {
    **{m: {"hidden": 16, "label_features": 8} for m in ("colearning", "ssgrl", "ml_gcn", "fast0tag", "cnn_rnn")},
    "ml_decoder": {"width": 16, "feed_forward": 16},
    "query2label": {"feed_forward": 16},
    **{m: {"hidden": 16, "label_features": 8, "pair_width": 8} for m in ("sst", "hst")},
    "sarb": {"hidden": 16, "label_features": 8},
    **{name: {"prior": str(Path(__file__).parent / "prior.csv")} for name, m in CATALOGUE.items() if m.needs_prior},
}
"""Of methods with wide heads: narrow ones, for speed; of those with a prior: a prior."""
PARTIAL_BCE = {"normalization": "partial_bce"}
SSGRL_HEAD = {"head": "ssgrl", "hidden": 16, "label_features": 8}
DECODER_HEAD = {"head": "ml_decoder", "head_settings": {"width": 16, "feed_forward": 16}}
WORDS = {"queries": "words"}
FOUND = {"margin": 0.55, "lowest_margin": 0.0, "margin_step": 0.0, "from_epoch": 2}
"""Of methods that find unknown cells present: so that they find some."""
SELECTIVE = {"top_k": 1, "prior_threshold": 0.5}
CACHE = {"dictionary": "cache"}
SIDE = Path(__file__).parent / "side.csv"
ROWS: dict[str, Row] = {
    "g_alpha": Row(-3.0, PARTIAL_BCE),
    "g_beta": Row(6.0, PARTIAL_BCE),
    "g_gamma": Row(2.0, PARTIAL_BCE),
    "gamma_positive": Row(1.0),
    "gamma_negative": Row(3.0),
    "asl.clip": Row(0.2),
    "focal.clip": Row(0.2),
    "saliency.alpha": Row(2.0),
    "saliency.k": Row(1),
    "saliency.tau": Row(0.9),
    "pseudo_weight": Row(0.5),
    "colearning.sgfe": Row(base={"srfl": False}),
    "colearning.lambda_1": Row(0.5),
    "colearning.lambda_2": Row(0.5),
    "colearning.clip": Row(0.2),
    "colearning.temperature": Row(0.3),
    "feed_forward": Row(24),
    "expansion": Row(24),
    "layers": Row(2),
    "label_vectors": Row("learned"),
    "label_features": Row(12),
    "reduction": Row(16),
    "hidden": Row(12),
    "steps": Row(1),
    **{f"{name}.map_pool": Row(2) for name in ("ssgrl", "sst", "hst", "sarb")},
    "heads": Row(4),
    "query2label.heads": Row(2),
    "dropout": Row(0.4),
    "mlp_dropout": Row(0.2),
    "positive_unlabeled.label_vectors": Row("learned", SSGRL_HEAD),
    "positive_unlabeled.label_features": Row(12, SSGRL_HEAD),
    "positive_unlabeled.reduction": Row(16, SSGRL_HEAD),
    "positive_unlabeled.hidden": Row(12, SSGRL_HEAD),
    "positive_unlabeled.steps": Row(1, SSGRL_HEAD),
    "positive_unlabeled.gamma": Row(2.0),
    "positive_unlabeled.alpha": Row(0.2),
    "positive_unlabeled.temperature": Row(base={"alpha": 0.2}),
    "positive_unlabeled.temperature_floor": Row(0.9, {"alpha": 0.2}),
    "positive_unlabeled.map_pool": Row(2, SSGRL_HEAD),
    "fixed_temperature": Row(0.5),
    "class_prior": Row(0.2, {"risk": "unbiased"}),
    "mixup_weight": Row(0.5),
    "mixup_alpha": Row(3.0),
    "tau_h": Row(0.5),
    "tau_l": Row(0.5),
    "taus_of": Row("voc07 75", {"ramp": 1.0}),
    "coselection.ramp": Row(2.0, {"tau_h": 0.5}),
    "tau": Row(0.5),
    "ramp": Row(2.0, {"tau": 0.5}),
    "agree_epochs": Row(0),
    "agreement": Row(0.5),
    "ml_gcn.threshold": Row(0.8),
    "reweight": Row(0.6),
    "lambda_y": Row(0.5),
    "lambda_f": Row(1.0),
    "interactive.k": Row(1),
    "interactive.threshold": Row(1e5),
    "interactive.clamp": Row(base={"candidates": "positive"}),
    "lowest": Row(-1.0),
    "graph_lr": Row(1e-3),
    "side": Row(str(SIDE)),
    "dictionary_size": Row(4, CACHE),
    "refresh_every": Row(2, CACHE),
    "slope": Row(1.0, {"imputation": "phi"}),
    "interactive.graph": Row("identity"),
    "graph_top": Row(1),
    "interactive.label_vectors": Row("bert-base-uncased", {"graph": "label_vectors"}),
    "side_magnitude": Row(2.0, {"side": str(SIDE)}),
    "rank": Row(3),
    "from_epoch": Row(2),
    "bank_size": Row(2, {"from_epoch": 2}),
    "sst.bank_size": Row(2, {**FOUND, "margin": 0.1}),
    "contrast_weight": Row(0.5),
    "pair_width": Row(12),
    "pair_weight": Row(1.0),
    "sst.margin": Row(0.3, FOUND),
    "hst.margin": Row(0.3, FOUND),
    "margin_step": Row(0.3, {"margin": 0.6, "lowest_margin": 0.1, "from_epoch": 2}),
    "lowest_margin": Row(0.2, {"margin": 0.6, "margin_step": 0.5, "from_epoch": 2}),
    "empty_bank": Row(base={**FOUND, "margin": 0.05}),
    "hst.margins": Row(base=FOUND),
    "known_score_weight": Row(0.5, {"margins": "learned", "from_epoch": 2}),
    "hst.prototypes": Row(2),
    "sarb.prototypes": Row(2),
    "prototypes_every": Row(1, {"from_epoch": 2}),
    "prototype_weight": Row(0.5),
    "sarb.alpha": Row(0.2),
    "sarb.beta": Row(0.2),
    "context": Row(3),
    "start": Row("a photo of a"),
    "loss_weight": Row(0.5),
    "spatial": Row(2.0),
    "scale": Row(20.0),
    "winner_scale": Row(2.0),
    "offset_scale": Row(0.1),
    **{f"{name}.clip": Row(0.2) for name in ("clip_map", "positive_coop", "dual_coop", "dual_coop_plus")},
    **{f"{name}.gamma_positive": Row(0.0) for name in ("clip_map", "positive_coop", "dual_coop", "dual_coop_plus")},
    "cnn_rnn.steps": Row(2),
    "smoothing": Row(0.3),
    "expected_positives": Row(2.5),
    "estimate_lr_factor": Row(5.0),
    "entropy_maximization.alpha": Row(0.2),
    "entropy_maximization.beta": Row(0.5),
    "warmup_epochs": Row(2),
    "entropy_maximization.proportion": Row(0.3),
    "margin": Row(0.5),
    "hill.gamma": Row(1.0),
    "splc.gamma": Row(1.0),
    "down_weight": Row(2.0),
    "splc.tau": Row(0.9),
    "first_corrected_epoch": Row(3),
    "scheme": Row(base={"delta_rel": 10}),
    "delta_rel": Row(10),
    "self_training.soft_weight": Row(0.3),
    "gamma_unknown": Row(1.0, SELECTIVE),
    "top_k": Row(1, {"prior_threshold": 1}),
    "prior_threshold": Row(0.5, {"top_k": 1}),
    "prior_share": Row(0.0, SELECTIVE),
    "class_selective.normalization": Row(base=SELECTIVE),
    "curriculum.threshold": Row(0.7),
    "curriculum.proportion": Row(0.6, {"rule": "proportion"}),
    "every": Row(2),
    "head_settings": Row({"width": 8, "feed_forward": 16}, DECODER_HEAD),
    "groups": Row(2),
    "width": Row(8),
    "ml_decoder.clip": Row(0.2),
    "ml_decoder.label_vectors": Row("learned", WORDS),
    "ml_decoder.label_features": Row(12, WORDS),
    "query2label.clip": Row(0.2),
    "encoder_layers": Row(2),
    "decoder_layers": Row(1),
    "prior": Row(str(SIDE.with_name("other_prior.csv"))),
    **{f"{name}.temperature": Row(0.05) for name in ("vlpl", "gpr", "cdul")},
    "vlpl.threshold": Row(0.9),
    "vlpl.alpha": Row(0.4),
    "weight": Row(0.4),
    "gpr.threshold": Row(0.3, {"temperature": 0.1}),
    "gpr.top_k": Row(1, {"threshold": 0.01}),
    "negative_share": Row(0.4),
    "w": Row((0.0, 2.0)),
    "b": Row((-2.0, -2.0)),
    "mu": Row((0.5, 0.5)),
    "sigma": Row((2.0, 2.0)),
    "q2": Row(0.5),
    "q3": Row(1.5),
    "lambda_1": Row(0.55),
    "lambda_2": Row(0.65),
    "rho": Row(0.7),
    "reg": Row(0.05),
    "step": Row(0.3),
    "bandwidth": Row(0.4),
}
"""By "method.setting", or by "setting" alone for every method that has it. Switches and choices need a row for a base
only.
"""

SETTINGS = [
    (method, setting)
    for method, one in CATALOGUE.items()
    if not one.fitted
    for setting in method_class(method).Config.model_fields
]
CLASSES = ("a", "b", "c", "d", "e")
VECTORS = torch.randn(len(CLASSES), 6, generator=torch.Generator().manual_seed(5))
IMAGES, EPOCHS, TOLERANCE = 12, 6, 1e-5
STATES = np.random.default_rng(4).choice(np.array([-1, 0, 1], np.int8), (IMAGES, len(CLASSES)), p=[0.25, 0.4, 0.35])


class Outcome(NamedTuple):
    """What training would be with some settings: what the method asks for, and the numbers that come out, by name."""

    asked: tuple[Any, ...]
    numbers: dict[str, Tensor]

    def equals(self, other: "Outcome", tolerance: float = 0.0) -> bool:
        """Whether all is equal but for the tolerance, relative and absolute."""
        return (
            self.asked == other.asked
            and self.numbers.keys() == other.numbers.keys()
            and all(torch.allclose(n, other.numbers[name], tolerance, tolerance) for name, n in self.numbers.items())
        )


@cache
def _maps(view: str, epoch: int) -> Tensor:
    """Maps of all images, spread so that both sure and unsure cells are many."""
    still, moving = (
        torch.Generator().manual_seed(0),
        torch.Generator().manual_seed(zlib.crc32(f"{view} {epoch}".encode())),
    )
    features = _backbone().num_features
    images = 2 * torch.randn(IMAGES, features, 1, 1, generator=still)
    places = 2 * torch.randn(IMAGES, features, 3, 3, generator=still)
    return images + places + torch.randn(places.shape, generator=moving)


class _MadeUp(TimmBackbone):
    """It does nothing: all of it is frozen, and its maps are taken for cached; its image vector follows from them."""

    def tail(self, trunk_output: Tensor) -> Features:
        return Features(trunk_output, trunk_output[:, :, 0, 0] - trunk_output.amax((2, 3)))


@cache
def _towers() -> str:
    return write_towers(Path(tempfile.mkdtemp()), features=_backbone().num_features)


@cache
def _backbone() -> Backbone:
    made = create_backbone("test_resnet", pretrained=False, size=32)
    backbone = _MadeUp(made.spec, made.network, freeze=True)
    backbone.has_image_vector = True
    return backbone


def _build(name: str, config: MethodConfig) -> Method[Any]:
    backbone, towers = _backbone(), _towers() if CATALOGUE[name].joint_space else ""
    torch.manual_seed(0)
    settings = config.model_dump(exclude_unset=True)
    # of one setting alone, since with vectors at hand those that say how they are learned would not count
    assets = {"label_vectors": VECTORS} if settings.get("graph") == "label_vectors" else {}
    table = LabelTable.from_dense([f"{row:02d}.png" for row in range(IMAGES)], CLASSES, STATES)
    context = Context(table, assets, towers)
    method = build_method(name, settings, backbone, context)
    method.tagger.use_trunk_output()
    # by name, so that a part which does nothing does not count by moving the generator on
    for parameter_name, parameter in method.tagger.head.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(parameter_name.encode()))
        drawn = torch.randn(parameter.shape, generator=generator)
        if drawn.ndim:
            parameter.data = drawn / drawn[0].numel() ** 0.5
    return method


@torch.no_grad()
def _seen(method: Method[Any], epoch: int, wanted: Tensor | None = None) -> Iterator[Seen]:
    """The pass over images that a refresh gets."""
    method.eval()
    maps = _maps("plain", epoch)
    for index in (torch.arange(IMAGES) if wanted is None else wanted).split(5):
        yield Seen(index, maps[index].mean((2, 3)), method.tagger(maps[index])[0])
    method.train()


def _train(name: str, config: MethodConfig) -> Outcome:
    method = _build(name, config).train()
    labels, index = torch.from_numpy(STATES), torch.arange(IMAGES)
    trained = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    numbers: dict[str, Tensor] = {}
    for epoch in range(EPOCHS):
        clock = Clock(epoch, epoch, EPOCHS, EPOCHS)
        if method.refresh_due(clock):
            method.refresh(clock, partial(_seen, method, epoch))
        torch.manual_seed(epoch)
        outputs = method({view: _maps(view, epoch) for view in method.views})
        total = method.objective(outputs, labels, index, clock)["total"]
        numbers[f"{epoch}, total"] = total.detach()
        gradients = torch.autograd.grad(total, list(trained.values()), allow_unused=True)
        norms = {
            name: gradient.norm() for name, gradient in zip(trained, gradients, strict=True) if gradient is not None
        }
        numbers |= {f"{epoch}, gradient of {name}": norm for name, norm in norms.items() if norm > TOLERANCE}
    numbers["tags"] = method.eval().tagger(_maps("plain", 0))[0].detach()
    numbers |= {
        f"learning rate of {name}": torch.tensor(rule.lr_factor * (rule.lr or 1))
        for name, rule in method.optimizer_rules.items()
    }
    return Outcome((method.views, type(method).label_vectors(method.config)), numbers)


@cache
def _outcome(name: str, config: MethodConfig) -> Outcome:
    return _train(name, config)


@cache
def _repeats(name: str, config: MethodConfig) -> bool:
    """Whether the outcome is the same a second time."""
    return _outcome(name, config).equals(_train(name, config))


def _row(method: str, setting: str) -> Row:
    row = ROWS.get(f"{method}.{setting}") or ROWS.get(setting, Row())
    return row._replace(base={**BASES.get(method, {}), **row.base})


def _values(method: str, setting: str) -> tuple[Any, ...]:
    """The values to compare: all of a switch or of a choice, else the one it has and the other one."""
    kind, row = method_class(method).Config, _row(method, setting)
    annotation = kind.model_fields[setting].annotation
    if annotation is bool:
        return True, False
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    assert row.other is not None, f"{method}.{setting} has no row in this test; add one"
    return getattr(kind(**row.base), setting), row.other


@pytest.mark.parametrize(("method", "setting"), SETTINGS)
def test_every_setting_counts(method: str, setting: str) -> None:
    kind, base = method_class(method).Config, _row(method, setting).base
    configs = [kind(**{**base, setting: value}) for value in _values(method, setting)]
    assert _repeats(method, configs[0]), "differences may be those of chance"
    for one, other in combinations(configs, 2):
        assert not _outcome(method, one).equals(_outcome(method, other), TOLERANCE), (
            f"no difference between {one!r} and {other!r}"
        )


def test_every_row_is_of_a_setting() -> None:
    names = {setting for _, setting in SETTINGS} | {f"{method}.{setting}" for method, setting in SETTINGS}
    assert ROWS.keys() <= names
