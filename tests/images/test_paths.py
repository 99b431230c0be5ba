import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partlabel.errors import ImageError
from partlabel.images.paths import image_root, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "train").mkdir(parents=True)
    (tmp_path / "root" / "train" / "a.jpg").touch()
    (tmp_path / "secret.jpg").touch()
    return tmp_path / "root"


@pytest.mark.parametrize(
    "name", ["train/a.jpg", "./train//a.jpg", "train/../train/a.jpg", "train\\a.jpg", "train\\..\\train/a.jpg"]
)
def test_names_inside_the_folder(root: Path, name: str):
    assert resolve(root, name) == root / "train" / "a.jpg"


def test_an_image_that_does_not_exist_still_has_a_path(root: Path):
    assert resolve(root, "train/none.jpg") == root / "train" / "none.jpg"
    assert resolve(root, "x" * 5000) == root / ("x" * 5000)


@pytest.mark.parametrize("name", ["été/日本 🐈.jpg", "e\u0301.jpg", "a%20b.jpg", "-rf.jpg", "..hidden/a.jpg", "...jpg"])
def test_unusual_names_are_kept(root: Path, name: str):
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert resolve(root, name) == path


def test_a_literal_backslash_wins(root: Path):
    literal = root / "train\\a.jpg"
    literal.touch()
    assert resolve(root, "train\\a.jpg") == literal


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/etc/passwd", "absolute"),
        ("\\etc\\passwd", "absolute"),
        ("//server/share/a.jpg", "absolute"),
        ("../secret.jpg", "leads out"),
        ("..", "leads out"),
        ("train/../../secret.jpg", "leads out"),
        ("../root/train/a.jpg", "leads out"),
        ("..\\secret.jpg", "leads out"),
        ("train\\..\\..\\secret.jpg", "leads out"),
        ("a\0.jpg", "NUL"),
        ("\ud800.jpg", "encoding"),
        ("", "folder itself"),
        (".", "folder itself"),
        ("train/..", "folder itself"),
    ],
)
def test_names_that_leave_the_folder_are_refused(root: Path, name: str, says: str):
    with pytest.raises(ImageError, match=says) as caught:
        resolve(root, name)
    assert repr(name if "\\" not in name else name.replace("\\", "/")) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_links(root: Path, tmp_path: Path):
    (root / "inner.jpg").symlink_to(root / "train" / "a.jpg")
    (root / "outer.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    assert resolve(root, "inner.jpg") == root / "inner.jpg"
    for name in ("outer.jpg", "up/secret.jpg", "up\\secret.jpg", "up"):
        with pytest.raises(ImageError, match="outside the image folder"):
            resolve(root, name)
    # Through a link `..` is read by its spelling, so this is not the folder above the link's target.
    assert resolve(root, "up/../train/a.jpg") == root / "train" / "a.jpg"
    assert resolve(root, "loop") == root / "loop"


def test_the_folder_itself_may_be_a_link(root: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(root)
    assert resolve(link, "train/a.jpg") == link / "train" / "a.jpg"
    with pytest.raises(ImageError, match="leads out"):
        resolve(link, "../secret.jpg")


def test_missing_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=r"image folder '.*none' does not exist"):
        resolve(tmp_path / "none", "a.jpg")
    with pytest.raises(ImageError, match="is a file, not a folder"):
        image_root(tmp_path / "file")


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b", "\\", "/", "link", "c.jpg", "\0", "é"]), max_size=8).map(
        "/".join
    )
)
def test_no_name_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str):
    root = Path(os.path.realpath(tmp_path_factory.getbasetemp())) / "fuzz"
    root.mkdir(exist_ok=True)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to("/")
    try:
        path = resolve(root, name)
    except ImageError:
        return
    assert Path(os.path.realpath(path)).is_relative_to(root)
