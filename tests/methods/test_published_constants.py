"""Defaults and tables that come from papers and their public code, each by its value."""

from typing import Any

import numpy as np
import pytest
import torch

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import build_method, method_class, method_config
from partlabel.methods.coselection import PUBLISHED_TAUS, CoSelection
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.local_global import GlobalBranch

PUBLISHED: dict[str, dict[str, Any]] = {
    "asl": {"gamma_positive": 0, "gamma_negative": 4, "clip": 0.05, "detach_weight": True},
    "focal": {"gamma_positive": 2, "gamma_negative": 2, "clip": 0, "detach_weight": False},
    "bce": {"g_alpha": -4.45, "g_beta": 5.45, "g_gamma": 1},
    "curriculum": {"g_alpha": -4.45, "g_beta": 5.45, "g_gamma": 1, "normalization": "partial_bce"},
    "saliency": {
        "alpha": 0.5,
        "k": 5,
        "tau": 0.6,
        "pseudo_weight": 1,
        "saliency": True,
        "pseudo": "strong",
        "pseudo_from": "saliency",
        "normalization": "batch",
    },
    "colearning": {
        "lambda_1": 1,
        "lambda_2": 0.8,
        "gamma_positive": 0,
        "gamma_negative": 2,
        "clip": 0,
        "hidden": 1024,
        "heads": 8,
        "dropout": 0.1,
        "mlp_dropout": 0.5,
        "pseudo": "probability",
        "normalization": "mean",
    },
    "positive_unlabeled": {"alpha": 1, "mixup_weight": 1, "mixup_alpha": 0.3, "temperature": True, "gamma": None},
    "coselection": {"tau_h": 0.012, "tau_l": 0.06, "ramp": 10, "taus_of": None},
    "co_teaching": {"ramp": 10, "unit": "image"},
    "jocor": {"agreement": 0.9},
    "interactive": {
        "lambda_y": 1,
        "lambda_f": 0.5,
        "k": 5,
        "graph_top": 50,
        "c": 2,
        "slope": 1,
        "clamp": True,
        "dictionary_size": 10_000,
        "refresh_every": 250,
        "side_magnitude": 10,
        "graph": "co_occurrence",
    },
    "ssgrl": {"steps": 3, "hidden": 512, "label_features": 300},
    "ml_gcn": {"threshold": 0.4, "reweight": 0.2, "hidden": 1024, "pool": "max"},
    "label_smoothing": {"smoothing": 0.1},
    "role": {"estimate_lr_factor": 10},
    "entropy_maximization": {"alpha": 0.1, "beta": 0.9, "warmup_epochs": 5, "proportion": 0.9},
    "hill": {"margin": 1, "gamma": 2, "down_weight": 1.5},
    "splc": {"tau": 0.6, "first_corrected_epoch": 1, "margin": 1, "gamma": 2},
    "large_loss": {"scheme": "reject"},
    "class_selective": {
        "gamma_positive": 0,
        "gamma_negative": 1,
        "gamma_unknown": 2,
        "prior_threshold": 0.05,
        "top_k": 5,
    },
}
TAU_H = {  # selection rates of the paper: 75, 50, 25 % of the labels left, and a single label
    "voc07": (0.002, 0.003, 0.005, 0.005),
    "coco": (0.005, 0.010, 0.012, 0.012),
    "nus": (0.006, 0.012, 0.020, 0.020),
}
TAU_L = {"voc07": 0.02, "coco": 0.06, "nus": 0.06}
STATES = np.random.default_rng(0).integers(-1, 2, (8, 3)).astype(np.int8)


def _context() -> Context:
    return Context(LabelTable.from_dense([f"{row}.png" for row in range(8)], ("a", "b", "c"), STATES))


@pytest.mark.parametrize("method", PUBLISHED)
def test_defaults(method: str) -> None:
    config = method_class(method).Config()
    assert {name: getattr(config, name) for name in PUBLISHED[method]} == PUBLISHED[method]


def test_taus_of_co_label_selection() -> None:
    left = ("75", "50", "25", "single")
    expected = {f"{data} {left[i]}": (TAU_H[data][i], TAU_L[data]) for data in TAU_H for i in range(4)}
    assert expected == PUBLISHED_TAUS


@pytest.mark.parametrize("given", [{"tau_h": 0.021}, {"tau_l": 0.06}, {"tau_h": 0.012, "tau_l": 0.06}])
def test_taus_are_given_once(given: dict[str, float]) -> None:
    """A value beside the name of a published pair would not count."""
    with pytest.raises(UsageError, match=rf"coselection: .*taus_of.*{next(iter(given))}"):
        method_config("coselection", {"taus_of": "coco 25", **given})
    assert method_config("coselection", {"taus_of": "coco 25"})


def test_a_configuration_can_be_written_and_read_again() -> None:
    kept = CoSelection.Config(taus_of="nus 75")
    assert CoSelection.Config(**kept.model_dump(exclude_unset=True)) == kept
    assert CoSelection.Config(**CoSelection.Config().model_dump()) == CoSelection.Config()


def test_shares_of_mixed_images_are_those_of_the_beta_distribution() -> None:
    """Beta(0.3, 0.3): as often below one half as above, with variance 1 / (4 · (2 · 0.3 + 1))."""
    backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True)
    method = build_method("positive_unlabeled", {}, backbone, _context()).eval()
    method.tagger.use_trunk_output()
    views = {"weak": torch.randn(2, backbone.num_features, 1, 1)}
    torch.manual_seed(0)
    with torch.no_grad():
        shares = np.array([method(views)["lam"].item() for _ in range(2000)])
    assert abs((shares < 0.5).mean() - 0.5) < 0.05
    assert shares.var() == pytest.approx(1 / 6.4, rel=0.06)


@pytest.mark.parametrize(("groups", "deviation"), [(1, 1e-4), (2, 1e-6)])
def test_branches_start_from_almost_nothing(groups: int, deviation: float) -> None:
    """Scales of the batch norm that are drawn around 0, of either sign."""
    torch.manual_seed(0)
    scale = GlobalBranch(64, 4096, groups, (1, 1)).norm.weight.detach()
    assert scale.std().item() == pytest.approx(deviation, rel=0.1)
    assert abs((scale < 0).float().mean().item() - 0.5) < 0.05
