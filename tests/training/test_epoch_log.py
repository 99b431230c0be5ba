import json
from pathlib import Path
from typing import Any

import pytest

from partlabel.api.evaluate import evaluate
from partlabel.api.train import resume, train
from partlabel.errors import Interrupted
from partlabel.labels import LabelTable
from partlabel.runs.folder import TEST_LOG, RunFolder

pytestmark = pytest.mark.slow

Images = tuple[Path, LabelTable]


@pytest.fixture
def halves(color_images: Images, partial_labels: LabelTable) -> tuple[LabelTable, LabelTable]:
    """Some images to train on, and complete labels of the others."""
    _, complete = color_images
    return partial_labels.select_images(partial_labels.images[:20]), complete.select_images(complete.images[20:])


SETTINGS: dict[str, Any] = {
    "method": "saliency",
    "backbone": "test_resnet",
    "pretrained": False,
    "size": 32,
    "epochs": 2,
    "batch_size": 8,
    "holdout": 0.3,
    "seed": 3,
    "report": False,
}


def log(run: RunFolder) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.log()]


@pytest.mark.parametrize(
    "more",
    [
        {"find_lr": (0.001, 0.01), "select": "best"},
        {"lr": 0.01, "holdout": 0.0, "validate_every": 2},
        {"lr": 0.01, "freeze": True, "method": "bce", "refit": True},
    ],
)
def test_a_run_is_the_same_with_and_without_it(
    color_images: Images, halves: tuple[LabelTable, LabelTable], tmp_path: Path, more: dict[str, Any]
) -> None:
    images, _ = color_images
    known, test = halves
    given = {**SETTINGS, **more, "images": images}
    without = train(known, out=tmp_path / "without", **given)
    watched = train(known, out=tmp_path / "with", log_test=test, **given)
    for name in ("model/model.safetensors", "config.json"):
        assert (watched.path / name).read_bytes() == (without.path / name).read_bytes()
    assert log(watched) == log(without)
    for fact in ("found_lr", "held_out"):
        assert watched.info.get(fact) == without.info.get(fact)
    bundles = [json.loads((run.path / "model" / "model.json").read_text()) for run in (watched, without)]
    assert bundles[0] == bundles[1]
    assert not (without.path / TEST_LOG).exists()

    rows = watched.log(TEST_LOG)
    epochs = "2" if "validate_every" in more else "12"
    phases = ["selection", "refit"] if more.get("refit") else ["selection"]
    assert [(row["phase"], row["epoch"]) for row in rows] == [(phase, epoch) for phase in phases for epoch in epochs]
    if more.get("select") != "best":
        judged = evaluate(watched, test, images=images, report=False).mean_average_precision["raw"]
        assert float(rows[-1]["test_mAP"]) == pytest.approx(judged, abs=1e-5)


def test_an_interrupted_run_goes_on_with_it(
    color_images: Images, halves: tuple[LabelTable, LabelTable], tmp_path: Path, at_steps: Any
) -> None:
    images, _ = color_images
    known, test = halves
    given = {**SETTINGS, "images": images, "lr": 0.01, "checkpoint_every": 1, "log_test": test}
    whole = train(known, out=tmp_path / "whole", **given)

    def stop(step: int) -> None:
        if step == 4:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        train(known, out=tmp_path / "cut", reporter=at_steps(stop), **given)
    cut = resume(tmp_path / "cut", log_test=test, report=False)
    assert cut.log(TEST_LOG) == whole.log(TEST_LOG)
    assert len(cut.log(TEST_LOG)) == 2
