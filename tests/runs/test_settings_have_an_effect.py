"""A setting that would change nothing beside the others is refused, and one that does is not."""

from pathlib import Path
from typing import Any

import pytest

import partlabel
from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.methods.build import setting_names
from partlabel.runs.settings import TrainSettings, make_settings
from partlabel.training.build import build, check_crops

TABLE = LabelTable.from_dense(["a", "b"], "xy", [[1, -1], [-1, 1]])
LORA = {"lora_rank": 8}

IDLE: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    # setting, value, beside which it has no effect, beside which it has
    ("draws", 3, {}, {"freeze": True}),
    ("maps_by", "torch", {}, {"freeze": True}),
    ("maps_by", "onnxruntime", {"freeze": True, "train_last": 1}, {"freeze": True}),
    ("branch_scale", "normal", {}, {"local_global": True}),
    ("lora_alpha", 8, {}, LORA),
    ("lora_targets", "residual", {}, LORA),
    ("lora_dropout", 0.1, {}, LORA),
    ("lora_norm", "batch", {}, LORA),
    ("frozen_norm", True, {"freeze": True}, {"freeze": True, "train_last": 1}),
    ("frozen_norm", True, LORA, {}),
    ("momentum", 0.5, {}, {"optimizer": "sgd"}),
    ("momentum", 0.5, {"optimizer": "adam"}, {"optimizer": "rmsprop"}),
    ("momentum", 0, {"optimizer": "rmsprop_tf", "cycle_momentum": True}, {"optimizer": "rmsprop_tf"}),
    ("rmsprop_decay", 0.5, {"optimizer": "sgd"}, {"optimizer": "rmsprop"}),
    ("rmsprop_decay", 0.5, {"optimizer": "adam"}, {"optimizer": "rmsprop_tf"}),
    ("epsilon", 1, {"optimizer": "sgd"}, {"optimizer": "adam"}),
    ("decay_on", "all", {"weight_decay": 0}, {}),
    ("schedule_epochs", 20, {"schedule": "constant"}, {"schedule": "cosine"}),
    ("schedule_epochs", 20, {"schedule": "plateau"}, {}),
    ("warmup", 0.3, {"schedule": "cosine"}, {}),
    ("cycle_momentum", True, {"schedule": "cosine"}, {}),
    ("step_epochs", [2], {}, {"schedule": "step"}),
    ("step_epochs", [15], {"schedule": "step"}, {"schedule": "step", "epochs": 16}),
    ("schedule_factor", 0.5, {}, {"schedule": "plateau"}),
    ("schedule_factor", 0.5, {"schedule": "cosine"}, {"schedule": "step", "step_epochs": [1]}),
    ("schedule_patience", 2, {"schedule": "step", "step_epochs": [1]}, {"schedule": "plateau"}),
    ("ema_warmup", False, {}, {"ema": 0.9}),
    ("holdout_by", "images", {"holdout": 0}, {}),
    ("crop_scale", 0.3, {"random_crop": "scales"}, {}),
    ("crop_from", 256, {}, {"random_crop": "scales"}),
    ("crop_from", 256, {"random_crop": "area"}, {"random_crop": "fixed"}),
    ("crop_sides", [224], {}, {"random_crop": "scales"}),
    ("crop_sides", [224], {"random_crop": "fixed"}, {"random_crop": "scales"}),
]


@pytest.mark.parametrize(("name", "value", "idle", "effective"), IDLE)
def test_what_changes_nothing_is_refused(
    name: str, value: Any, idle: dict[str, Any], effective: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=f"{name}.* (has no effect|whatever {name} says).* leave .* out"):
        make_settings({**idle, name: value}, ())
    make_settings({**effective, name: value}, ())


def test_a_file_may_spell_defaults_out() -> None:
    made = make_settings({**TrainSettings().model_dump(), "holdout": 0, "weight_decay": 0, "optimizer": "sgd"}, ())
    assert made == TrainSettings(holdout=0, weight_decay=0, optimizer="sgd")


def test_it_is_said_what_to_set() -> None:
    with pytest.raises(UsageError) as said:
        make_settings({"crop_from": 512}, ())
    assert str(said.value) == (
        "crop_from has no effect with random_crop 'area'; "
        "set random_crop to 'scales' or 'fixed', or leave crop_from out"
    )
    with pytest.raises(UsageError) as said:
        make_settings({"ema_warmup": False}, ())
    assert str(said.value) == "ema_warmup has no effect with ema 0.0; set ema above 0, or leave ema_warmup out"


@pytest.mark.parametrize(
    ("method", "beside", "refused"),
    [
        ("bce", {"freeze": True}, True),
        ("bce", {"freeze": True, "train_last": 1}, True),
        ("bce", {"freeze": True, "draws": 2}, False),
        ("bce", {}, False),
        ("saliency", {"freeze": True}, False),  # which has a strong view
        ("saliency", {"freeze": True, "supervised": "weak", "pseudo": "none"}, True),
    ],
)
def test_crops_that_are_never_drawn_are_refused(method: str, beside: dict[str, Any], refused: bool) -> None:
    base = {"backbone": "test_resnet", "pretrained": False, "size": 32, "method": method, **beside}

    def made(**values: Any) -> None:
        settings = make_settings({**base, **values}, setting_names(method))
        check_crops(settings, build(settings, Context(TABLE)).views)

    for values in ({"random_crop": "scales"}, {"crop_scale": 0.3}):
        if refused:
            with pytest.raises(UsageError, match=f"{next(iter(values))} has no effect.*set draws above 1"):
                made(**values)
        else:
            made(**values)
    made(crop_scale=1, flip=False)


def test_a_training_without_its_crops_does_not_begin(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    tiny = {"backbone": "test_resnet", "pretrained": False, "size": 32, "freeze": True}
    with pytest.raises(UsageError, match="random_crop has no effect"):
        partlabel.train(table, images=root, out=tmp_path / "run", random_crop="fixed", **tiny)
    assert not (tmp_path / "run").exists()
