"""The walk of docs/walk.md on small scenes: train, audit, release, review while the model learns, train again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import partlabel
from partlabel.labels import Source

pytestmark = pytest.mark.slow

WALK = Path(__file__).parents[2] / "benchmarks" / "walk.py"
AUDIT, REVIEW = 40, 50
PRECISION = 0.2  # of so few scenes a model is sure of little, and of how little differs from one processor to another


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a walk."""
    out = tmp_path_factory.mktemp("walk")
    words = [
        "digit_scenes",
        "--out",
        out,
        "--scenes",
        150,
        "--audit",
        AUDIT,
        "--review",
        REVIEW,
        "--precision",
        PRECISION,
    ]
    environment = {**os.environ, "PARTLABEL_CACHE": str(out / "cache")}
    command = [sys.executable, WALK, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out / "digit_scenes"


def judged_cells(reviewed: Path) -> set[tuple[str, str]]:
    """The cells that the journal beside a file has verdicts on."""
    lines = reviewed.with_name(f"{reviewed.name}.verdicts.jsonl").read_text().splitlines()[1:]
    return {(one["image"], one["class"]) for one in map(json.loads, lines) if one["kind"] == "verdict"}


def test_every_verdict_is_a_label_that_is_true_and_nothing_else_changes(walked: Path) -> None:
    truth = partlabel.read_table(walked / "train-complete.csv").table
    before = partlabel.read_table(walked / "labels.csv").table
    after = partlabel.read_table(walked / "both.csv").table
    cells, reviewed = after.cells(), 0
    for row, column, state, source in zip(*(part.tolist() for part in cells), strict=True):
        image, name = after.images[row], after.classes[column]
        at = [before.image_positions[image]], [before.class_positions[name]]
        assert state == truth.states_at([truth.image_positions[image]], [truth.class_positions[name]])[0]
        was_known = before.states_at(*at)[0] != 0
        assert was_known != (source == Source.REVIEW)
        reviewed += source == Source.REVIEW
    audited, by_value = judged_cells(walked / "audit.csv"), judged_cells(walked / "labels.csv")
    assert len(audited) == json.loads((walked / "walk.json").read_text())["audited"]["verdicts"]
    assert 0 < len(audited) <= AUDIT
    assert len(by_value) == REVIEW
    assert reviewed == len(audited | by_value)  # neither review knows of the other
    assert (after.dense() != 0).sum() == (before.dense() != 0).sum() + reviewed


def test_the_model_learned_on_the_way_and_the_numbers_are_those_of_a_walk(walked: Path) -> None:
    found = json.loads((walked / "walk.json").read_text())
    assert found["reviewed by value"]["verdicts"] == REVIEW
    assert found["reviewed by value"]["fits"] == 2  # before the first verdict, and after the first 25
    for when in ("before", "after", "after, with the audit's verdicts"):
        assert 0.1 < found[when]["mAP"] < 1
    for released in found.values():
        if "suggested" in released:
            assert (released["precision"] is None) == (released["suggested"] == 0)
    if found["audited"]["suggested"]:
        assert found["audited"]["precision"] >= PRECISION
