"""HEIC, which pillow-heif reads: upright once, within the limits, and with a sentence where that is not installed."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from partlabel.errors import ImageError
from partlabel.images.decode import ImageTooLargeError, decode, decode_with_depth
from partlabel.images.kinds import READERS, image_files
from partlabel.images.limits import Limits

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a HEIC as telephones do: turned by the container, and with the orientation in its EXIF block, too."""

    def written(image: Image.Image, orientation: int = 1, mode: str = "", data: bytes = b"", **options: object) -> Path:
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = pillow_heif.from_bytes(mode or image.mode, image.size, data or image.tobytes())
        file.info["exif"] = exif.tobytes()
        file.save(tmp_path / "a.heic", **{"quality": 90, "chroma": 444, **options})
        return tmp_path / "a.heic"

    return written


def difference(first: Image.Image, second: Image.Image) -> float:
    assert (first.mode, first.size) == (second.mode, second.size)
    return float(np.abs(np.asarray(first, int) - np.asarray(second, int)).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright_once(photo: Image.Image, save: Save, orientation: int) -> None:
    path = save(photo, orientation)
    turned = photo.copy()
    turned.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(turned)
    assert (expected.size == photo.size) == (orientation < 5)
    assert difference(decode(path), expected) < 3
    assert difference(decode(path, content=path.read_bytes()), expected) < 3


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_grey_and_transparent_ones(photo: Image.Image, save: Save, mode: str) -> None:
    image = photo.convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.new("L", image.size, 0))
    expected = Image.new("RGB", image.size, "white") if mode == "RGBA" else image.convert("RGB")
    assert difference(decode(save(image)), expected) < 3


def test_ten_bits_become_eight(photo: Image.Image, save: Save) -> None:
    deep = (np.asarray(photo).astype(np.uint16) * 257).tobytes()
    found = decode_with_depth(save(photo, mode="RGB;16", data=deep))
    assert difference(found.image, photo) < 3
    assert not found.from_16_bit


def test_the_limit_holds_before_anything_is_decoded(
    photo: Image.Image, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(photo)
    pixels = photo.width * photo.height
    decode(path, limits=Limits(max_mb=pixels * 24 / 1e6 + 0.1))
    monkeypatch.setattr(pillow_heif.HeifImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageTooLargeError, match=r"160 × 120 pixels, takes .* to decode"):
        decode(path, limits=Limits(max_mb=pixels * 16 / 1e6))


def test_a_thumbnail_inside_does_not_stand_for_the_image(photo: Image.Image, save: Save) -> None:
    path = save(photo, thumbnails=[80])
    thumbnails = pillow_heif.open_heif(path).info["thumbnails"]
    assert thumbnails
    assert decode(path, at_least=10).size == photo.size


def test_a_size_that_is_a_lie(save: Save) -> None:
    path = save(Image.new("RGB", (1600, 1200)))
    content = path.read_bytes()
    at = content.index(b"ispe") + 8
    assert struct.unpack(">II", content[at : at + 8]) == (1600, 1200)
    path.write_bytes(content[:at] + struct.pack(">II", 8, 8) + content[at + 8 :])
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(path, limits=Limits(max_mb=1))


def test_a_file_that_is_cut_short(photo: Image.Image, save: Save) -> None:
    path = save(photo)
    content = path.read_bytes()
    for length in range(12, len(content) - 8, len(content) // 40):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError, match=r"image '.*a\.heic'"):
            decode(path)


def test_where_the_plugin_is_not_installed(photo: Image.Image, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(photo)
    assert image_files(path.parent).files == ("a.heic",)
    monkeypatch.delitem(READERS, "HEIC")
    with pytest.raises(ImageError, match=r"is HEIC; install what reads it \(pip install 'partlabel\[heic\]'\)"):
        decode(path)


def test_the_plugin_is_imported_for_a_heic_alone(photo: Image.Image, save: Save) -> None:
    code = (
        "import sys; from pathlib import Path; from partlabel.images.decode import decode; "
        "before = 'pillow_heif' in sys.modules; decode(Path(sys.argv[1])); "
        "from PIL import Image; print(before, 'pillow_heif' in sys.modules, 'HEIF' in Image.OPEN)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(save(photo))], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
