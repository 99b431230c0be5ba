"""YOLO folders: an object is present, an empty file was looked at, an image without a file was not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from partlabel.errors import LabelError, UsageError
from partlabel.formats import read_table, write_table
from partlabel.labels import LabelTable

DATA = """\
path: ../datasets/pets  # root of the dataset
train: images/train
val: images/val

# Classes
names:
  0: cat
  1: dog
  2: no
"""
BOX = "0.481719 0.634028 0.690625 0.713278"
POLYGON = "0.78 0.41 0.77 0.44 0.75 0.46"
ULTRALYTICS = {
    "data.yaml": DATA,
    "README.txt": "Export of a labelling tool\n",
    "images/train/a.jpg": "",
    "images/train/b.PNG": "",
    "images/train/c.jpg": "",
    "images/val/a.jpg": "",
    "labels/train/a.txt": f"1 {BOX}\n2 {POLYGON}\n1 {BOX}\n",
    "labels/train/b.txt": "",
    "labels/val/a.txt": f"0 {BOX}\r\n\r\n",
    "labels/train.cache": "",
    "runs/confusion_matrix.png": "",
    ".trash/images/x.jpg": "",
}
BOMB = "names: [cat]\na0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(20))
BOMB += "nc: *a20\n"
IMAGES = ("images/train/a.jpg", "images/train/b.PNG", "images/train/c.jpg", "images/val/a.jpg")


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return root


def test_objects_are_present_and_the_rest_is_unknown(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path, ULTRALYTICS))
    assert (table.images, table.classes) == (IMAGES, ("cat", "dog", "no"))
    assert table.dense().tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert (report.format, report.duplicate_count) == ("yolo", 0)
    assert report.notes == (
        "1 images are in no folder 'images' and were left out",
        "1 images have no label file, and stay unknown",
    )


def test_only_images_with_a_file_are_complete_by_the_users_word(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, ULTRALYTICS), unlisted="absent").table
    assert table.dense().tolist() == [[-1, 1, 1], [-1, -1, -1], [0, 0, 0], [1, -1, -1]]


def test_labels_beside_images_and_names_of_darknet(tmp_path: Path) -> None:
    files = {
        "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n",
        "obj.names": "cat\ntraffic light\n",
        "train.txt": "data/obj_train_data/b/1.jpg\ndata/obj_train_data/2.png\n",
        "obj_train_data/b/1.jpg": "",
        "obj_train_data/b/1.txt": f"1 {BOX}\n",
        "obj_train_data/2.txt": f"0 {BOX}\n",
        "obj_train_data/3.txt": "",
    }
    table, report = read_table(put(tmp_path, files))
    assert (table.images, table.classes) == (
        ("obj_train_data/2.png", "obj_train_data/3.jpg", "obj_train_data/b/1.jpg"),
        ("cat", "traffic light"),
    )
    assert table.dense().tolist() == [[1, 0], [0, 0], [0, 1]]
    note = "2 label files have no image there; where no list names it, it is taken to end in .jpg"
    assert report.notes == (note,)


def test_folders_in_each_split_and_a_list_of_names(tmp_path: Path) -> None:
    files = {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['01', 'dog']\n",
        "train/images/a_jpg.rf.1.jpg": "",
        "train/labels/a_jpg.rf.1.txt": f"1 {BOX}",
        "valid/images/b.jpg": "",
        "valid/labels/b.txt": f"0 {BOX}",
    }
    table = read_table(put(tmp_path, files)).table
    assert table.images == ("train/images/a_jpg.rf.1.jpg", "valid/images/b.jpg")
    assert (table.classes, table.dense().tolist()) == (("01", "dog"), [[0, 1], [1, 0]])


def test_an_export_with_classes_txt(tmp_path: Path) -> None:
    files = {"classes.txt": "cat\ndog\n", "labels/a.txt": f"1 {BOX}\n", "images/a.jpg": "", "notes.json": "{}"}
    table = read_table(put(tmp_path, files)).table
    assert (table.images, table.dense().tolist()) == (("images/a.jpg",), [[0, 1]])


def test_labels_beside_images_in_one_folder(tmp_path: Path) -> None:
    files = {"classes.txt": "cat\n", "a.jpg": "", "a.txt": f"0 {BOX}\n", "b.jpg": "", "notes.txt": "x"}
    table = read_table(put(tmp_path, files), format="yolo").table
    assert (table.images, table.dense().tolist()) == (("a.jpg", "b.jpg"), [[1], [0]])


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"labels/train/b.txt": f"3 {BOX}"}, "b.txt, line 1: '3' is none of the 3 classes, which count from 0"),
        ({"labels/train/b.txt": f"0 {BOX}\n-1 {BOX}"}, "b.txt, line 2: '-1' is none of"),
        ({"labels/train/b.txt": f"0.0 {BOX}"}, "'0.0' is none of"),
        ({"labels/train/b.txt": f"{'9' * 5000} {BOX}"}, "'9999"),
        ({"labels/train/b.txt": f"0 {BOX} 0.87"}, "line 1 has six numbers: the last is a confidence"),
        ({"labels/train/b.txt": "0"}, "line 1: '0' is no object"),
        ({"labels/train/b.txt": "0 a b c d"}, "is no object"),
        ({"labels/train/b.txt": "0 nan 0 0 0"}, "is no object"),
        ({"data.yaml": "names: [cat"}, "data.yaml is no YAML"),
        ({"data.yaml": "[" * 3_000}, "data.yaml is no YAML"),
        ({"data.yaml": "!!python/object/apply:os.system ['true']"}, "data.yaml has no names"),
        ({"data.yaml": "names: cat"}, "data.yaml has no names"),
        ({"data.yaml": "names: {cat: 0}"}, "names has 'cat' where the number"),
        ({"data.yaml": "names: [cat, cat]"}, "two classes are called 'cat'"),
        ({"data.yaml": "names: [cat, [dog]]"}, "the name of class 1 is no text"),
        ({"data.yaml": "names: [cat, ]\nnc: 2"}, "has nc: 2 and 1 names"),
        ({"data.yaml": BOMB}, "has nc: a list and 1 names"),
        ({"data.yaml": "names: [cat, nan]"}, "'nan' stands for a missing value"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(LabelError, match=says) as refusal:
        read_table(put(tmp_path, ULTRALYTICS | files))
    assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"classes.txt": "cat\n\ndog\n", "a.jpg": "", "a.txt": ""}, "has an empty line between names"),
        ({"a.jpg": "", "a.txt": ""}, "has no names of classes"),
        ({"classes.txt": "cat\n", "a.jpg": ""}, "has no label files"),
    ],
)
def test_folders_that_lack_something(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(LabelError, match=says):
        read_table(put(tmp_path, files), format="yolo")


@pytest.mark.parametrize("name", ["labels/train/b.txt", "data.yaml"])
def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    root = put(tmp_path / "in", ULTRALYTICS)
    outside = put(tmp_path, {"outside": f"0 {BOX}\n"}) / "outside"
    (root / name).unlink()
    os.symlink(outside, root / name)
    with pytest.raises(LabelError, match="leads out of the folder"):
        read_table(root)


def test_it_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"yolo is read only .* a table knows no boxes"):
        write_table(LabelTable.from_dense(["a.jpg"], ["cat"], [[1]]), tmp_path / "out", format="yolo")


def test_what_datumaro_exports_is_read(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    consumer("datumaro_export.py", tmp_path / "out", "yolo")
    table = read_table(tmp_path / "out").table
    assert table.images == tuple(f"obj_train_data/{name}.jpg" for name in ("2", "3", "b/1"))
    assert table.classes == ("cat", "dog", "never")
    assert table.dense().tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 0]]


def test_datumaro_sees_the_same(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    files = {"data.yaml": "names: [cat, dog, never]\n", "images/train/b.jpg": "", "labels/train/b.txt": ""}
    put(tmp_path, files | {"labels/train/a.txt": f"1 {BOX}\n"})
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "train" / "a.jpg")
    seen = consumer("datumaro_import.py", tmp_path, "yolo")
    table = read_table(tmp_path).table
    assert tuple(seen["classes"]) == table.classes
    assert {id: [name for name, *_ in boxes] for id, boxes in seen["items"].items()} == {"a": ["dog"], "b": []}
    assert table.dense().tolist() == [[0, 1, 0], [0, 0, 0]]
