from pathlib import Path

import pytest
from PIL import Image

from partlabel.errors import ImageError
from partlabel.images.check import check_images
from partlabel.images.limits import Limits


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    root = tmp_path / "root"
    (root / "été").mkdir(parents=True)
    photo.save(root / "good.jpg")
    photo.save(root / "été" / "日本.png")
    photo.resize((400, 300)).save(root / "large.png")
    whole = (root / "good.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "text.jpg").write_text("cat, dog\n")
    (root / "empty.jpg").touch()
    (root / "link.jpg").symlink_to("/etc/passwd")
    return root


EXPECTED = {
    "good.jpg": None,
    "cut.jpg": "broken",
    "none.jpg": "missing",
    "été/日本.png": None,
    "../root/good.jpg": "outside",
    "large.png": "too large",
    "text.jpg": "broken",
    "empty.jpg": "broken",
    "link.jpg": "linked",
    "été": "broken",
    "/etc/passwd": "outside",
}


@pytest.mark.parametrize("workers", [None, 1, 5])
def test_every_trouble_is_named_in_order(folder: Path, workers: int | None):
    names = list(EXPECTED) * 3
    calls: list[tuple[int, int]] = []
    problems = check_images(
        folder, names, limits=Limits(max_mb=0.2), workers=workers, progress=lambda *call: calls.append(call)
    )
    assert [(problem.image, problem.kind) for problem in problems] == [
        (name, EXPECTED[name]) for name in names if EXPECTED[name]
    ]
    for problem in problems:
        assert problem.image in problem.reason
        assert "\n" not in problem.reason
    assert calls == [(done, len(names)) for done in range(1, len(names) + 1)]


def test_nothing_to_check(folder: Path):
    assert check_images(folder, []) == []
    assert check_images(folder, ["good.jpg"] * 1500) == []


def test_missing_folder_is_one_error(tmp_path: Path):
    with pytest.raises(ImageError, match="image folder"):
        check_images(tmp_path / "none", ["a.jpg"] * 10)
