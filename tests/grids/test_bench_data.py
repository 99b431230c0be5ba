from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partlabel.errors import LabelError
from partlabel.grids.data import load
from partlabel.grids.schema import DigitScenes, LabelFiles
from partlabel.progress import SILENT

Write = Callable[..., Path]


@pytest.fixture
def files(write_grid: Write) -> LabelFiles:
    write_grid()
    return LabelFiles(train="train.csv", test="test.csv", images="images", codes="1=present,0=absent")


def test_label_files_are_relative_to_the_grid(files: LabelFiles, tmp_path: Path) -> None:
    data = load(files, tmp_path, tmp_path / "out", SILENT)
    assert data.images == tmp_path / "images"
    assert (data.train.shape, data.test.shape, data.all_classes) == ((40, 3), (20, 3), 3)
    assert (data.train.dense() != 0).all()


def test_min_present_counts_complete_training_labels(files: LabelFiles, tmp_path: Path) -> None:
    rows = np.loadtxt(tmp_path / "train.csv", delimiter=",", skiprows=1, usecols=(1, 2, 3), dtype=int)
    counts = rows.sum(0)
    assert len(set(counts)) > 1
    data = load(files.model_copy(update={"min_present": int(counts.max())}), tmp_path, tmp_path, SILENT)
    assert data.train.classes == data.test.classes
    assert [("red", "green", "blue").index(name) for name in data.train.classes] == np.flatnonzero(
        counts == counts.max()
    ).tolist()
    assert data.all_classes == 3
    with pytest.raises(LabelError, match="no class has 41 known present training cells"):
        load(files.model_copy(update={"min_present": 41}), tmp_path, tmp_path, SILENT)


def test_one_file_with_a_split_column(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("image,split,cat\na.png,train,1\nb.png,test,0\nc.png,test,1\n")
    files = LabelFiles(
        train="all.csv",
        test="all.csv",
        images=".",
        codes="1=present,0=absent",
        where_train={"split": "train"},
        where_test={"split": "test"},
    )
    data = load(files, tmp_path, tmp_path, SILENT)
    assert (data.train.images, data.test.images, data.train.classes) == (("a.png",), ("b.png", "c.png"), ("cat",))


def test_shared_images_are_refused(files: LabelFiles, tmp_path: Path) -> None:
    with pytest.raises(
        LabelError, match=r"40 image\(s\) are in the training and in the test labels, first: 'train00.png'"
    ):
        load(files.model_copy(update={"test": "train.csv"}), tmp_path, tmp_path, SILENT)


def test_differing_classes_are_refused(files: LabelFiles, tmp_path: Path) -> None:
    text = (tmp_path / "test.csv").read_text()
    (tmp_path / "test.csv").write_text(text.replace("green", "grey"))
    with pytest.raises(LabelError, match="the test labels lack class 'green'"):
        load(files, tmp_path, tmp_path, SILENT)


@pytest.mark.parametrize("sky", ["1,1", "0,0", "1,"])
def test_test_labels_that_compare_nothing_are_refused(tmp_path: Path, sky: str) -> None:
    """Every measure of such a grid would be a dash, after days of training."""
    (tmp_path / "train.csv").write_text("image,sky,sea\na.png,1,0\nb.png,0,1\n")
    first, second = sky.split(",")
    (tmp_path / "test.csv").write_text(f"image,sky,sea\nc.png,{first},1\nd.png,{second},1\n")
    files = LabelFiles(train="train.csv", test="test.csv", images=".", codes="1=present,0=absent,=unknown")
    with pytest.raises(LabelError, match=r"no class has .* in the test labels, .* declare it with `unlisted`"):
        load(files, tmp_path, tmp_path, SILENT)
    (tmp_path / "test.csv").write_text(f"image,sky,sea\nc.png,{first},1\nd.png,{second},0\n")
    assert load(files, tmp_path, tmp_path, SILENT).test.shape == (2, 2)


def test_scenes_are_composed_once(tmp_path: Path) -> None:
    entry = DigitScenes(builtin="digit_scenes", train=6, test=4, size=32)
    first = load(entry, tmp_path, tmp_path / "scenes", SILENT)
    assert (first.train.shape, first.test.shape) == ((6, 10), (4, 10))
    assert all((first.images / name).is_file() for name in (*first.train.images, *first.test.images))
    image = first.images / first.train.images[0]
    written = image.stat().st_mtime_ns
    again = load(entry, tmp_path, tmp_path / "scenes", SILENT)
    assert (again.train.hash, again.test.hash) == (first.train.hash, first.test.hash)
    assert image.stat().st_mtime_ns == written
    other = load(entry.model_copy(update={"seed": 1}), tmp_path, tmp_path / "scenes", SILENT)
    assert other.train.hash != first.train.hash
    assert image.stat().st_mtime_ns > written


def test_published_data_sets_bring_their_images(tmp_path: Path) -> None:
    for split, names in (("trainval", ("000001", "000002")), ("test", ("000003", "000004"))):
        for name in names:
            annotation = tmp_path / "voc" / "VOC2007" / "Annotations" / f"{name}.xml"
            annotation.parent.mkdir(parents=True, exist_ok=True)
            shown = "dog" if name == "000004" else "cat"
            annotation.write_text(f"<annotation><object><name>{shown}</name></object></annotation>")
        listing = tmp_path / "voc" / "VOC2007" / "ImageSets" / "Main" / f"{split}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text("\n".join(names))
    entry = LabelFiles(train="voc2007:voc", test="voc2007:voc", where_test={"split": "test"})
    data = load(entry, tmp_path, tmp_path, SILENT)
    assert data.images == tmp_path / "voc" / "VOC2007"
    assert data.train.images == ("JPEGImages/000001.jpg", "JPEGImages/000002.jpg")
    assert data.test.images == ("JPEGImages/000003.jpg", "JPEGImages/000004.jpg")
    elsewhere = load(entry.model_copy(update={"images": "other"}), tmp_path, tmp_path, SILENT)
    assert elsewhere.images == tmp_path / "other"
    mixed = entry.model_copy(update={"test": "labels.csv"})
    with pytest.raises(LabelError, match="no image folder in common; say `images`"):
        load(mixed, tmp_path, tmp_path, SILENT)
