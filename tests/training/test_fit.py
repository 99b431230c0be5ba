"""Training phases: what they must not depend on, and what they must survive."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import partlabel
from partlabel.errors import ImageError, LabelError, RunError, UsageError
from partlabel.evaluation.average_precision import average_precision
from partlabel.labels import LabelTable
from partlabel.methods.base import Context
from partlabel.models.bundle import load_bundle
from partlabel.progress import SILENT
from partlabel.report.plots import map_plot
from partlabel.runs.holdout import hold_out, with_contrast
from partlabel.runs.settings import TrainSettings
from partlabel.training import data
from partlabel.training.build import build, sources
from partlabel.training.phase import Phase, cell_logits, map_of_cells
from partlabel.training.scoring import score

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 1,
    "batch_size": 8,
    "accelerator": "cpu",
    "report": False,
}


def _weights(run: partlabel.RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def test_a_warm_cache_of_maps_trains_the_same_as_a_cold_one(
    color_images: tuple[Path, LabelTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTLABEL_CACHE", str(tmp_path / "cache"))
    root, table = color_images
    cold, warm = (
        _weights(partlabel.train(table, images=root, out=tmp_path / name, freeze=True, train_last=1, **TINY))
        for name in ("cold", "warm")
    )
    assert all(torch.equal(cold[name], warm[name]) for name in cold)


def test_room_is_needed_only_for_maps_that_are_not_there(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTLABEL_CACHE", str(tmp_path / "cache"))
    needed: list[int] = []
    monkeypatch.setattr(data, "check_room", lambda cache, size: needed.append(size))
    settings = TrainSettings(backbone="test_resnet", pretrained=False, size=32, freeze=True, accelerator="cpu")
    backbone = build(settings, Context(partial_labels.select_classes([0]))).tagger.backbone
    root, table = color_images
    for names in (table.images[:8], table.images[:8], table.images[:10]):
        sources(settings, backbone, ("weak",), names, root, SILENT)
    assert len(needed) == 2  # where nothing is missing, a cache need not even be one that can be written
    assert needed[0] == 4 * needed[1] > 0


def test_held_out_cells_are_scored_and_judged_as_the_whole_table_would_be(
    color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    settings = TrainSettings(backbone="test_resnet", pretrained=False, size=32, accelerator="cpu")
    method = build(settings, Context(partial_labels))
    training, scoring = sources(
        settings, method.tagger.backbone, ("weak",), partial_labels.images, color_images[0], SILENT
    )
    split = hold_out(partial_labels, 0.4, 0)
    cells = split.held_out
    phase = Phase("selection", split.training, cells, cells, training, scoring)
    logits = cell_logits(method.tagger, phase, cells, batch_size=5)
    every = score(method.tagger, scoring, len(partial_labels), batch_size=5)
    np.testing.assert_array_equal(logits, every[cells.image_index, cells.class_index])

    states = np.zeros((len(partial_labels), 4), np.int8)  # the last class has no cell
    states[cells.image_index, cells.class_index] = cells.states
    values = average_precision(np.pad(every, ((0, 0), (0, 1))), states, "raw")
    assert map_of_cells(logits, cells, 4) == (pytest.approx(np.nanmean(values)), int((~np.isnan(values)).sum()))
    nothing = hold_out(partial_labels, 0, 0).held_out
    assert np.isnan(map_of_cells(np.zeros(0, np.float32), nothing, 4)[0])


def test_present_cells_alone_are_ranked_among_unknown_ones(
    color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    only_present = LabelTable.from_dense(table.images, table.classes, np.maximum(table.dense(), 0))
    cells = hold_out(only_present, 0.3, 0).held_out
    ranked = with_contrast(cells, only_present, 0)
    states = np.full(table.shape, 2, np.int8)
    states[ranked.image_index, ranked.class_index] = ranked.states
    assert (states[cells.image_index, cells.class_index] == 1).all()
    assert ((states == 0) == (only_present.dense() == 0)).all()
    assert (states == 1).sum() == cells.states.size

    scores = np.random.default_rng(0).normal(size=table.shape).astype(np.float32)
    value, classes = map_of_cells(scores[ranked.image_index, ranked.class_index], ranked, 3)
    judged = np.where(states == 1, 1, np.where(states == 0, -1, 0)).astype(np.int8)
    assert value == pytest.approx(np.nanmean(average_precision(scores, judged, "raw")))
    assert classes == 3

    settings = {**TINY, "epochs": 2, "method": "assume_negative", "holdout": 0.3, "select": "best"}
    run = partlabel.train(only_present, images=root, out=tmp_path / "run", find_lr=(1e-3, 1e-4), **settings)
    assert run.info["held_out"]["mAP"] is None
    assert run.info["held_out"]["mAP_among_unknown"] > 0
    assert {"held_out_mAP_among_unknown"} == {name for name in run.log()[-1] if "mAP" in name}
    plot = map_plot(run.log())
    assert plot is not None
    assert "among unknown" in plot.alt


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0.5), (5, 0.2)])
def test_a_training_of_very_few_steps(
    color_images: tuple[Path, LabelTable], tmp_path: Path, epochs: int, warmup: float
) -> None:
    """One step an epoch."""
    root, table = color_images
    settings = {**TINY, "epochs": epochs, "batch_size": 64, "warmup": warmup}
    run = partlabel.train(table, images=root, out=tmp_path / "run", **settings)
    assert len(run.log()) == epochs


@pytest.mark.slow
def test_a_learning_rate_that_diverges_is_out(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    run = partlabel.train(table, images=root, out=tmp_path / "run", find_lr=(1e-3, 1e30), **{**TINY, "epochs": 2})
    assert run.settings.lr == 1e-3
    assert run.info["found_lr"]["1e+30"] is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"backbone": "nothing"}, "no backbone 'nothing'"),
        ({"method": "saliency", "tau": "high"}, "tau"),
        ({"method": "saliency", "k": 0}, "k: input should be greater than 0"),
        ({"accumulate": 2}, "number of known cells over the whole batch"),
        ({"train_last": 1}, "it needs freeze"),
        ({"method_settings": 5}, "a table of the method's settings"),
        ({"seed": 2**64}, "seed"),
        ({"clip_norm": float("inf")}, "clip_norm"),
    ],
)
def test_what_cannot_be_built_leaves_no_run_folder(
    wrong: dict[str, Any], said: str, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        partlabel.train(color_images[1], images=color_images[0], out=tmp_path / "run", **{**TINY, **wrong})
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_there(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="accelerator 'tpu'"):
        partlabel.train(color_images[1], images=color_images[0], out=tmp_path / "run", **{**TINY, "accelerator": "tpu"})


@pytest.mark.slow
def test_class_weights_start_from_the_class_of_the_same_name(
    color_images: tuple[Path, LabelTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, table = color_images
    first = partlabel.train(table, images=root, out=tmp_path / "first", **TINY)
    fewer = table.select_classes(["blue", "red"])
    monkeypatch.chdir(tmp_path)
    second = partlabel.train(fewer, images=root, out="second", init="first", **{**TINY, "lr": 1e-30})
    theirs, mine = load_bundle(first.model)[0].head.linear.weight, load_bundle(second.model)[0].head.linear.weight
    torch.testing.assert_close(mine, theirs[[2, 0]])
    assert Path(second.info["inputs"]["init"]).is_absolute()
    assert second.info["init_knew"] == 0  # both held out the same cells


def test_an_unfinished_run_is_told_from_one_without_held_out_cells(
    color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    run = partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, "holdout": 0})
    with pytest.raises(RunError, match="train with --holdout"):
        partlabel.recover(run, table, images=root)
    run.update(status="training")
    with pytest.raises(RunError, match="has not finished; go on with"):
        partlabel.recover(run, table, images=root)


def test_a_run_goes_on_with_images_that_were_moved(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    root, table = color_images
    run = partlabel.train(table, images=root, out=tmp_path / "run", **TINY)
    run.update(status="training", inputs={**run.info["inputs"], "images": str(tmp_path / "gone")})
    with pytest.raises(ImageError, match="gone"):
        partlabel.resume(run.path)
    partlabel.resume(run.path, images=root, report=False)
    assert run.info["inputs"]["images"] == str(root)
    assert run.info["status"] == "done"


def test_a_model_is_kept_where_no_class_has_held_out_cells_of_both_signs(
    color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, truth = color_images
    states = np.zeros((32, 3), np.int8)
    states[:, 0], states[:, 1], states[0, 1] = 1, -1, 1
    table = LabelTable.from_dense(truth.images, truth.classes, states).select_classes(["red", "green"])
    run = partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, "holdout": 0.2})
    assert run.info["status"] == "done"
    assert load_bundle(run.model)[1].calibration is None
    with pytest.raises(LabelError, match="of a class without such an absent one"):
        partlabel.recover(run, table, images=root)


@pytest.mark.parametrize("wanted", [{"find_lr": [1e-3]}, {"refit": True}, {"select": "best"}])
def test_a_holdout_of_no_cell_serves_nothing(
    wanted: dict[str, Any], color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    with pytest.raises(UsageError, match="so few cells are known that none is held out"):
        partlabel.train(table, images=root, out=tmp_path / "run", **{**TINY, "holdout": 0.0001, **wanted})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("find_lr", "given", "says"),
    [
        (True, {"lr": 0.1}, "is given"),
        ([-1e-3], {}, "-0.001"),
        (["x"], {}, "'x'"),
        ([float("nan")], {}, "nan"),
        ([0], {}, "0"),
    ],
)
def test_learning_rates_that_cannot_be_tried(
    find_lr: Any, given: dict[str, Any], says: str, color_images: tuple[Path, LabelTable], tmp_path: Path
) -> None:
    root, table = color_images
    with pytest.raises(UsageError, match=says):
        partlabel.train(table, images=root, out=tmp_path / "run", find_lr=find_lr, **{**TINY, "holdout": 0.3, **given})
    assert not (tmp_path / "run").exists()


def test_a_single_image_of_one_place_is_a_sentence(color_images: tuple[Path, LabelTable], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="take a batch_size above 1"):
        partlabel.train(color_images[1], images=color_images[0], out=tmp_path / "run", **{**TINY, "batch_size": 1})
