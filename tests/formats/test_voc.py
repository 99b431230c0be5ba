"""PASCAL VOC folders: lists of classes in three states, boxes, and what Datumaro makes of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel.errors import LabelError, UsageError
from partlabel.formats import read_table, write_table
from partlabel.labels import LabelTable

MAIN = "ImageSets/Main"
LISTS = {
    f"{MAIN}/train.txt": "2007_000032\n2007_000039\n",
    f"{MAIN}/val.txt": "2007_000033\n",
    f"{MAIN}/trainval.txt": "2007_000032\n2007_000033\n2007_000039\n",
    f"{MAIN}/test.txt": "2007_000042\n",
    f"{MAIN}/dog_train.txt": "2007_000032 -1\n2007_000039  1\n",
    f"{MAIN}/dog_val.txt": "2007_000033  0\n",
    f"{MAIN}/dog_trainval.txt": "2007_000032 -1\n2007_000033  0\n2007_000039  1\n",
    f"{MAIN}/dog_test.txt": "2007_000042  1\n",
    f"{MAIN}/aeroplane_trainval.txt": "2007_000032  1\n2007_000033  1\n",
    f"{MAIN}/traffic_light_trainval.txt": "2007_000032 -1\n",
    "JPEGImages/2007_000032.jpg": "",
    "JPEGImages/2007_000033.png": "",
}


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    return root


def xml(*objects: tuple[str, int | str | None], name: str = "2007_000032") -> str:
    boxes = "".join(
        f"<object><name>{label}</name><pose>Frontal</pose><truncated>1</truncated>"
        + (f"<difficult>{difficult}</difficult>" if difficult is not None else "")
        + "<bndbox><xmin>104</xmin><ymin>78</ymin><xmax>375</xmax><ymax>183</ymax></bndbox></object>\n"
        for label, difficult in objects
    )
    return (
        f"<annotation>\n<folder>VOC2012</folder><filename>{name}.jpg</filename>"
        f"<size><width>500</width><height>281</height><depth>3</depth></size>{boxes}</annotation>\n"
    )


BOXES = {
    "Annotations/2007_000032.xml": xml(("dog", 0), ("dog", 1), ("person", 1)),
    "Annotations/2007_000033.xml": xml(name="2007_000033").replace(".jpg", ".png"),
    "Annotations/2007_000039.xml": xml(("aeroplane", None), ("person", 0), name="2007_000039"),
    "JPEGImages/2007_000032.jpg": "",
    "JPEGImages/2007_000040.jpeg": "",
}


def test_lists_of_classes_tell_three_states(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path, LISTS))
    assert table.images == tuple(
        f"JPEGImages/{name}" for name in ("2007_000032.jpg", "2007_000033.png", "2007_000039.jpg")
    )
    assert table.classes == ("aeroplane", "dog", "traffic_light")
    assert table.dense().tolist() == [[1, -1, -1], [1, 0, 0], [0, 1, 0]]
    assert report.format == "voc"
    note = "of the splits train, val, trainval, test trainval was read; test is read with --where split=test"
    assert report.notes == (note,)


def test_what_is_not_listed_is_absent_by_the_users_word_and_zero_stays_unknown(tmp_path: Path) -> None:
    table = read_table(put(tmp_path, LISTS), unlisted="absent").table
    assert table.dense().tolist() == [[1, -1, -1], [1, 0, -1], [-1, 1, -1]]


def test_one_split_or_all(tmp_path: Path) -> None:
    root = put(tmp_path, LISTS)
    table = read_table(root, where={"split": "test"}).table
    assert table.images == ("JPEGImages/2007_000042.jpg",)
    assert (table.classes, table.dense().tolist()) == (("dog",), [[1]])
    for name in ("dog", "aeroplane", "traffic_light"):
        (root / MAIN / f"{name}_trainval.txt").unlink()
    (root / MAIN / "trainval.txt").unlink()
    table, report = read_table(root)
    assert [name[-5] for name in table.images] == ["2", "9", "3", "2"]
    assert table.dense().tolist() == [[-1], [1], [0], [1]]
    assert report.notes == ("of the splits train, val, test all were read",)
    for where in ({"split": "dev"}, {"class": "dog"}):
        with pytest.raises(LabelError, match="as in --where split=train; it has train, val, test"):
            read_table(root, where=where)


def test_the_label_map_gives_the_order_and_lists_need_no_split(tmp_path: Path) -> None:
    files = {
        "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nzebra:128,0,0::\nape:1,2,3::\n",
        f"{MAIN}/ape_train.txt": "b 1\r\na\u00e9.png -1\r\n",
        f"{MAIN}/bee_train.txt": "b 1\n",
    }
    table = read_table(put(tmp_path, files)).table
    assert table.classes == ("zebra", "ape", "bee")
    assert (table.images, table.dense().tolist()) == (("b.jpg", "a\u00e9.png"), [[0, 1, 1], [0, -1, 0]])


def test_boxes(tmp_path: Path) -> None:
    table, report = read_table(put(tmp_path, BOXES))
    names = ("2007_000032.jpg", "2007_000033.png", "2007_000039.jpg", "2007_000040.jpeg")
    assert table.images == tuple(f"JPEGImages/{name}" for name in names)
    assert table.classes == ("aeroplane", "dog", "person")
    assert table.dense().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert report.notes == (
        "1 cells rest on difficult boxes alone and are left unknown",
        "1 of 4 images have no annotation, and stay unknown",
    )
    complete = read_table(tmp_path, unlisted="absent").table
    assert complete.dense().tolist() == [[-1, 1, 0], [-1, -1, -1], [1, -1, 1], [0, 0, 0]]


def test_boxes_of_the_images_of_a_split(tmp_path: Path) -> None:
    split = {f"{MAIN}/train.txt": "2007_000039\n2007_000050\n"}
    table, report = read_table(put(tmp_path, BOXES | split), unlisted="absent")
    assert table.images == ("JPEGImages/2007_000039.jpg", "JPEGImages/2007_000050.jpg")
    assert table.dense().tolist() == [[1, 1], [0, 0]]
    assert "2 annotations are of images that the splits do not list, and were left out" in report.notes


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({f"{MAIN}/dog_train.txt": "a 1\nb 2\n"}, r"dog_train.txt, line 2: 'b 2' is no image with 1 \(present\)"),
        ({f"{MAIN}/dog_train.txt": "a\n"}, "line 1: 'a' is no image with"),
        ({f"{MAIN}/dog_train.txt": "a 1\na -1\n"}, "1 cell.s. contradict themselves.*present on line 1 and absent"),
        ({f"{MAIN}/nan_train.txt": "a 1\n"}, "'nan' stands for a missing value"),
        ({f"{MAIN}/train.txt": "a\n"}, "neither lists of classes .* nor Annotations"),
        ({f"{MAIN}/train.txt": "", "Annotations/a.xml": "<annotation>"}, "a.xml is no complete XML"),
        ({"Annotations/a.xml": ""}, "a.xml is no complete XML"),
        ({"Annotations/a.xml": "<html></html>"}, "has <html> in place of <annotation>"),
        ({"Annotations/a.xml": xml(("", 0))}, "object 1 has no name"),
        ({"Annotations/a.xml": xml(("dog", "maybe"))}, "object 1 is difficult 'maybe'"),
        ({"Annotations/a.xml": '<?xml version="1.0" encoding="x-none"?><annotation/>'}, "no complete XML"),
        ({"Annotations/a.xml": '<?xml version="1.0" encoding="utf-7"?><annotation/>'}, "no complete XML"),
        ({"Annotations/a.xml": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'}, "no complete XML"),
        ({"Annotations/a.xml": "<annotation>" + "<a>" * 100_000}, "no complete XML"),
        ({"Annotations/a.xml": "<annotation/>"}, "names no class"),
        ({f"{MAIN}/dog_train.txt": "a 1\n", "labelmap.txt": ":1:2:3\n"}, "labelmap.txt, line 1 names no class"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(LabelError, match=says) as refusal:
        read_table(put(tmp_path, files))
    assert str(tmp_path) in str(refusal.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    put(tmp_path, {f"{MAIN}/dog_train.txt": "a 1\n"})
    (tmp_path / MAIN / "cat_train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(LabelError, match=r"cat_train\.txt: byte 0 is not UTF-8"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", [f"{MAIN}/cat_train.txt", "Annotations/b.xml"])
def test_links_out_of_the_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    outside = put(tmp_path, {"secret": "a 1\n"}) / "secret"
    root = put(tmp_path / "voc", {"Annotations/a.xml": xml(("dog", 0)), f"{MAIN}/other.txt": "a\n../../secret\n"})
    if "b.xml" in name:
        (root / MAIN / "other.txt").write_text("b\n")
    os.symlink(outside, root / name)
    with pytest.raises(LabelError, match="leads out of the folder"):
        read_table(root)
    (root / name).unlink()
    (root / MAIN / "other.txt").write_text("a\n../../secret\n/etc/passwd\n")
    assert read_table(root).table.images == ("a.jpg", "../../secret.jpg", "/etc/passwd.jpg")


def table(*names: str) -> LabelTable:
    states = [[1, -1, 0], [0, 1, 0], [0, 0, 0]]
    return LabelTable.from_dense(names, ["zebra", "traffic_light", "never seen"], states)


def test_the_written_folder(tmp_path: Path) -> None:
    root = tmp_path / "out"
    write_table(table("JPEGImages/b/é 1.jpg", "JPEGImages/a.png", "JPEGImages/c.jpg"), root, format="voc")
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == [
        f"{MAIN}/never seen_trainval.txt",
        f"{MAIN}/traffic_light_trainval.txt",
        f"{MAIN}/trainval.txt",
        f"{MAIN}/zebra_trainval.txt",
        "labelmap.txt",
    ]
    assert (root / MAIN / "trainval.txt").read_text(encoding="utf-8") == "b/é 1\na.png\nc\n"
    assert (root / MAIN / "traffic_light_trainval.txt").read_text(encoding="utf-8") == "b/é 1 -1\na.png  1\nc  0\n"
    again = read_table(root).table
    assert again.images == ("JPEGImages/b/é 1.jpg", "JPEGImages/a.png", "JPEGImages/c.jpg")
    assert again.classes == ("zebra", "traffic_light", "never seen")
    assert again.dense().tolist() == [[1, -1, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(LabelError, match="is there already"):
        write_table(table("a.jpg", "b.jpg", "c.jpg"), root, format="voc")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("image", "name", "says"),
    [
        ("a", "cat", "'a' has no ending of an image"),
        (" a.jpg", "cat", "cannot stand in a line"),
        ("a\nb.jpg", "cat", "cannot stand in a line"),
        ("#a.jpg", "cat", "cannot stand in a line"),
        (".jpg", "cat", "no ending of an image"),
        ("a.jpg", "a/b", "class 'a/b' cannot be the name of a file"),
        ("a.jpg", "a:b", "class 'a:b' cannot"),
        ("a.jpg", " cat", "outer white space"),
    ],
)
def test_names_that_would_change_are_refused(tmp_path: Path, image: str, name: str, says: str) -> None:
    with pytest.raises(LabelError, match=says):
        write_table(LabelTable.from_dense([image], [name], [[1]]), tmp_path / "out", format="voc")
    assert not list(tmp_path.iterdir())


def test_names_that_look_like_a_list_of_another_class_come_back(tmp_path: Path) -> None:
    names = ["train", "trainval", "x_trainval", "x", "train_x", "background"]
    images = ["a 1.jpg", "a.jpg.jpg", "a.JPG", "a -1.jpg"]
    before = LabelTable.from_dense(images, names, [[1, -1, 0, 1, -1, 0]] * 4)
    write_table(before, tmp_path / "out", format="voc")
    again = read_table(tmp_path / "out").table
    assert (again.images, again.classes) == (before.images, before.classes)
    assert again.dense().tolist() == before.dense().tolist()


def test_a_file_is_no_voc_folder(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(xml(("dog", 0)))
    with pytest.raises(UsageError, match="voc is read from a folder"):
        read_table(tmp_path / "a.xml", format="voc")


def test_datumaro_imports_what_is_written(tmp_path: Path, consumer: Callable[..., Any]) -> None:
    write_table(table("b/é 1.jpg", "a.jpg", "c.jpg"), tmp_path / "out", format="voc")
    seen = consumer("datumaro_import.py", tmp_path / "out", "voc_classification")
    assert {"zebra", "traffic_light", "never seen"} <= {*seen["classes"]}
    found = {id: [name for name, *_ in labels] for id, labels in seen["items"].items()}
    assert found == {"b/é 1": ["zebra"], "a": ["traffic_light"], "c": []}


@pytest.mark.parametrize("format", ["voc_classification", "voc_detection"])
def test_what_datumaro_exports_is_read(tmp_path: Path, consumer: Callable[..., Any], format: str) -> None:
    consumer("datumaro_export.py", tmp_path / "out", format)
    table = read_table(tmp_path / "out").table
    assert table.images == ("JPEGImages/b/1.jpg", "JPEGImages/2.jpg", "JPEGImages/3.jpg")
    columns = [table.class_positions[name] for name in ("cat", "dog", "never")]
    absent = -1 if format == "voc_classification" else 0
    assert table.dense()[:, columns].tolist() == [[1, absent, absent], [1, 1, absent], [0] * 3]  # 3 is in no list
