"""Every method from labels to a report by the verbs, with nothing given but its name; and by the words of its class
names.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partlabel
from partlabel.errors import AssumptionError, UsageError
from partlabel.labels import LabelTable
from partlabel.methods.catalogue import CATALOGUE
from partlabel.models.encoders.small_towers import write_towers
from partlabel.progress import Silent
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

FROZEN: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False, "size": 32, "accelerator": "cpu"}
TINY = {**FROZEN, "epochs": 2, "batch_size": 8}
PRIOR = Path(__file__).parents[1] / "methods" / "prior.csv"
WITH_LABEL_VECTORS: dict[str, dict[str, Any]] = {
    "colearning": {},
    "ssgrl": {},
    "ml_gcn": {},
    "positive_unlabeled": {"head": "ssgrl"},
}


@pytest.mark.parametrize("method", CATALOGUE)
def test_trains_is_judged_and_tags(
    method: str, tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    images, truth = color_images
    settings = {**FROZEN, "freeze": True} if CATALOGUE[method].fitted else TINY
    if CATALOGUE[method].joint_space:
        towers = {"backbone": write_towers(tmp_path / "towers"), "pretrained": True, "freeze": True}
        settings = {**settings, **towers}
    if CATALOGUE[method].needs_prior:
        settings = {**settings, "prior": str(PRIOR)}
    if CATALOGUE[method].needs_start:
        start = partlabel.train(partial_labels, images=images, out=tmp_path / "start", method="bce", **TINY)
        settings = {**settings, "init": start.path}
    run = partlabel.train(partial_labels, images=images, out=tmp_path / "run", method=method, holdout=0.2, **settings)
    assert run.info["status"] == "done"
    assert (run.path / "report.html").exists()
    assert partlabel.resume(run.path).info["status"] == "done"
    assert 0 < partlabel.evaluate(run.path, truth, images=images, report=False).mean_average_precision["raw"] <= 1
    tags = partlabel.predict(run.path, [images / "00.png"])
    assert tags["class"].to_pylist() == list(truth.classes)
    assert np.isfinite(tags["logit"].to_numpy()).all()


@pytest.mark.parametrize(("method", "settings"), WITH_LABEL_VECTORS.items())
def test_trains_on_vectors_of_class_names(
    method: str,
    settings: dict[str, Any],
    tmp_path: Path,
    color_images: tuple[Path, LabelTable],
    partial_labels: LabelTable,
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("red 1 0 0.5\ngreen 0 1 0.5\nblue 0.5 0.5 -1\n")
    images, truth = color_images
    run = partlabel.train(
        partial_labels, images=images, out=tmp_path / "run", method=method, label_vectors=str(words), **settings, **TINY
    )
    words.unlink()
    kept = run.assets()["label_vectors"]
    assert kept is not None
    assert kept.tolist() == [[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, -1]]
    assert str(words) in (run.path / "report.html").read_text()
    numbers = np.array([[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, -1]], "<f4")
    digest = hashlib.sha256(b"(3, 3)" + numbers.tobytes()).hexdigest()
    assert run.info["label_vectors_used"] == {"source": str(words), "sha256": digest}
    assert 0 < partlabel.evaluate(run.path, truth, images=images, report=False).mean_average_precision["raw"] <= 1


def test_a_method_that_reads_unknown_as_absent_says_so(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    said: dict[str, list[str]] = {}
    runs: dict[str, RunFolder] = {}
    settings: dict[str, dict[str, Any]] = {"coselection": {}, "bce": {}, "asl": {"unknown": "absent"}}
    for method, own in settings.items():
        lines = said[method] = []

        class Lines(Silent):
            def say(self, text: str, lines: list[str] = lines) -> None:
                lines.append(text)

        runs[method] = partlabel.train(
            partial_labels,
            images=color_images[0],
            out=tmp_path / method,
            method=method,
            report=False,
            reporter=Lines(),
            **own,
            **TINY,
        )
    assert any(line.startswith("coselection: unknown cells are taken as absent") for line in said["coselection"])
    assert "asl: unknown cells are taken as absent" in said["asl"]
    assert not any("absent" in line for line in said["bce"])
    lost = (runs["coselection"].held_out(partial_labels.classes).states > 0).sum()
    assert lost > 0
    assert any(
        line.startswith(f"{lost} held-out present cells are read in the same way") for line in said["coselection"]
    )
    assert runs["coselection"].info["held_out_present_misread"] == runs["asl"].info["held_out_present_misread"] == lost
    assert "held_out_present_misread" not in runs["bce"].info


def test_present_labels_are_enough_for_a_method_that_is_told_to_take_unknown_as_absent(
    tmp_path: Path, color_images: tuple[Path, LabelTable], partial_labels: LabelTable
) -> None:
    images = color_images[0]
    present = LabelTable.from_dense(
        partial_labels.images, partial_labels.classes, np.where(partial_labels.dense() == 1, 1, 0)
    )
    with pytest.raises(AssumptionError, match="asl needs known present and known absent cells"):
        partlabel.train(present, images=images, out=tmp_path / "run", method="asl", **TINY)
    with pytest.raises(UsageError, match="method asl: unknown: input should be 'ignored' or 'absent'"):
        partlabel.train(present, images=images, out=tmp_path / "run", method="asl", unknown="absnt", **TINY)
    run = partlabel.train(
        present, images=images, out=tmp_path / "run", method="asl", unknown="absent", report=False, **TINY
    )
    assert run.info["status"] == "done"
