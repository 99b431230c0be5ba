"""Maps by onnxruntime: equal to torch's to a thousandth, never mixed with them, and torch's where it cannot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.labels import LabelTable
from partlabel.models.encoders.base import Backbone, view_settings
from partlabel.models.encoders.build import create_backbone
from partlabel.progress import SILENT, Silent
from partlabel.training import map_onnx
from partlabel.training.data import MapPlan, map_source
from partlabel.training.map_cache import MapDataset

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


class Heard(Silent):
    def __init__(self) -> None:
        self.text = ""

    def say(self, text: str) -> None:
        self.text += text + "\n"


@pytest.fixture
def plan(color_images: tuple[Path, LabelTable], tmp_path: Path) -> MapPlan:
    root, table = color_images
    torch.manual_seed(0)
    backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True)
    views = view_settings(backbone.spec)
    return MapPlan(backbone, root, table.images, ("plain",), views, cache=tmp_path, maps_by="onnxruntime")


def _maps(plan: MapPlan, heard: Silent = SILENT) -> torch.Tensor:
    dataset = map_source(plan, heard).dataset
    assert isinstance(dataset, MapDataset)
    return dataset.stores["plain"][0][np.arange(len(plan.names))]


@pytest.mark.slow
def test_equal_to_a_thousandth_kept_apart_and_the_same_bits_from_any_cache(plan: MapPlan, tmp_path: Path) -> None:
    _maps(replace(plan, names=plan.names[3:9]))
    found, expected = _maps(plan), _maps(replace(plan, maps_by="torch"))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    assert len(list(tmp_path.iterdir())) == 2
    assert torch.equal(_maps(replace(plan, cache=tmp_path / "other")), found)
    assert not plan.backbone.training


@pytest.mark.slow
def test_maps_that_differ_are_torchs(plan: MapPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, asked = map_onnx._session, []

    def wrong(trunk: torch.nn.Module, size: int) -> object:
        asked.append(size)
        right = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
        trunk.load_state_dict({name: tensor * 1.1 for name, tensor in right.items()})
        session = original(trunk, size)
        trunk.load_state_dict(right)
        return session

    expected, heard = _maps(replace(plan, maps_by="torch")), Heard()
    monkeypatch.setattr(map_onnx, "_session", wrong)
    torch.testing.assert_close(_maps(plan, heard), expected, rtol=1e-3, atol=1e-3)
    assert "onnxruntime cannot compute this backbone (maps that differ by" in heard.text
    assert torch.equal(_maps(plan), _maps(plan))
    assert len(asked) == 1


def test_few_images_and_cut_networks_are_left_to_torch(plan: MapPlan, color_images: tuple[Path, LabelTable]) -> None:
    def by(plan: MapPlan) -> str:
        (recipe,) = plan.recipes().values()
        return recipe.by

    cut: Backbone = create_backbone("test_resnet", pretrained=False, size=32, freeze=True, train_last=1)
    assert by(replace(plan, maps_by="auto")) == by(replace(plan, backbone=cut)) == "torch"
    assert by(replace(plan, maps_by="auto", names=[plan.names[0]] * map_onnx.ENOUGH_IMAGES)) == "onnxruntime"
    assert by(replace(plan, device=torch.device("cuda"))) == "torch"
