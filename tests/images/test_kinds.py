"""One listing of a folder for every verb."""

import os
from pathlib import Path

import pytest
from PIL import Image

from partlabel.errors import ImageError
from partlabel.images.kinds import format_of, image_files, image_suffix, others
from partlabel.inference.images import below_top, readable_images
from partlabel.inference.images import image_files as asked_for
from partlabel.progress import SILENT


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_endings(tmp_path: Path):
    images = [f"a{suffix}" for suffix in (".jpg", ".JPEG", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif")]
    images += ["a.HEIC", "a.TIFF", "a.avif", "a.heif", "a.jp2", "sub/deep/b.Jpg"]
    touch(tmp_path, *images, "notes.txt", "list.CSV", "x.csv", "IMG.001", "readme")
    found = image_files(tmp_path)
    assert found.files == tuple(sorted(images))
    assert found.left_out == {".txt": 1, ".csv": 2, ".001": 1, "without ending": 1}
    assert others(found.left_out) == "2 .csv, 1 .001, 1 .txt, 1 without ending"
    assert image_suffix("IMG.001") == image_suffix("jpg") == image_suffix(".jpg") == ""


def test_names_without_ending_by_their_content(tmp_path: Path):
    for name, kind in (("0a1b", "JPEG"), ("2c3d", "PNG"), ("4e5f", "WEBP")):
        Image.new("RGB", (8, 8)).save(tmp_path / name, kind)
    (tmp_path / "page").write_text("<html>")
    (tmp_path / "empty").touch()
    assert image_files(tmp_path) == (("0a1b", "2c3d", "4e5f"), {"without ending": 2})


def test_hidden_files_and_folders_and_what_is_no_file(tmp_path: Path):
    touch(tmp_path, "a.jpg", ".b.jpg", "._a.jpg", ".git/c.jpg", "x.jpg/inside.png", "y.jpg/.z/d.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = image_files(tmp_path)
    assert found.files == ("a.jpg", "x.jpg/inside.png")
    assert found.left_out == {"hidden": 4, "neither file nor folder": 1}


def test_linked_folders_are_followed_once(tmp_path: Path):
    root, store = tmp_path / "root", tmp_path / "store"
    touch(root, "real/a.jpg", "b.jpg")
    touch(store, "c.jpg", "deep/d.jpg")
    (root / "a_link").symlink_to(root / "real")  # sorts before what it points to
    (root / "more").symlink_to(store)
    (root / "again").symlink_to(store)
    (store / "circle").symlink_to(root)
    (root / "self").symlink_to(root)
    (root / "everything").symlink_to("/")
    (root / "nowhere").symlink_to(tmp_path / "none")
    (root / "nowhere.jpg").symlink_to(tmp_path / "none.jpg")
    (root / "e.jpg").symlink_to(store / "c.jpg")
    found = image_files(root)
    assert found.files == ("again/c.jpg", "again/deep/d.jpg", "b.jpg", "e.jpg", "nowhere.jpg", "real/a.jpg")
    assert found.left_out["linked folder met before"] == 5
    assert found.left_out["without ending"] == 1


def test_a_folder_of_links_alone(tmp_path: Path):
    touch(tmp_path / "store", "a.jpg")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "more").symlink_to("../store")
    assert image_files(tmp_path / "only").files == ("more/a.jpg",)
    (tmp_path / "linked").symlink_to("store")
    assert image_files(tmp_path / "linked").files == ("a.jpg",)


def test_names_that_are_no_utf_8(tmp_path: Path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):
        pass
    assert image_files(tmp_path).files == ("caf\udce9.jpg",)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"", None),
    ],
)
def test_containers_by_their_brands(head: bytes, kind: str | None):
    assert format_of(head) == kind


def test_what_is_asked_for(tmp_path: Path, photo: Image.Image):
    folder = tmp_path / "folder"
    (folder / "deep" / "er").mkdir(parents=True)
    photo.save(folder / "deep" / "y.jpg")
    photo.save(folder / "noending", "PNG")
    touch(folder, ".hidden.jpg", "notes.txt")
    (tmp_path / "link").symlink_to(folder / "deep" / "er")
    assert asked_for(folder) == [folder / "deep" / "y.jpg", folder / "noending"]
    lines: list[str] = []
    reporter = type("Lines", (type(SILENT),), {"say": lambda self, text: lines.append(text)})()
    asked_for([folder, folder / "noending"], reporter)
    assert lines == [f"2 images in {folder}; left out: 1 .txt, 1 hidden"]
    beyond = tmp_path / "link" / ".." / "y.jpg"
    assert readable_images([beyond], "fail", SILENT) == [beyond]
    top, (name,) = below_top([beyond])
    assert (top / name).samefile(folder / "deep" / "y.jpg")
    touch(tmp_path / "texts", "a.txt")
    with pytest.raises(ImageError, match=r"no image in folder '.*texts'; it holds 1 \.txt"):
        asked_for(tmp_path / "texts")
