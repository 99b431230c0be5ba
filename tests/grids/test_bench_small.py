"""The small form of a grid, which tries a file out."""

from pathlib import Path

import pytest

from partlabel.api.bench import bench
from partlabel.errors import UsageError
from partlabel.grids.grid import read_grid
from partlabel.grids.schema import DigitScenes
from partlabel.grids.small import TITLE

GRID = """
title = "A table"
seeds = [3, 4]
measures = ["mAP voc12"]

[published]
file = "paper.csv"
table = "1"
rows = { "co-learning" = "CSL" }
data = { coco = "MS-COCO", voc = "VOC" }

[data.coco]
train = "${NOWHERE}/train.csv"
test = "${NOWHERE}/test.csv"
images = "${NOWHERE}"

[data.voc]
train = "train.csv"
test = "test.csv"
images = "images"

[masking."10 % known"]
name = "legacy_torch_ratio"
ratio = 0.1

[masking."90 % known"]
name = "legacy_torch_ratio"
ratio = 0.9

[settings]
backbone = "resnet101.tv_in1k"
size = 448
epochs = 60
schedule_epochs = 80
batch_size = 52
workers = 8
amp = "bf16"
random_crop = "scales"
crop_from = 512
crop_sides = [512, 448]
holdout = 0
lr = 5e-5

[method."co-learning"]
method = "colearning"
hidden = 1024
lambda_2 = 0.8
label_vectors = "bert-base-uncased"

[method.uPU]
method = "positive_unlabeled"
risk = "unbiased"
mixup_weight = 0

[method.interactive]
graph = "${NOWHERE}/wiki.csv"
k = 5

[[override]]
data = "voc"
masking = "90 % known"
settings = { epochs = 70 }

[[override]]
data = ["coco", "voc"]
method = "co-learning"
settings = { lambda_2 = 2, schedule_epochs = 90 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    numbers = "".join(f"1,CSL,{name},10 % known,mAP,78.2,voc12,unknown,\n" for name in ("MS-COCO", "VOC"))
    (tmp_path / "paper.csv").write_text("table,row,data,masking,measure,value,convention,selection,note\n" + numbers)
    (tmp_path / "grid.toml").write_text(GRID)
    return tmp_path / "grid.toml"


def test_what_costs_time_shrinks_and_what_makes_a_method_stays(path: Path) -> None:
    grid = read_grid(path, tiny=True)
    assert grid.title == f"{TITLE}A table"
    assert (grid.seeds, list(grid.data), list(grid.maskings)) == ((3,), ["coco"], ["10 % known"])
    assert isinstance(grid.data["coco"], DigitScenes)
    assert grid.maskings["10 % known"].settings == {"ratio": 0.1}
    assert list(grid.rows) == ["co-learning", "uPU", "interactive"]
    row = grid.row_of("coco", "10 % known", "co-learning").settings
    assert (row["backbone"], row["pretrained"], row["size"], row["epochs"]) == ("test_resnet", False, 64, 2)
    assert (row["schedule_epochs"], row["batch_size"], row["workers"], row["amp"]) == (3, 16, 0, "none")
    assert (row["random_crop"], row["lr"], row["holdout"], row["lambda_2"]) == ("scales", 5e-5, 0, 2)
    assert (row["hidden"], row["label_vectors"]) == (32, "learned")
    assert not {"crop_from", "crop_sides"} & set(row)
    other = grid.rows["interactive"].settings
    assert other["k"] == 5
    assert "graph" not in other
    assert grid.published is not None
    assert grid.published.data == {"coco": "MS-COCO"}


def test_what_the_file_has_wrong_is_said_all_the_same(path: Path) -> None:
    path.write_text(GRID.replace("seeds = [3, 4]", 'seeds = "3"'))
    with pytest.raises(UsageError, match="seeds"):
        read_grid(path, tiny=True)
    path.write_text(GRID.replace("lambda_2 = 0.8", "lambda_3 = 0.8"))
    with pytest.raises(UsageError, match="lambda_3"):
        read_grid(path, tiny=True)


@pytest.mark.parametrize("first", [True, False])
def test_a_trial_and_results_never_share_a_folder(path: Path, tmp_path: Path, first: bool) -> None:
    path.write_text(
        'seeds = [0]\n[data.s]\nbuiltin = "digit_scenes"\ntrain = 8\ntest = 4\nsize = 32\n[masking.half]\n'
        'name = "known_ratio"\n'
        'ratio = 0.5\n[settings]\nbackbone = "test_resnet"\n[method.bce]\n'
    )
    out = tmp_path / "out"
    result = out / "cells" / "s--half--bce--seed0" / "cell.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    if first:
        (out / "small-trial").touch()
    with pytest.raises(UsageError, match=r"out holds results .*name another folder with --out"):
        bench(path, out=out, small=not first)
    assert (result.read_text(), (out / "grid.toml").exists()) == ("{}", False)


@pytest.mark.slow
def test_it_runs_where_there_are_no_data(path: Path, tmp_path: Path) -> None:
    path.write_text(GRID.replace("[method.interactive]", "[method.bce]").replace("graph =", "# ").replace("k = 5", ""))
    outcome = bench(path, out=tmp_path / "out", small=True)
    assert (outcome.done, outcome.failed) == (3, {})
    assert (tmp_path / "out" / "small-trial").is_file()
    text = outcome.table.read_text()
    assert text.startswith(f"# {TITLE}A table\n")
    assert "| co-learning (CSL) | MS-COCO | 10 % known | mAP voc12 |" in text
    assert (tmp_path / "out" / "published.csv").is_file()
