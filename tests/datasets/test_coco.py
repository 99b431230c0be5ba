from pathlib import Path

import numpy as np
import pytest
import torch

from partlabel.errors import LabelError
from partlabel.masking import hide

from .conftest import Read, write, write_coco

CLASSES = {1: "person", 3: "car", 18: "dog"}
IMAGES = (30, 10, 20, 40)  # in the order of the file; 20 has no mark
MARKS = ((10, 18), (40, 1), (30, 3), (10, 18), (30, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_coco(tmp_path, "train", IMAGES, MARKS, CLASSES)
    write_coco(tmp_path, "val", (7,), ((7, 3),), CLASSES)
    return tmp_path


def expected(images: tuple[int, ...]) -> list[list[int]]:
    return [[1 if (image, category) in MARKS else -1 for category in CLASSES] for image in images]


def name(image: int) -> str:
    return f"train2014/COCO_train2014_{image:012d}.jpg"


@pytest.mark.parametrize(
    ("options", "images"),
    [
        ("", (30, 10, 20, 40)),
        (",order=file,unannotated=drop", (30, 10, 40)),
        (",order=image_id", (10, 20, 30, 40)),
        (",order=image_id,unannotated=drop", (10, 30, 40)),
        (",order=annotation,unannotated=drop", (10, 40, 30)),
        (",order=annotation", (10, 40, 30, 20)),
    ],
)
def test_orders_and_images_without_marks(folder: Path, read: Read, options: str, images: tuple[int, ...]) -> None:
    table = read(f"coco2014:{folder}{options}")
    assert table.images == tuple(map(name, images))
    assert table.classes == tuple(CLASSES.values())
    assert table.dense().tolist() == expected(images)
    assert table.background.tolist() == [-1, -1, -1]  # nothing but present cells is stored
    assert len(table.states) == len(set(MARKS))


def test_the_other_split(folder: Path, read: Read) -> None:
    table = read(f"coco2014:{folder},split=val")
    assert (table.images, table.dense().tolist()) == (("val2014/COCO_val2014_000000000007.jpg",), [[-1, 1, -1]])


def test_masks_are_those_of_public_code(folder: Path, read: Read) -> None:
    """SST, SARB and PU-MLC draw along the file with all images, CSL by image id without the unannotated ones."""
    dense = np.asarray(expected(IMAGES))
    np.random.seed(0)  # noqa: NPY002
    draw = np.random.random(dense.shape) < 0.5  # noqa: NPY002
    masked = hide(read(f"coco2014:{folder}"), "legacy_numpy_ratio", ratio=0.5).table
    assert masked.images == tuple(map(name, IMAGES))
    assert masked.dense().tolist() == np.where(draw, dense, 0).tolist()
    dense = np.asarray(expected((10, 30, 40)))
    torch.manual_seed(0)
    known = torch.rand(*dense.shape) < 0.5
    masked = hide(read(f"coco2014:{folder},order=image_id,unannotated=drop"), "legacy_torch_ratio", ratio=0.5).table
    assert masked.images == tuple(map(name, (10, 30, 40)))
    assert masked.dense().tolist() == np.where(known, dense, 0).tolist()


def test_what_is_missing_or_broken_is_named(folder: Path, read: Read) -> None:
    path = folder / "annotations" / "instances_train2014.json"
    whole = path.read_text()
    for broken, said in (
        (whole[:-9], "no complete JSON"),
        ("[]", "no list of images"),
        (whole.replace('"categories"', '"other"'), "no list of categories"),
        (whole.replace('"image_id": 40', '"image_id": 41'), "image or class 41"),
        (whole.replace('"category_id": 18', '"category_id": 19'), "image or class 19"),
        (whole.replace('"id": 40,', '"id": 10,'), "lists an image id twice"),
        (whole.replace('"file_name": "COCO_train2014_000000000040.jpg", ', ""), "entry 4 of images has no 'file_name'"),
        (whole.replace('"COCO_train2014_000000000040.jpg"', "null"), "entry 4 of images has no 'file_name'"),
        (whole.replace('"name": "car"', '"nome": "car"'), "entry 2 of categories has no 'name'"),
        (whole.replace('"category_id": 18', '"category_id": [18]'), "entry 1 of annotations has no 'category_id'"),
        (whole.replace('"annotations": [', '"annotations": ["x", '), "entry 1 of annotations is no object"),
    ):
        write(path, broken)
        with pytest.raises(LabelError, match=rf"instances_train2014\.json.*{said}"):
            read(f"coco2014:{folder}")
    path.unlink()
    with pytest.raises(LabelError, match=r"instances_train2014\.json does not exist; in .* are expected"):
        read(f"coco2014:{folder}")
