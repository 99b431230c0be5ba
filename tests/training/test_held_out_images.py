"""Whole images held out: what is trained on is the table without them, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import partlabel
from partlabel.errors import Interrupted
from partlabel.labels import LabelTable, Source
from partlabel.methods.interactive import Interactive, InteractiveConfig
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder
from partlabel.runs.holdout import hold_out, images_without_label, with_contrast
from partlabel.runs.settings import TrainSettings
from partlabel.training.init_weights import seen_before
from partlabel.training.prepared import Prepared, gathered_assets

TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 2,
    "batch_size": 8,
    "accelerator": "cpu",
    "lr": 0.01,
    "report": False,
    "validate_every": 2,
}
Colors = tuple[Path, LabelTable]


class Heard(Silent):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def _positives(images: int = 60, classes: int = 5, share: float = 0.3) -> LabelTable:
    random = np.random.default_rng(1)
    states = (random.random((images, classes)) < share).astype(np.int8)
    states[:, -1] = 0
    states[7, -1] = 1  # a class with a single label
    return LabelTable.from_dense([f"{row:02d}.png" for row in range(images)], "abcde"[:classes], states)


def _present(table: LabelTable) -> LabelTable:
    return LabelTable.from_dense(table.images, table.classes, np.maximum(table.dense(), 0))


def _weights(run: RunFolder) -> dict[str, Any]:
    return load_file(run.model / "model.safetensors")


def _same(one: RunFolder, other: RunFolder) -> None:
    mine, theirs = _weights(one), _weights(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not mine[name].equal(theirs[name])] == []


def test_images_are_left_out_with_their_cells_by_explicit_loop() -> None:
    table = _positives()
    states = table.dense()
    labelled = {row for row in range(60) if any(states[row])}
    assert len(labelled) == 48
    for seed in range(10):
        split = hold_out(table, 0.2, seed)
        assert split.rows is not None
        left, kept = set(range(60)) - set(split.rows.tolist()), split.rows.tolist()
        assert len(left) == 10  # 0.2 of 48 is 9.6
        assert left <= labelled
        assert split.training.images == tuple(table.images[row] for row in kept)
        np.testing.assert_array_equal(split.training.dense(), states[kept])
        expected = [(row, column) for row in sorted(left) for column in range(5) if states[row, column]]
        found = list(zip(split.held_out.image_index.tolist(), split.held_out.class_index.tolist(), strict=True))
        assert found == expected
        assert (split.held_out.states == 1).all()
        assert 7 not in left, "the only label of a class is held out"
        mirrored = LabelTable.from_dense(table.images[::-1], table.classes, states[::-1])
        other = hold_out(mirrored, 0.2, seed)
        assert set(other.training.images) == set(split.training.images)
    assert hold_out(table, 0.2, 0).training.images != hold_out(table, 0.2, 1).training.images


def test_every_class_and_sign_keeps_a_cell() -> None:
    states = np.zeros((30, 3), np.int8)
    states[:2] = [[1, -1, 1], [-1, 1, 1]]
    table = LabelTable.from_dense([f"{row}" for row in range(30)], "abc", states)
    for seed in range(20):
        split = hold_out(table, 0.9, seed, "images")
        assert (
            len(split.training) == 30
        )  # the two with labels have the last of a class and sign, and no others are drawn
        assert not split.held_out.states.size
    states[2] = states[0]
    table = LabelTable.from_dense(table.images, "abc", states)
    left = {tuple(set(table.images) - set(hold_out(table, 0.9, seed, "images").training.images)) for seed in range(20)}
    assert left == {("0",), ("2",)}  # at most 2 of 3 (0.9 of 3 is 2.7), and the other one of the pair must stay


def test_images_with_recovered_labels_alone_all_train() -> None:
    """They have nothing to be judged by."""
    rows, columns = np.repeat(np.arange(20), 2), np.tile([0, 1], 20)
    sources = np.where(rows < 10, Source.RECOVERED, Source.IMPORT)
    names = [f"{row}" for row in range(20)]
    table = LabelTable.from_cells(names, "ab", rows, columns, np.ones(40), sources)
    for seed in range(10):
        split = hold_out(table, 0.3, seed)
        assert split.rows is not None
        assert set(range(10)) <= set(split.rows.tolist())
        assert len(split.training) == 17  # 0.3 of the 10 others
        assert len(hold_out(table, 0.99, seed).training) == 11, "one with labels of its own stays"
    nothing = hold_out(table.select_images(range(10)), 0.3, 0)
    assert len(nothing.training) == 10
    assert not nothing.held_out.states.size


def test_what_is_held_out_follows_the_signs_unless_it_is_said() -> None:
    table = _positives()
    states = table.dense().copy()
    assert hold_out(table, 0.2, 0, "cells").rows is None
    states[3, 0] = -1
    known = LabelTable.from_dense(table.images, table.classes, states)
    assert hold_out(known, 0.2, 0).rows is None
    by_images = hold_out(known, 0.2, 0, "images")
    assert by_images.rows is not None
    rows, columns = np.nonzero(states)
    sources = np.where(states[rows, columns] < 0, Source.RECOVERED, Source.IMPORT)
    recovered = LabelTable.from_cells(table.images, table.classes, rows, columns, states[rows, columns], sources)
    split = hold_out(recovered, 0.5, 0)
    assert split.rows is not None, "recovered cells are no truth to hold out"
    assert (split.held_out.states > 0).all()
    declared = LabelTable.from_cells(
        table.images, table.classes, *np.nonzero(table.dense()), np.ones(rows.size - 1), background=-1
    )
    assert hold_out(declared, 0.2, 0).rows is None


def test_present_cells_are_ranked_among_unknown_ones_of_the_same_images() -> None:
    table = _positives()
    split = hold_out(table, 0.2, 0)
    assert split.rows is not None
    apart = np.setdiff1d(np.arange(60), split.rows)
    ranked = with_contrast(split.held_out, table, 0, apart)
    assert set(ranked.image_index.tolist()) == set(apart.tolist())
    assert ranked.states.size == 10 * 5  # all cells of 0.2 of the 48 images with a label
    assert (ranked.states == 1).sum() == split.held_out.states.size


def test_images_that_lose_their_only_label_by_explicit_loop() -> None:
    table = _positives(share=0.25)
    before = table.dense()
    for seed in range(5):
        split = hold_out(table, 0.3, seed, "cells")
        after = split.training.dense()
        lost = sum((before[row] == 1).any() and not (after[row] == 1).any() for row in range(60))
        assert lost > 0
        assert images_without_label(table, split) == lost
    assert images_without_label(table, hold_out(table, 0.3, 0)) == 0


METHODS: dict[str, dict[str, Any]] = {
    "assume_negative": {},
    "role": {"expected_positives": 1.5},
    "coselection": {"ramp": 1},
    "positive_unlabeled": {"freeze": True, "train_last": 1},
    "entropy_maximization": {"warmup_epochs": 1, "freeze": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_training_is_that_of_a_table_without_the_images(method: str, color_images: Colors, tmp_path: Path) -> None:
    """Bit for bit, whatever a method keeps for each image; and the held-out images are scored by that network."""
    root, complete = color_images
    table = _present(complete)
    settings = {**TINY, **METHODS[method], "method": method}
    truth = {"truth": complete} if method == "coselection" else {}
    heard = Heard()
    run = partlabel.train(table, images=root, out=tmp_path / "run", holdout=0.25, reporter=heard, **truth, **settings)
    split = hold_out(table, 0.25, 0)
    assert (table.dense() > 0).any(1).sum() == 22
    assert run.info["held_out_images"] == 6  # 0.25 of 22 is 5.5, to the even number
    present = split.held_out.states.size
    told = f"6 of 32 images are held out whole, chosen among those with a known label, with {present} known present"
    assert sum(line.startswith(told) for line in heard.lines) == 1
    assert "held_out_present_misread" not in run.info
    assert len(split.training) == 26
    alone = partlabel.train(split.training, images=root, out=tmp_path / "alone", holdout=0, **truth, **settings)
    _same(run, alone)
    judged = {"seconds", "held_out_mAP_among_unknown", "held_out_classes"}
    mine, theirs = ([{k: v for k, v in row.items() if k not in judged} for row in one.log()] for one in (run, alone))
    assert mine == theirs
    assert any("missed_share" in row for row in mine) == bool(truth)
    assert run.log()[-1]["held_out_mAP_among_unknown"]

    said = partlabel.predict(run.model, [root])
    logit = {
        (Path(name).name, tag): value
        for name, tag, value in zip(*(said[key].to_pylist() for key in ("image", "class", "logit")), strict=True)
    }
    cells = run.held_out(table.classes)
    expected = [
        logit[table.images[row], table.classes[column]]
        for row, column in zip(split.held_out.image_index, split.held_out.class_index, strict=True)
    ]
    np.testing.assert_allclose(np.sort(cells.logits), np.sort(expected), atol=1e-4)


@pytest.mark.slow
def test_it_resumes_searches_refits_and_is_reported(color_images: Colors, tmp_path: Path, at_steps: Any) -> None:
    root, complete = color_images
    table = _present(complete)
    settings = {**TINY, "method": "assume_negative", "holdout": 0.25, "select": "best", "checkpoint_every": 1}
    settings["validate_every"] = 1

    def stop(done: int) -> None:
        if done == 4:
            raise Interrupted("killed")

    whole = partlabel.train(table, images=root, out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted, match="killed"):
        partlabel.train(table, images=root, out=tmp_path / "cut", reporter=at_steps(stop), **settings)
    _same(partlabel.resume(tmp_path / "cut", report=False), whole)

    searched = {**settings, "refit": True, "report": True}
    del searched["lr"]
    run = partlabel.train(table, images=root, out=tmp_path / "searched", find_lr=(1e-3, 1e-2), **searched)
    assert set(run.info["found_lr"]) == {"0.001", "0.01"}
    page = " ".join((run.path / "report.html").read_text().split())
    assert "it saw nothing of their images, 6 that were held out whole" in page
    assert "were seen with other labels" not in page
    plain = {**TINY, "method": "assume_negative", "holdout": 0, "lr": run.settings.lr}
    _same(run, partlabel.train(table, images=root, out=tmp_path / "plain", **plain))

    cells = hold_out(table, 0.25, 0).held_out
    assert seen_before(whole.path, cells, table) == 0
    assert seen_before(run.path, cells, table) == cells.states.size


@pytest.mark.slow
def test_thresholds_and_suggestions_rest_on_whole_images_too(color_images: Colors, tmp_path: Path) -> None:
    root, complete = color_images
    hidden = np.random.default_rng(2).random(complete.shape) > 0.8
    table = LabelTable.from_dense(complete.images, complete.classes, np.where(hidden, 0, complete.dense()))
    settings = {**TINY, "holdout": 0.4, "holdout_by": "images", "epochs": 4}
    run = partlabel.train(table, images=root, out=tmp_path / "run", **settings)
    split = hold_out(table, 0.4, 0, "images")
    assert (split.held_out.states < 0).any()
    assert run.info["held_out"]["mAP"] is not None
    cells = run.held_out(table.classes)
    assert cells.states.size == split.held_out.states.size
    partlabel.recover(run, table, images=root, out=tmp_path / "found.csv", precision=0.5, estimate=True)
    assert (tmp_path / "found.csv").is_file()


def test_side_information_is_that_of_the_images_that_train(color_images: Colors, tmp_path: Path) -> None:
    """And that most images have none is said once."""
    root, table = color_images
    side = tmp_path / "side.csv"
    side.write_text("image,category\n" + "".join(f"{table.images[row]},{row:02d}\n" for row in range(0, 32, 3)))
    config = InteractiveConfig(side=str(side))
    settings = TrainSettings(
        backbone="test_resnet",
        pretrained=False,
        size=32,
        holdout_by="images",
        method="interactive",
        method_settings=config.model_dump(),
    )
    heard = Heard()
    assets, _ = gathered_assets(settings, table, heard)
    wanted = [row // 3 if row % 3 == 0 else -1 for row in range(32)]
    assert assets["side"].tolist() == wanted
    assert heard.lines == [
        f"{side} has no category for 21 of the 32 images, such as 01.png and 02.png; images similar to these are found "
        "without it"
    ]
    prepared = Prepared.of(settings, table, root, assets, None)
    rows = prepared.split.rows
    assert rows is not None
    method = prepared.try_out(settings, heard)
    assert isinstance(method, Interactive)
    assert method.similar.categories is not None
    assert method.similar.categories.tolist() == [wanted[row] for row in rows]
    assert len(heard.lines) == 1


def test_a_run_of_an_earlier_release_held_out_cells(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"method": "assume_negative"}')
    assert RunFolder(tmp_path).settings.holdout_by == "cells"
