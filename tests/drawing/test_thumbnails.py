"""Small images: size, and files that are no images."""

import base64
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from partlabel.drawing.thumbnails import Thumbnails, fitted, jpeg, read_image


def decoded(uri: str | None) -> Image.Image:
    assert uri is not None
    assert uri.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize(("size", "expected"), [((640, 320), (160, 80)), ((30, 50), (30, 50)), ((4000, 1), (160, 1))])
def test_thumbnails_keep_the_shape_and_are_never_enlarged(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.new("RGB", size, "teal").save(tmp_path / "x.png")
    image = decoded(Thumbnails(tmp_path)("x.png"))
    assert image.size == expected
    assert all(abs(a - b) < 6 for a, b in zip(image.getpixel((0, 0)), (0, 128, 128), strict=True))  # type: ignore[arg-type]


def test_a_noisy_thumbnail_stays_small(tmp_path: Path) -> None:
    Image.frombytes("RGB", (900, 900), os.urandom(3 * 900 * 900)).save(tmp_path / "noise.png")
    assert len(Thumbnails(tmp_path)("noise.png") or "") < 40_000


@pytest.mark.parametrize("name", ["missing.png", "text.jpg", "../outside.png", "nul\0.png", "empty.png"])
def test_what_is_no_image_is_none(tmp_path: Path, name: str) -> None:
    root = tmp_path / "images"
    root.mkdir()
    (root / "text.jpg").write_text("not an image")
    (root / "empty.png").touch()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    assert Thumbnails(root)(name) is None
    assert read_image(root, name, 8) is None


def test_fitted_enlarges_too() -> None:
    assert fitted(Image.new("RGB", (8, 4)), 200).size == (200, 100)
    assert decoded(jpeg(Image.new("RGB", (7, 5)))).size == (7, 5)
