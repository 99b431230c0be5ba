"""The settings of a training reach its random views."""

from typing import Any

import pytest
import torch

from partlabel.errors import UsageError
from partlabel.images.dataset import ImageDataset
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.models.encoders.build import create_backbone
from partlabel.runs.settings import TrainSettings, make_settings
from partlabel.training.build import build, shown_views
from partlabel.training.map_cache import Recipe

TABLE = LabelTable.from_dense(["a", "b"], "xy", [[1, -1], [-1, 1]])
TINY: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False, "size": 28}


def test_squares_follow_the_settings() -> None:
    backbone = create_backbone("test_resnet", pretrained=False, size=28)
    scales = shown_views(make_settings({**TINY, "random_crop": "scales"}, ()), backbone)
    assert (scales.resized_side, scales.sides) == (32, (32, 28, 24, 20, 16))
    given = {**TINY, "random_crop": "scales", "crop_from": 40, "crop_sides": [40, 30]}
    chosen = shown_views(make_settings(given, ()), backbone)
    assert (chosen.resized_side, chosen.sides) == (40, (40, 30))
    usual = shown_views(make_settings({**TINY, "flip": False, "crop_scale": 0.3}, ()), backbone)
    assert (usual.random_crop, usual.flip, usual.crop_scale) == ("area", False, 0.3)


def test_squares_that_are_too_large_are_refused() -> None:
    with pytest.raises(UsageError, match="cuts squares of 28 pixels out of images resized to 20; set crop_from to"):
        build(make_settings({**TINY, "random_crop": "fixed", "crop_from": 20}, ()), Context(TABLE))


def test_cached_maps_tell_crops_apart() -> None:
    backbone = create_backbone("test_resnet", pretrained=False, size=28, freeze=True)

    def described(view: str, **values: Any) -> dict[str, Any]:
        shown = shown_views(TrainSettings(**TINY, **values), backbone)
        images = ImageDataset(".", ["a"], (view,), shown, 0)
        return dict(Recipe(backbone, images, 0, torch.device("cpu")).description)

    assert described("weak") != described("weak", random_crop="scales")
    assert described("weak", random_crop="fixed") != described("weak", random_crop="fixed", crop_from=40)
    assert described("weak") == described("weak", crop_from=40)
    assert described("plain") == described("plain", random_crop="scales", crop_scale=0.3)
