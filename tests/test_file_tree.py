"""One listing of a folder: by whom it is read decides what becomes of links, and nobody sees hidden files."""

from pathlib import Path

import pytest

from partlabel.file_tree import FileTree, file_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    names = ("root/b.txt", "root/a/z.txt", "root/a/deep/y.txt", "root/a/.x", "root/.git/x", "store/c.txt", "store/in/d")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for link, target in (("root/away", "store"), ("root/twice", "store"), ("store/back", "root"), ("root/f", "root/b")):
        (tmp_path / link).symlink_to(tmp_path / target)
    return tmp_path / "root"


def test_below_a_folder(root: Path) -> None:
    assert file_tree(root) == FileTree(["a/deep/y.txt", "a/z.txt", "b.txt", "f"], hidden=2, links=2)
    assert file_tree(root, deep=False) == FileTree(["b.txt", "f"], hidden=1, links=2)


def test_linked_folders_once(root: Path) -> None:
    files = ["a/deep/y.txt", "a/z.txt", "away/c.txt", "away/in/d", "b.txt", "f"]
    assert file_tree(root, linked=True) == FileTree(files, hidden=2, links=3, again=2)


def test_without_a_folder(root: Path) -> None:
    found = file_tree(root / "none")
    assert found.files == []
    assert [error.filename for error in found.closed] == [str(root / "none")]
