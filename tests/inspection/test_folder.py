import shutil
import unicodedata
from pathlib import Path

import pytest

from partlabel.images.kinds import image_files
from partlabel.inspection.folder import Rename, renames, unlisted_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "data" / "images"
    for name in (
        "train/a.jpg",
        "train/b.JPG",
        "test/c.png",
        "top.webp",
        ".hidden.jpg",
        ".git/x.png",
        "notes.txt",
        "test/été.tiff",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def files_of(root: Path) -> tuple[str, ...]:
    return image_files(root).files


def test_unlisted_files(root: Path):
    names = ["./train/a.jpg", "train\\b.JPG", "test//c.png", "none.jpg"]
    assert unlisted_files(files_of(root), names) == ("test/été.tiff", "top.webp")


JPG = "the names lack the ending '.jpg'"
IN_TRAIN = "the files lie in the sub-folder 'train' (give '{root}/train' as the image folder)"
OTHER_LETTERS = "upper and lower case, or the Unicode form of letters, differ"


def begin(prefix: str, advice: str = "") -> str:
    return f"the names begin with {prefix!r}, which the folder does not hold{advice}"


@pytest.mark.parametrize(
    ("name", "file", "change"),
    [
        ("train/a", "train/a.jpg", JPG),
        ("a.jpg", "train/a.jpg", IN_TRAIN),
        ("a", "train/a.jpg", f"{IN_TRAIN}, and {JPG}"),
        ("images/train/a.jpg", "train/a.jpg", begin("images/", " (give '{parent}' as the image folder)")),
        ("data/images/top.webp", "top.webp", begin("data/images/", " (give '{grandparent}' as the image folder)")),
        ("/srv/top.webp", "top.webp", begin("/srv/")),
        ("C:\\images\\top.webp", "top.webp", begin("C:/images/")),
        ("../images/top.webp", "top.webp", begin("../images/")),
        ("old/c.png", "test/c.png", f"{begin('old/')}, and the files lie in the sub-folder 'test'"),
        ("test/c.jpg", "test/c.png", "the names end in '.jpg', the files in '.png'"),
        ("train/B.jpg", "train/b.JPG", OTHER_LETTERS),
        ("Train/a.jpg", "train/a.jpg", OTHER_LETTERS),
        (unicodedata.normalize("NFD", "test/été.tiff"), "test/été.tiff", OTHER_LETTERS),
    ],
)
def test_each_difference_is_told(root: Path, name: str, file: str, change: str):
    expected = change.format(root=root, parent=root.parent, grandparent=root.parent.parent)
    assert renames(root, files_of(root), [name]) == (Rename(expected, 1, name, file),)


def test_only_a_unique_file_is_suggested(root: Path):
    shutil.copy(root / "train" / "a.jpg", root / "test" / "a.jpg")
    files = files_of(root)
    assert renames(root, files, ["a.jpg", "a", "other.jpg", "IMG.001"]) == ()
    assert [found.file for found in renames(root, files, ["train/a", "TEST/a.jpg"])] == [
        "train/a.jpg",
        "test/a.jpg",
    ]


def test_a_dot_in_a_name_is_no_ending(root: Path):
    (root / "IMG.001.jpg").touch()
    (root / "IMG.002.jpg").touch()
    assert [found.file for found in renames(root, files_of(root), ["IMG.001"])] == ["IMG.001.jpg"]


def test_the_most_frequent_difference_comes_first(root: Path):
    names = ["top", "a.jpg", "none", "b.JPG"]
    found = renames(root, files_of(root), names)
    assert [(entry.explains, entry.image) for entry in found] == [(2, "a.jpg"), (1, "top")]


def test_a_broken_link_suggests_not_itself(root: Path):
    (root / "link.jpg").symlink_to("nowhere.jpg")
    assert renames(root, files_of(root), ["link.jpg"]) == ()
