"""Models of folds of cells: what they never see, how they go on, and what scores what."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import partlabel
from partlabel.errors import Interrupted, RunError, UsageError
from partlabel.formats import write_table
from partlabel.inference import scores
from partlabel.inference.crossed import crossed_blocks
from partlabel.inference.judging_cells import crossed_cells, held_out_cells
from partlabel.inference.scores import run_logits
from partlabel.labels import LabelTable, Source
from partlabel.masking.keyed import CellHash
from partlabel.progress import SILENT, Silent
from partlabel.runs.cell_folds import CellFolds, stated_cells, without_fold
from partlabel.runs.folder import RunFolder
from partlabel.runs.origin import is_own, sealed
from partlabel.training.cross_fit import cross_fit

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "accelerator": "cpu",
    "freeze": True,
}
FITTED = {**TINY, "method": "discriminant"}
STEPS = {**TINY, "method": "bce", "epochs": 2, "lr": 1e-2}
Data = tuple[Path, LabelTable]


class Stops(Silent):
    """Interrupts when a fold begins."""

    def __init__(self, at: str) -> None:
        self.at = at

    def say(self, text: str) -> None:
        if text == self.at:
            raise KeyboardInterrupt


def _run(data: Data, labels: LabelTable, out: Path, **settings: Any) -> RunFolder:
    return partlabel.train(labels, images=data[0], out=out, report=False, **settings)


def _weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def _same(one: RunFolder, other: RunFolder) -> bool:
    first, second = _weights(one), _weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def _folds(labels: LabelTable, count: int, seed: int = 0) -> np.ndarray:
    rows, columns = np.indices(labels.shape)
    return CellFolds(labels.images, labels.classes, count, seed).at(rows, columns)


def _cells(labels: LabelTable, count: int) -> CellFolds:
    return CellFolds(labels.images, labels.classes, count, 0)


@pytest.mark.parametrize("settings", [FITTED, STEPS], ids=["fitted", "steps"])
def test_a_model_follows_no_state_of_its_fold(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, settings: dict[str, Any]
) -> None:
    fold = _folds(partial_labels, 2)
    other = np.where(fold == 1, -partial_labels.dense(), partial_labels.dense())
    turned = LabelTable.from_dense(partial_labels.images, partial_labels.classes, other)
    assert (other != partial_labels.dense()).any()
    first, second = (
        cross_fit(_run(color_images, labels, tmp_path / name, **settings), 2, SILENT)
        for name, labels in (("one", partial_labels), ("two", turned))
    )
    if settings is FITTED:  # of a method of steps the order of the batches is the same, but not what is held out
        assert _same(first[1], second[1])
    assert not _same(first[0], second[0])
    for model, number in ((first[1], 1), (first[0], 0)):
        seen = model.labels().dense()
        assert (seen[fold == number] == 0).all()
        np.testing.assert_array_equal(seen[fold != number], partial_labels.dense()[fold != number])


def test_the_fold_of_a_cell_follows_from_its_names(partial_labels: LabelTable) -> None:
    fold = _folds(partial_labels, 5)
    images, classes = np.arange(len(partial_labels))[::-1], [2, 0, 1]
    turned = partial_labels.select_images(images).select_classes(classes)
    np.testing.assert_array_equal(_folds(turned, 5), fold[::-1][:, classes])
    assert (_folds(partial_labels, 5, seed=1) != fold).any()


def test_folds_are_those_of_earlier_releases_and_of_no_other_purpose() -> None:
    names = ["a.jpg", "b.jpg", "c.jpg"], ["x", "y", "z", "ä"]
    fold = CellFolds(*names, 5, 0).at(*np.indices((3, 4)))
    np.testing.assert_array_equal(fold, [[0, 3, 1, 4], [3, 2, 0, 2], [3, 0, 2, 0]])
    for purpose in ("held-out cells", "held-out images", "contrast"):
        other = CellHash.of(*names, seed=0, purpose=purpose).at(*np.indices((3, 4)))
        assert (other % np.uint64(5) != fold).any()


def test_folds_are_of_about_one_size_in_known_and_unknown_cells_alike() -> None:
    random = np.random.default_rng(0)
    fold = _folds(LabelTable.from_dense([f"{n}.jpg" for n in range(2000)], list("abcdefgh"), np.zeros((2000, 8))), 5)
    known = random.random(fold.shape) < 0.3
    for part in (fold[known], fold[~known]):
        share = np.bincount(part, minlength=5) / part.size
        assert np.abs(share - 0.2).max() < 0.02


def test_one_fold_is_refused() -> None:
    with pytest.raises(UsageError, match="2 or more"):
        CellFolds(["a"], ["b"], 1, 0)


def test_recovered_and_reviewed_cells_judge_nothing(partial_labels: LabelTable) -> None:
    cells = partial_labels.cells()
    sources = np.arange(cells.states.size) % 4
    labels = LabelTable.from_cells(
        partial_labels.images, partial_labels.classes, cells.image_index, cells.class_index, cells.states, sources
    )
    judged = stated_cells(labels)
    assert set(judged.sources.tolist()) == {Source.IMPORT, Source.HUMAN}
    assert judged.states.size == (cells.states[sources < 2] != 0).sum()
    folds = CellFolds(labels.images, labels.classes, 2, 0)
    left, fold = without_fold(labels, folds, 0).dense(), _folds(labels, 2)
    for row, column, state, source in zip(cells.image_index, cells.class_index, cells.states, sources, strict=True):
        hidden = source == Source.RECOVERED or (source != Source.REVIEW and fold[row, column] == 0)
        assert left[row, column] == (0 if hidden else state), (row, column)


def test_a_declared_absence_is_hidden_too(partial_labels: LabelTable) -> None:
    cells = partial_labels.cells()
    present = cells.states > 0
    labels = LabelTable.from_cells(
        partial_labels.images,
        partial_labels.classes,
        cells.image_index[present],
        cells.class_index[present],
        cells.states[present],
        background=-1,
    )
    fold = _folds(labels, 3)
    left = without_fold(labels, CellFolds(labels.images, labels.classes, 3, 0), 2).dense()
    np.testing.assert_array_equal(left, np.where(fold == 2, 0, labels.dense()))


@pytest.mark.parametrize(
    ("settings", "passes"), [(FITTED, 1), (STEPS, 1), ({**STEPS, "train_last": 1}, 3)], ids=["fitted", "head", "stage"]
)
def test_each_cell_is_scored_by_the_model_of_its_fold(
    tmp_path: Path,
    color_images: Data,
    partial_labels: LabelTable,
    settings: dict[str, Any],
    passes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **settings)
    models = cross_fit(run, 3, SILENT)
    if settings is FITTED:
        assert all((model.settings.holdout, model.settings.refit) == (0, False) for model in models)
    each = [run_logits(model, partial_labels.images, color_images[0], SILENT).logits for model in models]
    folds = CellFolds(partial_labels.images, partial_labels.classes, 3, run.settings.seed)
    fold = _folds(partial_labels, 3)
    taggers, real = [], scores.score_blocks
    monkeypatch.setattr(
        scores, "score_blocks", lambda tagger, *given, **how: taggers.append(tagger) or real(tagger, *given, **how)
    )
    for block in crossed_blocks(models, folds, partial_labels.images, color_images[0], SILENT):
        for place, row in enumerate(block.rows):
            for column in range(3):
                assert block.fold[place, column] == fold[row, column]
                assert block.logits[place, column] == each[fold[row, column]][row, column]
    assert len(taggers) == passes  # one backbone for all, unless a part of it was trained
    judging = crossed_cells(run, partial_labels.classes[::-1], 3, color_images[0], SILENT)
    known = partial_labels.dense()
    assert judging.cells.states.size == (known != 0).sum()
    for place, (name, column) in enumerate(zip(judging.cells.image_index, judging.cells.class_index, strict=True)):
        row, own = partial_labels.image_positions[judging.cells.images[name]], 2 - column
        assert judging.cells.states[place] == known[row, own]
        assert judging.fold is not None
        assert judging.fold[place] == fold[row, own]
        assert judging.cells.logits[place] == each[fold[row, own]][row, own]


def test_folds_go_on_after_an_interruption(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **STEPS)
    with pytest.raises(Interrupted, match="fold 2 of 3; the same command goes on"):
        cross_fit(run, 3, Stops("fold 2 of 3"))
    first = RunFolder(run.fold(3, 0))
    written = (first.model / "model.safetensors").stat().st_mtime_ns
    assert not run.fold(3, 1).exists()
    models = cross_fit(run, 3, SILENT)
    assert (first.model / "model.safetensors").stat().st_mtime_ns == written
    whole = cross_fit(_run(color_images, partial_labels, tmp_path / "whole", **STEPS), 3, SILENT)
    assert all(_same(one, other) for one, other in zip(models, whole, strict=True))


def test_a_killed_command_goes_on_to_the_same_suggestions(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **{**STEPS, "epochs": 30, "holdout": 0.3})
    twin = _run(color_images, partial_labels, tmp_path / "twin", **{**STEPS, "epochs": 30, "holdout": 0.3})
    table = tmp_path / "labels.parquet"
    write_table(partial_labels, table)
    out = tmp_path / "found.csv"
    command = [sys.executable, "-m", "partlabel", "recover", str(run.path), str(table), "--images"]
    command += [str(color_images[0]), "--out", str(out), "--folds", "2", "--estimate", "--precision", "0.5"]
    process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(run.path.glob("folds/*/checkpoints/*.ckpt")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    subprocess.run(command, check=True, capture_output=True)
    where = {"images": color_images[0], "estimate": True, "precision": 0.5, "folds": 2}
    partlabel.recover(twin, partial_labels, out=tmp_path / "twin.csv", **where)
    assert out.read_bytes() == (tmp_path / "twin.csv").read_bytes()


def test_held_out_cells_are_the_cheap_choice_of_a_method_of_steps(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, heard: Any
) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **{**STEPS, "holdout": 0.3})
    found = partlabel.recover(run, partial_labels, images=color_images[0], precision=0.5)
    assert (found.evidence["by"], found.evidence["chosen_by"]) == ("held-out cells", False)
    assert not (run.path / "folds").exists()
    cells = held_out_cells(run, partial_labels.classes).cells
    assert (found.evidence["present"], found.evidence["absent"]) == tuple(int(n.sum()) for n in cells.counts[:2])
    settings = {**STEPS, "holdout": 0.3, "select": "best"}
    best = _run(color_images, partial_labels, tmp_path / "best", **settings)
    found = partlabel.recover(best, partial_labels, images=color_images[0], precision=0.5, reporter=heard)
    assert found.evidence["chosen_by"]
    assert any("the promise is approximate" in line for line in heard.lines)
    fitted = _run(color_images, partial_labels, tmp_path / "fitted", **FITTED)
    crossed = partlabel.recover(fitted, partial_labels, images=color_images[0], precision=0.5)
    assert (crossed.evidence["by"], crossed.evidence["folds"]) == ("cross-fitting", 5)
    counts = partial_labels.counts_by_class()
    assert crossed.evidence["present"] == counts.present.sum()


def test_an_unfinished_run_has_no_folds(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **FITTED)
    run.update(status="training")
    with pytest.raises(RunError, match="has not finished"):
        cross_fit(run, 2, SILENT)


def _written(models: list[RunFolder]) -> list[int]:
    return [(model.model / "model.safetensors").stat().st_mtime_ns for model in models]


def test_models_are_used_again_unless_labels_or_settings_are_others(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, heard: Any
) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **FITTED)
    judging = crossed_cells(run, partial_labels.classes, 2, color_images[0], SILENT)
    models = list(judging.models)
    first = _written(models)
    for number, model in enumerate(models):
        assert model.inputs["labels_hash"] == model.labels().hash
        assert model.labels().hash == without_fold(partial_labels, _cells(partial_labels, 2), number).hash
    again = crossed_cells(run, partial_labels.classes, 2, color_images[0], heard)
    assert _written(models) == first
    assert heard.lines == []

    run.write_config(run.settings.model_copy(update={"method_settings": {"transform": "sqrt"}}))
    cross_fit(run, 2, heard)
    anew = "its model is of other labels or settings than the run has now; it is trained anew"
    assert heard.lines.count(anew) == 2
    assert all(model.settings.method_settings == {"transform": "sqrt"} for model in models)
    assert not run.has_crossed(2)
    changed = crossed_cells(run, partial_labels.classes, 2, color_images[0], SILENT)
    assert changed.cells.logits.tolist() != again.cells.logits.tolist()

    fewer = partial_labels.select_images(np.arange(24))
    write_table(fewer, run.labels_path)
    run.update(inputs=sealed({**run.inputs, "labels_hash": fewer.hash}))
    found = crossed_cells(run, partial_labels.classes, 2, color_images[0], heard)
    assert heard.lines.count(anew) == 4
    assert set(found.cells.images) <= set(fewer.images)
    assert [len(model.labels()) for model in models] == [24, 24]


def test_a_model_that_was_begun_on_other_labels_is_emptied_first(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, heard: Any
) -> None:
    run = _run(color_images, partial_labels, tmp_path / "run", **STEPS)
    cross_fit(run, 2, SILENT)
    model = RunFolder(run.fold(2, 0))
    model.update(status="training", inputs={**model.inputs, "labels_hash": "of others"})
    shutil.rmtree(model.model)
    (model.path / "assets").mkdir(exist_ok=True)
    (model.path / "assets" / "of_others.npy").write_text("left")
    again = cross_fit(run, 2, heard)
    assert [line for line in heard.lines if "anew" in line or line.startswith("fold")][:3] == [
        "fold 1 of 2",
        "its model is of other labels or settings than the run has now; it is trained anew",
        "fold 2 of 2",
    ]
    whole = cross_fit(_run(color_images, partial_labels, tmp_path / "whole", **STEPS), 2, SILENT)
    assert all(_same(one, other) for one, other in zip(again, whole, strict=True))
    assert not [path for path in model.path.rglob("*") if path.name in {".beginning", "of_others.npy"}]


def test_folds_of_a_run_that_refines_a_fit_have_fits_of_their_own(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable, heard: Any
) -> None:
    settings = {**FITTED, "refine": "bce", "epochs": 1, "lr": 1e-9}
    run = _run(color_images, partial_labels, tmp_path / "run", **settings)
    models = cross_fit(run, 2, SILENT)
    for number, model in enumerate(models):
        seen = without_fold(partial_labels, _cells(partial_labels, 2), number)
        assert model.start.info["status"] == "done"
        assert (model.start.settings.method, model.start.labels().hash) == ("discriminant", seen.hash)
        ours, theirs = _weights(model), _weights(model.start)
        heads = [name for name in ours if name.startswith("head.")]
        assert heads
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in heads)
    assert not _same(models[0].start, run.start)
    cross_fit(run, 2, heard)
    assert heard.lines == []
    run.write_config(run.settings.model_copy(update={"lr": 1e-8}))
    cross_fit(run, 2, heard)
    assert [model.settings.lr for model in models] == [1e-8, 1e-8]


def test_folds_start_from_the_run_that_theirs_started_from(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    first = _run(color_images, partial_labels, tmp_path / "first", **{**STEPS, "epochs": 1, "seed": 5})
    settings = {**STEPS, "epochs": 1, "lr": 1e-9, "init": first.path}
    run = _run(color_images, partial_labels, tmp_path / "run", **settings)
    before = _weights(first)
    for model in cross_fit(run, 2, SILENT):
        assert all(torch.allclose(before[name], value, atol=1e-4) for name, value in _weights(model).items())


def test_folds_go_on_where_their_images_are_now(tmp_path: Path, color_images: Data, partial_labels: LabelTable) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(color_images[0], before)
    run = _run((before, color_images[1]), partial_labels, tmp_path / "run", **FITTED)
    with pytest.raises(Interrupted):
        cross_fit(run, 3, Stops("fold 2 of 3"))
    RunFolder(run.fold(3, 0)).update(status="training")
    before.rename(after)
    for model in cross_fit(run, 3, SILENT, after):
        assert model.inputs["images"] == str(after)
        assert is_own(model.inputs, model.labels().hash)


def test_folds_of_some_images_have_what_is_known_of_these(
    tmp_path: Path, color_images: Data, partial_labels: LabelTable
) -> None:
    graph, side = tmp_path / "graph.csv", tmp_path / "side.csv"
    graph.write_text("from,to,weight\nred,green,0.5\ngreen,blue,0.25\n")
    side.write_text("image,category\n" + "".join(f"{name},{name[1]}\n" for name in partial_labels.images))
    settings = {**STEPS, "epochs": 1, "method": "interactive", "graph": str(graph), "side": str(side)}
    run = _run(color_images, partial_labels, tmp_path / "run", **settings)
    rows = np.arange(3, 30)
    for model in cross_fit(run, 2, SILENT, labels=partial_labels.select_images(rows)):
        assert model.info["status"] == "done"
        assert model.assets()["side"].tolist() == run.assets()["side"][rows].tolist()
        assert model.assets()["label_graph"].tolist() == run.assets()["label_graph"].tolist()
