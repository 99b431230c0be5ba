"""Thumbnails: upright, made once, found again by content, and never of another picture."""

import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from partlabel.images.limits import Limits
from partlabel.reviewing import hashes, thumbnails
from partlabel.reviewing.thumbnails import Pictures

pytestmark = pytest.mark.slow  # servers of their own

Serve = Callable[..., Any]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARTLABEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "thumbnails"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels)


def shown(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def kept(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.jpg"))


@pytest.mark.parametrize(("size", "expected"), [(160, (160, 80)), (320, (320, 160)), (640, (640, 320))])
def test_the_longer_side_has_the_size(cache: Path, root: Path, size: int, expected: tuple[int, int]) -> None:
    halves(1000, 500).save(root / "a.png")
    picture = Pictures(root).thumbnail("a.png", size)
    assert shown(picture.content).size == expected
    assert shown(Pictures(root).thumbnail("a.png", size).content).format == "JPEG"


def test_a_small_picture_keeps_its_size(cache: Path, root: Path) -> None:
    halves(40, 30).save(root / "a.png")
    assert shown(Pictures(root).thumbnail("a.png", 160).content).size == (40, 30)


def test_pictures_stand_upright(cache: Path, root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: the left is the top
    halves(400, 200).save(root / "a.jpg", exif=exif)
    for content in (Pictures(root).thumbnail("a.jpg", 160).content, Pictures(root).large("a.jpg").picture.content):
        image = shown(content).convert("RGB")
        assert image.width * 2 == image.height
        top, bottom = (image.getpixel((image.width // 2, y)) for y in (5, image.height - 5))
        assert np.abs(np.subtract([top, bottom], [[255, 0, 0], [0, 0, 255]])).max() < 50
    assert Pictures(root).large("a.jpg").size == (200, 400)


def test_the_large_one_has_at_most_2048_pixels(cache: Path, root: Path) -> None:
    halves(3000, 30).save(root / "a.png")
    found = Pictures(root).large("a.png")
    assert shown(found.picture.content).size == (2048, 20)
    assert found.size == (3000, 30)
    assert kept(cache) == []


def test_one_is_made_once_and_found_by_content(cache: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves(400, 200).save(root / "a.png")
    first = Pictures(root).thumbnail("a.png", 160)
    (root / "sub").mkdir()
    os.rename(root / "a.png", root / "sub" / "other name.png")
    monkeypatch.setattr(thumbnails, "decode", lambda *_, **__: pytest.fail("decoded again"))
    assert Pictures(root).thumbnail("sub/other name.png", 160) == first
    assert len(kept(cache)) == 1


def test_another_content_is_another_thumbnail(cache: Path, root: Path) -> None:
    pictures = Pictures(root)
    halves(400, 200).save(root / "a.png")
    first = pictures.thumbnail("a.png", 160)
    size, times = os.stat(root / "a.png").st_size, os.stat(root / "a.png")
    content = (root / "a.png").read_bytes()
    halves(400, 200).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "b.png")
    (root / "a.png").write_bytes((root / "b.png").read_bytes().ljust(size, b"\0")[: max(size, len(content))])
    os.utime(root / "a.png", ns=(times.st_atime_ns, times.st_mtime_ns))  # the same name, and the same time
    second = pictures.thumbnail("a.png", 160)
    assert second.etag != first.etag
    assert second.content != first.content
    assert pictures.etag("a.png", 160) == second.etag


def test_a_picture_is_not_read_again_to_be_known(cache: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_SETTLED", -1)
    halves(400, 200).save(root / "a.png")
    first = Pictures(root).thumbnail("a.png", 160)
    with (cache / "hashes.txt").open("a") as file:
        file.write("f" * 40)  # cut short
    monkeypatch.setattr(hashes, "content_hash", lambda path: pytest.fail("read again"))
    assert Pictures(root).thumbnail("a.png", 160) == first
    assert Pictures(root).thumbnail("a.png", 320).etag != first.etag


def test_a_picture_that_changes_is_read_again(cache: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_SETTLED", -1)
    halves(400, 200).save(root / "a.png")
    pictures, times = Pictures(root), os.stat(root / "a.png")
    first = pictures.thumbnail("a.png", 160)
    content = bytearray((root / "a.png").read_bytes())
    content[-1] ^= 1  # of the last checksum
    (root / "a.png").write_bytes(content)
    os.utime(root / "a.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert pictures.etag("a.png", 160) != first.etag
    assert Pictures(root).etag("a.png", 160) != first.etag


def test_a_picture_of_this_very_moment_is_not_remembered(cache: Path, root: Path) -> None:
    halves(400, 200).save(root / "a.png")
    assert Pictures(root).thumbnail("a.png", 160).etag is not None
    assert not (cache / "hashes.txt").exists()


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8 cut short", b"<html>"])
def test_a_damaged_one_in_the_cache_is_made_again(cache: Path, root: Path, damage: bytes) -> None:
    halves(400, 200).save(root / "a.png")
    first = Pictures(root).thumbnail("a.png", 160)
    kept(cache)[0].write_bytes(damage)
    assert Pictures(root).thumbnail("a.png", 160) == first
    assert kept(cache)[0].read_bytes() == first.content


def test_the_cache_may_be_deleted_at_any_time(cache: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_SETTLED", -1)
    pictures = Pictures(root)
    for name in ("a.png", "b.png"):
        halves(400, 200).save(root / name)
        assert shown(pictures.thumbnail(name, 160).content).size == (160, 80)
        assert (len(kept(cache)), (cache / "hashes.txt").is_file()) == (1, True)
        shutil.rmtree(cache)
    assert shown(pictures.thumbnail("a.png", 160).content).size == (160, 80)
    assert len(kept(cache)) == 1


def test_a_linked_one_in_the_cache_is_not_followed(cache: Path, root: Path, tmp_path: Path) -> None:
    halves(400, 200).save(root / "a.png")
    first = Pictures(root).thumbnail("a.png", 160)
    (tmp_path / "elsewhere.jpg").write_bytes(b"\xff\xd8 somebody's \xff\xd9")
    kept(cache)[0].unlink()
    (cache / first.etag[1:3] / f"{first.etag.strip(chr(34))}.jpg").symlink_to(tmp_path / "elsewhere.jpg")  # type: ignore[union-attr, index]
    assert Pictures(root).thumbnail("a.png", 160).content == first.content


def test_without_a_cache_folder_they_are_shown_all_the_same(cache: Path, root: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    halves(400, 200).save(root / "a.png")
    assert shown(Pictures(root).thumbnail("a.png", 160).content).size == (160, 80)


def test_what_cannot_be_shown_is_a_sign_that_no_browser_keeps(cache: Path, root: Path) -> None:
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (root / "empty.jpg").touch()
    halves(4000, 4000).save(root / "large.png")
    pictures = Pictures(root, Limits(max_mb=10))
    for name in ("broken.png", "empty.jpg", "large.png", "missing.png", "../outside.png"):
        for picture in (pictures.thumbnail(name, 160), pictures.large(name).picture):
            assert picture.etag is None
            assert shown(picture.content).format == "JPEG"
    assert kept(cache) == []


def test_only_a_few_large_ones_are_kept_in_memory(cache: Path, root: Path) -> None:
    pictures = Pictures(root)
    for number in range(20):
        Image.new("RGB", (30, 30), (number, 0, 0)).save(root / f"{number}.png")
        pictures.large(f"{number}.png")
    assert len(pictures._large) == 8


def test_a_browser_asks_again_and_gets_no_bytes_twice(served: Serve, cache: Path, root: Path, tmp_path: Path) -> None:
    for number in range(6):
        halves(300 + number, 200).save(root / f"{number}.png")
    (tmp_path / "classes.txt").write_text("sky")
    server = served(tmp_path / "classes.txt", root)
    with server.client() as page:
        etags = set()
        for number in range(6):
            answer = page.get(f"/thumb/{number}?size=160")
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["cache-control"] == "private, no-cache"
            again = page.get(f"/thumb/{number}?size=160", headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            etags.add(answer.headers["etag"])
        assert len(etags) == 6
        etag = page.get("/thumb/0?size=160").headers["etag"]
        os.replace(root / "5.png", root / "0.png")
        assert page.get("/thumb/0?size=160", headers={"If-None-Match": etag}).status_code == 200
    assert len(kept(cache)) == 6
    assert {stat.S_IMODE(path.stat().st_mode) & 0o022 for path in kept(cache)} == {0}
