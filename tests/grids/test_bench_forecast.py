"""What a grid costs, from its file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from partlabel.api.bench import bench_cost
from partlabel.cli.app import app
from partlabel.errors import UsageError
from partlabel.grids.forecast import costs, training_images
from partlabel.grids.grid import read_grid
from partlabel.grids.schema import DigitScenes, LabelFiles

SCENES = '[data.scenes]\nbuiltin = "digit_scenes"\ntrain = 100\ntest = 10\n'


def test_trainings_and_steps_by_hand(write_grid: Callable[..., Path]) -> None:
    path = write_grid(("[masking.half]", SCENES + "\n[masking.half]"), ("epochs = 1", "epochs = 3"))
    text = path.read_text() + '\n[[override]]\ndata = "scenes"\nmethod = "bce"\nsettings = { epochs = 5 }\n'
    path.write_text(text.replace("lr = [0.001, 0.01]", "lr = [0.001, 0.01, 0.1]"))
    files, scenes = costs(read_grid(path, fill=False))
    # two seeds; bce tries two further rates on the first; 100 images make 7 batches of 16
    assert (files.data, files.images, files.trainings, files.steps) == ("squares", None, 6, 0)
    assert (scenes.data, scenes.images, scenes.trainings) == ("scenes", 100, 6)
    assert scenes.steps == 4 * 5 * 7 + 2 * 3 * 7
    assert scenes.passes == 4 * 5 * 100 + 2 * 3 * 100


def test_it_needs_no_variable_and_tells_hours(write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_grid(("[masking.half]", SCENES + "\n[masking.half]"))
    monkeypatch.delenv("SQUARES")
    text = bench_cost(path, images_per_second=0.5)
    assert "squares: 5 trainings; its images are counted when it is read" in text
    assert "scenes: 5 trainings on 100 images, 35 steps, 500 images to pass" in text
    assert "At 0.5 images a second, which you say: 0.3 hours" in text
    assert "hours" not in bench_cost(path)


@pytest.mark.parametrize(
    ("train", "images"),
    [
        ("coco2014:${COCO},split=train", 82783),
        ("coco2014:${COCO}", 82783),
        ("coco2014:${COCO},split=train,unannotated=drop,order=image_id", 82081),
        ("voc2007:${VOC},difficult=absent", 5011),
        ("vg200:${VG},split=train", None),
        ("labels.csv", None),
        ("C:/labels.csv", None),
    ],
)
def test_published_counts_of_data_sets(train: str, images: int | None) -> None:
    assert training_images(LabelFiles(train=train, test="t", images="i")) == images


@pytest.mark.parametrize(
    ("train", "where", "images"),
    [
        ("coco2014:${COCO}", {"split": "val"}, 40504),
        ("coco2014:${COCO},unannotated=drop", {"split": "val"}, 40137),
        ("cub200_2011:${CUB}", {}, 5994),
        ("cub200_2011:${CUB},species=seen.txt", {}, None),
        ("coco2014_words:${COCO},list=val2.txt", {"split": "val"}, None),
    ],
)
def test_conditions_choose_the_count_and_own_lists_leave_it_open(
    train: str, where: dict[str, str], images: int | None
) -> None:
    for entry in (
        LabelFiles(train=train, test="t", where_train=where),
        LabelFiles(train=train, test="t", where=where),
    ):
        assert training_images(entry) == images


def test_the_count_of_built_in_data() -> None:
    assert training_images(DigitScenes(builtin="digit_scenes", train=7)) == 7


def test_the_command_needs_a_folder_only_to_run(
    write_grid: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_grid(("[masking.half]", SCENES + "\n[masking.half]"))
    monkeypatch.delenv("SQUARES")
    told = CliRunner().invoke(app, ["bench", str(path), "--cost", "--images-per-second", "0.5"])
    assert told.exit_code == 0
    assert "scenes: 5 trainings on 100 images" in told.output
    assert "0.3 hours" in told.output
    for speed in ("0", "-1", "nan"):
        refused = CliRunner().invoke(app, ["bench", str(path), "--cost", f"--images-per-second={speed}"])
        assert isinstance(refused.exception, UsageError)
        assert "must be above 0" in str(refused.exception)
    refused = CliRunner().invoke(app, ["bench", str(path)])
    assert refused.exit_code != 0
    assert isinstance(refused.exception, UsageError)
    assert "--out is missing" in str(refused.exception)
