"""Defaults and tables that come from papers and their public code, each by its value."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import partlabel
from partlabel.errors import UsageError
from partlabel.grids.grid import read_grid
from partlabel.labels import LabelTable
from partlabel.methods.base import Clock, Context
from partlabel.methods.build import build_method, method_class, method_config
from partlabel.methods.coselection import PUBLISHED_TAUS, CoSelection
from partlabel.models.encoders.build import create_backbone
from partlabel.models.encoders.local_global import GlobalBranch
from partlabel.runs.settings import make_settings
from partlabel.training.build import build

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
        "supervised": "both",
        "pseudo_from": "saliency",
        "pseudo_into": "saliency",
        "normalization": "batch",
    },
    "sst": {
        "from_epoch": 5,
        "bank_size": 100,
        "contrast_weight": 0.05,
        "pair_width": 1024,
        "pair_weight": 10,
        "margin": 0.95,
        "margin_step": 0.025,
        "lowest_margin": 0.75,
    },
    "hst": {"prototypes": 10, "prototypes_every": 5, "prototype_weight": 0.05, "known_score_weight": 0.1},
    "sarb": {"alpha": 0.5, "beta": 0.5, "prototypes": 10, "prototypes_every": 5, "contrast_weight": 0.05},
    "dual_coop": {
        "context": 16,
        "spatial": 20,
        "scale": 100,
        "image_token": True,
        "gamma_positive": 1,
        "gamma_negative": 2,
        "clip": 0.05,
    },
    "dual_coop_plus": {"context": 21, "winner_scale": 200},
    "positive_coop": {"context": 16, "offset_scale": 1},
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
        "view": "weak",
        "temperature": 1,
        "layers": 1,
        "positions": True,
        "srfl_projection": "mlp",
        "feed_forward": None,
        "expansion": None,
        "image_vector": "places",
    },
    "positive_unlabeled": {
        "alpha": 1,
        "mixup_weight": 1,
        "mixup_alpha": 0.3,
        "temperature": True,
        "fixed_temperature": None,
        "temperature_floor": 0.1,
        "gamma": None,
        "unlabelled": "all",
        "risk": "variational",
        "class_prior": None,
        "head": "pooled",
    },
    "coselection": {
        "tau_h": 0.012,
        "tau_l": 0.06,
        "ramp": 10,
        "taus_of": None,
        "high_loss": "remove",
        "low_loss": "remove",
        "normalization": "class",
    },
    "co_teaching": {"ramp": 10, "unit": "image"},
    "jocor": {"agreement": 0.9},
    "interactive": {
        "lambda_y": 1,
        "lambda_f": 0.5,
        "k": 5,
        "graph_top": 50,
        "lowest": -0.5,
        "imputation": "affine",
        "candidates": "all",
        "threshold": 0,
        "clamp": True,
        "balance": False,
        "scale": "sum",
        "graph_mixes": "labels",
        "reconstruction": "tanh",
        "dictionary": "batch",
        "slope": 2,
        "dictionary_size": 10_000,
        "refresh_every": 250,
        "side_magnitude": 10,
        "graph": "co_occurrence",
    },
    "cnn_rnn": {"label_features": 64, "hidden": 512},
    "fast0tag": {"label_features": 300},
    "ssgrl": {"steps": 3, "hidden": 512, "label_features": 300},
    "ml_gcn": {"threshold": 0.4, "reweight": 0.2, "hidden": 1024, "pool": "max"},
    "label_smoothing": {"smoothing": 0.1},
    "role": {"estimate_lr_factor": 10},
    "entropy_maximization": {"alpha": 0.1, "beta": 0.9, "warmup_epochs": 5, "proportion": 0.9},
    "vlpl": {
        "scale": "softmax",
        "temperature": 0.01,
        "threshold": 0.3,
        "alpha": 0.2,
        "weight": 0.7,
        "smoothing": 0.1,
        "warmup_epochs": 0,
    },
    "gpr": {
        "scale": "softmax",
        "temperature": 0.01,
        "threshold": 0.5,
        "top_k": 3,
        "negative_share": 0,
        "w": (0, 10),
        "b": (-2, -8),
        "mu": (0.5, 0.8),
        "sigma": (2, 0.5),
        "q2": 0.01,
        "q3": 1,
        "lambda_1": 0.7,
        "lambda_2": 0.5,
        "rho": 0.9,
        "reg": 0.001,
    },
    "cdul": {"scale": "softmax", "temperature": 0.01, "step": 1, "bandwidth": 0.2},
    "hill": {"margin": 1, "gamma": 2, "down_weight": 1.5},
    "splc": {"tau": 0.6, "first_corrected_epoch": 1, "margin": 1, "gamma": 2},
    "large_loss": {"scheme": "reject"},
    "ml_decoder": {
        "gamma_positive": 0,
        "gamma_negative": 4,
        "clip": 0.05,
        "detach_weight": True,
        "groups": 100,
        "width": 768,
        "heads": 8,
        "feed_forward": 2048,
        "dropout": 0.1,
        "queries": "fixed",
        "label_features": 300,
    },
    "query2label": {
        "gamma_positive": 0,
        "gamma_negative": 2,
        "clip": 0,
        "detach_weight": True,
        "reduction": None,
        "heads": 4,
        "feed_forward": 8192,
        "dropout": 0.1,
        "encoder_layers": 1,
        "decoder_layers": 2,
    },
    "class_selective": {
        "gamma_positive": 0,
        "gamma_negative": 1,
        "gamma_unknown": 2,
        "prior_threshold": 0.05,
        "top_k": 5,
    },
}
PAPER_TAUS = {  # (tau_h, tau_l) of the paper: 75, 50, 25 % of the positives left, and a single positive
    "voc07 75": (0.002, 0.02),
    "voc07 50": (0.003, 0.02),
    "voc07 25": (0.005, 0.02),
    "voc07 single": (0.005, 0.02),
    "coco 75": (0.005, 0.06),
    "coco 50": (0.010, 0.06),
    "coco 25": (0.012, 0.06),
    "coco single": (0.012, 0.06),
    "nus 75": (0.006, 0.06),
    "nus 50": (0.012, 0.06),
    "nus 25": (0.020, 0.06),
    "nus single": (0.020, 0.06),
}
ABLATIONS = {  # names of the paper: what stands after the dash is left out
    "CLS-H": ("keep", "remove"),
    "CLS-L": ("remove", "keep"),
    "CLC": ("correct", "remove"),
}
STATES = np.random.default_rng(0).integers(-1, 2, (8, 3)).astype(np.int8)


def _context() -> Context:
    return Context(LabelTable.from_dense([f"{row}.png" for row in range(8)], ("a", "b", "c"), STATES))


@pytest.mark.parametrize("method", PUBLISHED)
def test_defaults(method: str) -> None:
    config = method_class(method).Config()
    assert {name: getattr(config, name) for name in PUBLISHED[method]} == PUBLISHED[method]


@pytest.mark.parametrize("name", PAPER_TAUS)
def test_taus_of_co_label_selection(name: str) -> None:
    """As the method uses them, once the ramp of ten epochs is over."""
    method: Any = build_method(
        "coselection", {"taus_of": name}, create_backbone("test_resnet", pretrained=False, size=32), _context()
    )
    tau_h, tau_l = PAPER_TAUS[name]
    assert method.keep_shares(Clock(10, 0, 100, 1000)) == pytest.approx((1 - tau_h, 1 - tau_l))
    assert method.keep_shares(Clock(5, 0, 100, 1000)) == pytest.approx((1 - tau_h / 2, 1 - tau_l / 2))
    assert set(PUBLISHED_TAUS) == set(PAPER_TAUS)


def _ablation_rows() -> list[tuple[str, str, dict[str, Any]]]:
    """The rows of all grids that bear a name of the paper's ablations."""
    rows = []
    for path in sorted((Path(__file__).parents[2] / "benchmarks").rglob("*.toml")):
        for label, settings in tomllib.loads(path.read_text(encoding="utf-8")).get("method", {}).items():
            rows += [(path.name, name, settings) for name in ABLATIONS if name in label]
    return rows


def test_ablations_of_co_label_selection_have_the_names_of_the_paper() -> None:
    rows = _ablation_rows()
    assert {name for _, name, _ in rows} == set(ABLATIONS)
    for grid, name, settings in rows:
        config: Any = CoSelection.Config(**{key: settings[key] for key in ("high_loss", "low_loss") if key in settings})
        assert settings["method"] == "coselection", grid
        assert (config.high_loss, config.low_loss) == ABLATIONS[name], f"{grid}: {name}"


@pytest.mark.parametrize("given", [{"tau_h": 0.021}, {"tau_l": 0.06}, {"tau_h": 0.012, "tau_l": 0.06}])
def test_taus_are_given_once(given: dict[str, float]) -> None:
    """A value beside the name of a published pair would not count."""
    with pytest.raises(UsageError, match=rf"coselection: .*taus_of.*{next(iter(given))}"):
        method_config("coselection", {"taus_of": "coco 25", **given})
    assert method_config("coselection", {"taus_of": "coco 25"})


def test_taus_given_twice_are_refused_in_a_grid_and_by_train(tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        'seeds = [0]\n[data.scenes]\nbuiltin = "digit_scenes"\n[masking.one]\nname = "single_positive"\n'
        '[method.coselection]\ntaus_of = "coco 25"\ntau_h = 0.021\n'
    )
    with pytest.raises(UsageError, match=r"grid\.toml: method\.coselection: .*taus_of.*tau_h"):
        read_grid(grid)
    settings = {"method": "coselection", "taus_of": "coco 25", "tau_l": 0.06}
    with pytest.raises(UsageError, match=r"coselection: .*taus_of.*tau_l"):
        partlabel.train(_context().labels, images=tmp_path, out=tmp_path / "run", backbone="test_resnet", **settings)
    assert not (tmp_path / "run").exists()


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


@pytest.mark.parametrize(("groups", "small"), [(1, 1e-4), (2, 1e-6)])
def test_branches_start_from_almost_nothing(groups: int, small: float) -> None:
    """Scales of the batch norm: one number in the paper, draws around 0, of either sign, in its official code."""
    torch.manual_seed(0)
    drawn = GlobalBranch(64, 4096, groups, (1, 1), "normal").norm.weight.detach()
    assert drawn.std().item() == pytest.approx(small, rel=0.1)
    assert abs((drawn < 0).float().mean().item() - 0.5) < 0.05
    norm = GlobalBranch(64, 4096, groups, (1, 1)).norm
    assert norm.weight.unique().tolist() == pytest.approx([small])
    assert not norm.bias.any()


@pytest.mark.parametrize("scale", [None, "constant", "normal"])
def test_the_setting_reaches_the_branches(scale: str | None) -> None:
    settings = {"backbone": "test_resnet", "pretrained": False, "size": 32, "local_global": True}
    built = build(make_settings(settings | ({"branch_scale": scale} if scale else {}), ()), _context())
    branches = [module for module in built.modules() if isinstance(module, GlobalBranch)]
    assert branches
    assert all((branch.norm.weight.unique().numel() == 1) == (scale != "normal") for branch in branches)
