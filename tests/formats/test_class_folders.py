"""Folders that are classes."""

import os
from pathlib import Path

import pytest
from PIL import Image

from partlabel.errors import EmptyTableError, LabelError, UsageError
from partlabel.formats import FORMATS, ReadOptions, label_source, read_table, write_table
from partlabel.labels import LabelTable


def folder(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jpg":
            Image.new("RGB", (4, 4)).save(path)
        else:
            path.write_text("")
    return root


def cells(table: LabelTable) -> dict[str, dict[str, int]]:
    return {
        image: {name: int(state) for name, state in zip(table.classes, states, strict=True) if state}
        for image, states in zip(table.images, table.dense(), strict=True)
    }


def test_a_folder_is_one_present_class_and_others_are_unknown(tmp_path: Path) -> None:
    root = folder(
        tmp_path, "dog/1.jpg", "cat/1.jpg", "cat/more/2.jpg", "zebra/.hidden.jpg", "dog/notes.md", "loose.jpg"
    )
    reading = read_table(root)
    assert reading.report.format == "class_folders"
    assert reading.table.classes == ("cat", "dog")
    assert cells(reading.table) == {
        "cat/1.jpg": {"cat": 1},
        "cat/more/2.jpg": {"cat": 1},
        "dog/1.jpg": {"dog": 1},
        "loose.jpg": {},
    }
    assert "1 image in no class folder: nothing is known of it" in reading.report.notes
    one = read_table(root, unlisted="absent").table
    assert cells(one)["dog/1.jpg"] == {"cat": -1, "dog": 1}
    assert cells(one)["loose.jpg"] == {}, "nobody has looked at an image in no class folder"


def test_splits_hold_class_folders(tmp_path: Path) -> None:
    root = folder(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg")
    reading = read_table(root)
    assert cells(reading.table) == {
        "train/cat/1.jpg": {"cat": 1},
        "train/dog/1.jpg": {"dog": 1},
        "val/cat/1.jpg": {"cat": 1},
    }
    assert "the outer folders are splits: train, val" in reading.report.notes
    assert cells(read_table(root, where={"split": "val"}).table) == {"val/cat/1.jpg": {"cat": 1}}
    with pytest.raises(LabelError, match="never 'test'"):
        read_table(root, where={"split": "test"})
    with pytest.raises(LabelError, match="chooses a split here"):
        read_table(root, where={"year": "2019"})


def test_a_class_may_be_called_as_a_split(tmp_path: Path) -> None:
    root = folder(tmp_path, "test/1.jpg", "no test/1.jpg")
    assert cells(read_table(root).table) == {"no test/1.jpg": {"no test": 1}, "test/1.jpg": {"test": 1}}


def test_torchvision_finds_the_same(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    root = folder(tmp_path, "b/1.jpg", "a/x/2.jpg", "a/1.jpg", "ü c/3.jpg")
    theirs = torchvision.datasets.ImageFolder(str(root))
    table = read_table(root).table
    assert list(table.classes) == theirs.classes
    found = {Path(path).relative_to(root).as_posix(): theirs.classes[label] for path, label in theirs.samples}
    assert {name: [*one] for name, one in cells(table).items()} == {name: [one] for name, one in found.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["images/1.jpg", "labels/1.txt"],
        ["JPEGImages/1.jpg", "Annotations/1.xml", "more/1.jpg"],
        ["train/images/1.jpg", "train/labels/1.txt", "data.yaml"],
        ["a/1.jpg", "b/1.jpg", "samples.json"],
        ["a/1.jpg", "b/1.jpg", "b/1.txt"],
        ["a/1.jpg"],
        ["1.jpg", "2.jpg"],
    ],
)
def test_folders_of_other_formats_are_not_claimed(tmp_path: Path, names: list[str]) -> None:
    folder(tmp_path, *names)
    assert not FORMATS["class_folders"].sniff(label_source(tmp_path), ReadOptions())


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmptyTableError, match="holds no image"):
        read_table(tmp_path, format="class_folders")
    root = folder(tmp_path, "1.jpg")
    with pytest.raises(LabelError, match="no folder of images whose name is a class"):
        read_table(root, format="class_folders")
    folder(tmp_path, "train/cat/1.jpg", "extra/1.jpg")
    with pytest.raises(LabelError, match="'train' looks like a split that holds the classes, and 'extra'"):
        read_table(root, format="class_folders")
    with pytest.raises(UsageError, match=r"read only .* would copy images"):
        write_table(LabelTable.from_dense(["a.jpg"], ["cat"], [[1]]), tmp_path / "out", format="class_folders")


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder(tmp_path / "elsewhere", "1.jpg")
    root = folder(tmp_path / "here", "cat/1.jpg", "dog/1.jpg")
    os.symlink(tmp_path / "elsewhere", root / "secret")
    os.symlink(tmp_path / "elsewhere" / "1.jpg", root / "cat" / "2.jpg")
    reading = read_table(root)
    assert reading.table.images == ("cat/1.jpg", "dog/1.jpg")
    assert "not followed: 2 links to folders or out of this folder" in reading.report.notes
