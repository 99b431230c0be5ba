import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow.parquet import read_table
from safetensors.torch import load_file

import partlabel
from partlabel.errors import Interrupted, NotFiniteError, RunError
from partlabel.labels import LabelTable
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder
from partlabel.runs.ownership import OwnedError, owned
from partlabel.training import prepared

pytestmark = pytest.mark.slow

Colors = tuple[Path, LabelTable]
TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 2,
    "batch_size": 8,
    "accelerator": "cpu",
    "report": False,
}


class StopsAt(Silent):
    """Stops the training when it reports something that begins so."""

    def __init__(self, beginning: str) -> None:
        self.beginning = beginning

    def say(self, text: str) -> None:
        if text.startswith(self.beginning):
            raise Interrupted("stopped for a test")


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.model / "model.safetensors")


def same(one: RunFolder, other: RunFolder) -> bool:
    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
def test_what_fails_before_the_first_checkpoint_leaves_nothing(
    color_images: Colors, tmp_path: Path, there: bool
) -> None:
    root, table = color_images
    out = tmp_path / "run"
    if there:
        out.mkdir()
    with pytest.raises(NotFiniteError):
        partlabel.train(table, images=root, out=out, lr=1e30, optimizer="sgd", **TINY)
    assert out.exists() == there
    assert not there or list(out.iterdir()) == []
    assert partlabel.train(table, images=root, out=out, **TINY).info["status"] == "done"
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_folder_whose_making_was_killed_is_used_again(color_images: Colors, tmp_path: Path) -> None:
    root, table = color_images
    out = tmp_path / "run"
    (out / "assets").mkdir(parents=True)
    for name in (".beginning", "config.json", "labels.parquet", ".run.json.abc.part.json"):
        (out / name).write_text("torn")
    assert partlabel.train(table, images=root, out=out, **TINY).labels().hash == table.hash


def test_files_of_somebody_else_are_not_taken_for_a_run_that_never_began(color_images: Colors, tmp_path: Path) -> None:
    root, table = color_images
    mine = tmp_path / "labels.parquet"
    mine.write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        partlabel.train(table, images=root, out=tmp_path, **TINY)
    assert mine.read_text() == "mine"


def test_a_stopped_training_without_checkpoint_goes_on_from_another_directory(
    color_images: Colors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, table = color_images
    monkeypatch.chdir(tmp_path)
    whole = partlabel.train(table, images=root, out="whole", **TINY)
    with pytest.raises(Interrupted):
        partlabel.train(table, images=os.path.relpath(root), out="cut", reporter=StopsAt("epoch 1/2"), **TINY)
    assert not list((tmp_path / "cut").rglob("*.ckpt"))
    monkeypatch.chdir("/")
    assert same(partlabel.resume(tmp_path / "cut", report=False), RunFolder(tmp_path / whole.path))


def test_frozen_weights_of_an_earlier_run_are_taken_again_when_a_run_goes_on(
    color_images: Colors, tmp_path: Path
) -> None:
    """Maps are computed anew when a run goes on, and it is not the checkpoint that they come from."""
    root, table = color_images
    first = partlabel.train(table, images=root, out=tmp_path / "first", **{**TINY, "lr": 0.05, "epochs": 1})
    frozen = {**TINY, "freeze": True, "init": first.path}
    whole = partlabel.train(table, images=root, out=tmp_path / "whole", **frozen)
    with pytest.raises(Interrupted):
        partlabel.train(table, images=root, out=tmp_path / "cut", reporter=StopsAt("epoch 2/2"), **frozen)
    assert list((tmp_path / "cut").rglob("*.ckpt"))
    assert same(partlabel.resume(tmp_path / "cut", report=False), whole)


def test_files_of_graph_and_side_information_are_needed_once(
    color_images: Colors, partial_labels: LabelTable, tmp_path: Path
) -> None:
    graph = tmp_path / "graph.csv"
    graph.write_text("from,to,weight\nred,green,0.5\ngreen,blue,0.25\n")
    side = tmp_path / "side.csv"
    side.write_text("image,category\n" + "".join(f"{name},{len(name) % 2}\n" for name in partial_labels.images))
    settings = {**TINY, "method": "interactive", "graph": str(graph), "side": str(side)}
    with pytest.raises(Interrupted):
        partlabel.train(
            partial_labels, images=color_images[0], out=tmp_path / "run", reporter=StopsAt("epoch 2/2"), **settings
        )
    graph.unlink()
    side.unlink()
    run = partlabel.resume(tmp_path / "run", report=False)
    assert run.info["status"] == "done"
    assert run.assets()["label_graph"].shape == (3, 3)
    assert len(run.assets()["side"]) == len(partial_labels)


def test_vectors_where_earlier_releases_kept_them_are_found(tmp_path: Path) -> None:
    np.save(tmp_path / "label_vectors.npy", np.ones((2, 3), np.float32))
    assert RunFolder(tmp_path).assets()["label_vectors"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_search_and_refit_build_and_split_no_more_than_they_must(
    color_images: Colors, partial_labels: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str) -> None:
        original = getattr(prepared, name)
        monkeypatch.setattr(prepared, name, lambda *a, **k: (calls.update([name]), original(*a, **k))[1])

    for name in ("build", "hold_out", "sources"):
        counted(name)
    run = partlabel.train(
        partial_labels, images=color_images[0], out=tmp_path / "run", find_lr=(1e-3, 1e-2), refit=True, **TINY
    )
    assert calls == {"build": 3, "hold_out": 1, "sources": 1}  # one for each rate and one for the refit
    assert set(run.info["found_lr"]) == {"0.001", "0.01"}
    assert not list(run.path.glob("find_lr/*/checkpoints"))
    rate = max(run.info["found_lr"], key=run.info["found_lr"].get)
    assert run.settings.lr == float(rate)
    alone = partlabel.train(
        partial_labels, images=color_images[0], out=tmp_path / "alone", lr=float(rate), refit=True, **TINY
    )
    assert same(run, alone)
    assert run.info["held_out"] == alone.info["held_out"]
    assert read_table(run.path / "held_out.parquet").equals(read_table(alone.path / "held_out.parquet"))


@pytest.fixture(scope="module")
def finished(color_images: Colors, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root, table = color_images
    return partlabel.train(table, images=root, out=tmp_path_factory.mktemp("finished") / "run", **TINY)


def test_a_missing_report_is_made(finished: RunFolder, color_images: Colors) -> None:
    assert not (finished.path / "report.html").exists()
    partlabel.resume(finished.path, images=color_images[0])
    assert (finished.path / "report.html").is_file()


def test_a_missing_model_is_made_again(finished: RunFolder) -> None:
    before = weights(finished)
    for path in finished.model.iterdir():
        path.unlink()
    finished.model.rmdir()
    partlabel.resume(finished.path, report=False)
    assert all(torch.equal(value, before[name]) for name, value in weights(finished).items())


def test_one_process_at_a_time(finished: RunFolder) -> None:
    finished.update(status="training")
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")}
    with owned(finished.path), pytest.raises(OwnedError, match=f"in use by process {os.getpid()} on "):
        partlabel.resume(finished.path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
