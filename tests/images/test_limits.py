"""One image may not take the machine: memory and time are bounded before any pixel is decoded."""

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageFile

from partlabel.images.decode import ImageTooLargeError, decode
from partlabel.images.kinds import READERS
from partlabel.images.limits import Limits


def png(path: Path, width: int, height: int, depth: int, colour: int, extra: bytes = b"") -> Path:
    """A black PNG of any depth and colour type, its rows compressed one by one."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packing = zlib.compressobj(1)
    rows = b"".join(packing.compress(bytes(1 + (width * depth * channels + 7) // 8)) for _ in range(height))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
        + extra
        + chunk(b"IDAT", rows + packing.flush())
        + chunk(b"IEND", b"")
    )
    return path


def tiled_tiff(path: Path, side: int, tile: int) -> Path:
    """A grey TIFF of one compressed tile that may be larger than the image."""
    data = zlib.compress(bytes(tile * tile))
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile), (323, tile), (324, 8)]
    tags.append((325, len(data)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", 10) + entries + bytes(4))
    return path


def with_scans(path: Path, more: int, side: int = 256) -> Path:
    """A progressive JPEG whose last scan, which refines the highest frequencies, comes `more` times again."""
    stream = io.BytesIO()
    Image.new("L", (side, side), 128).save(stream, "JPEG", progressive=True, quality=50, optimize=True)
    whole = stream.getvalue()
    end = whole.rindex(b"\xff\xd9")
    last = whole[whole.rindex(b"\xff\xda") : end]
    path.write_bytes(whole[:end] + last * more + whole[end:])
    return path


def refused(path: Path, max_mb: float, at_least: int | None = None) -> bool:
    try:
        decode(path, limits=Limits(max_mb=max_mb), at_least=at_least)
    except ImageTooLargeError:
        return True
    return False


@pytest.mark.parametrize(
    ("depth", "colour", "bytes_per_pixel"),
    [(8, 2, 4), (16, 2, 4), (8, 6, 8), (16, 6, 8), (8, 0, 5), (1, 0, 5), (16, 0, 6), (8, 4, 8)],
)
def test_a_png_is_charged_for_its_mode_and_its_copy(tmp_path: Path, depth: int, colour: int, bytes_per_pixel: int):
    path = png(tmp_path / "a.png", 500, 200, depth, colour)
    needed = 500 * 200 * bytes_per_pixel / 1e6
    assert refused(path, needed * 0.999)
    assert not refused(path, needed)


def test_a_turned_image_is_charged_for_both(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "tif"):
        path = tmp_path / f"a.{suffix}"
        Image.new("RGB", (500, 200)).save(path, exif=exif)
        assert refused(path, 0.79)
        assert not refused(path, 0.8)


def test_a_jpeg_is_charged_as_it_will_be_decoded(tmp_path: Path):
    Image.new("RGB", (800, 400)).save(tmp_path / "a.jpg")
    assert refused(tmp_path / "a.jpg", 1.27)
    assert not refused(tmp_path / "a.jpg", 1.28)
    assert not refused(tmp_path / "a.jpg", 0.021, at_least=50)  # an eighth: 100 × 50 pixels


@pytest.mark.parametrize(("subsampling", "coefficients"), [(0, 6), (1, 4), (2, 3)])
def test_a_progressive_jpeg_is_charged_for_its_coefficients(tmp_path: Path, subsampling: int, coefficients: int):
    Image.new("RGB", (800, 400)).save(tmp_path / "a.jpg", progressive=True, subsampling=subsampling)
    needed = (800 * 400 * coefficients + 100 * 50 * 4) / 1e6
    assert refused(tmp_path / "a.jpg", needed * 0.999, at_least=50)
    assert not refused(tmp_path / "a.jpg", needed, at_least=50)


def test_many_scans_are_refused_by_their_number(tmp_path: Path):
    plain, many = with_scans(tmp_path / "plain.jpg", 0), with_scans(tmp_path / "many.jpg", 60)
    megabytes = 1.0  # holds either image; 16 MB of coefficients may be read, 0.13 MB each time
    assert not refused(plain, megabytes)
    assert not refused(many, megabytes)
    assert refused(with_scans(tmp_path / "more.jpg", 130), megabytes)
    for content in (None, (tmp_path / "more.jpg").read_bytes()):
        with pytest.raises(ImageTooLargeError, match=r"more\.jpg', 256 × 256 pixels, has 136 scans"):
            decode(tmp_path / "more.jpg", limits=Limits(max_mb=megabytes), content=content)


def test_scans_in_a_thumbnail_are_not_counted(tmp_path: Path):
    thumbnail = with_scans(tmp_path / "many.jpg", 130).read_bytes()[:65000]
    Image.new("L", (256, 256)).save(tmp_path / "a.jpg", progressive=True, comment=thumbnail)
    assert not refused(tmp_path / "a.jpg", 1.0)


def test_repeated_scans_without_progression_count_as_well(tmp_path: Path):
    stream = io.BytesIO()
    Image.new("RGB", (256, 256)).save(stream, "JPEG")
    whole = stream.getvalue()
    start, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    luma = whole[start : start + 2] + struct.pack(">HB", 8, 1) + whole[start + 5 : start + 7] + b"\0\x3f\0" + b"\x55"
    (tmp_path / "a.jpg").write_bytes(whole[:start] + luma * 300 + whole[end:])
    assert refused(tmp_path / "a.jpg", 1.0)


def test_a_tile_larger_than_its_image(tmp_path: Path):
    path = tiled_tiff(tmp_path / "a.tif", 16, 2000)
    assert refused(path, 3.9)
    assert not refused(path, 4.1)


@pytest.mark.parametrize("suffix", ["webp", "avif", "jp2"])
def test_decoders_that_hold_several_copies(tmp_path: Path, suffix: str):
    if {"webp": "WEBP", "avif": "AVIF", "jp2": "JPEG2000"}[suffix] not in READERS:
        pytest.skip("this Pillow does not read it")
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (500, 200)).save(path)
    assert refused(path, 500 * 200 * 12 / 1e6)
    assert not refused(path, 500 * 200 * 26 / 1e6)


def test_nothing_is_decoded_before_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = png(tmp_path / "panorama.png", 20_000, 10, 16, 6)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageTooLargeError) as caught:
        decode(path, limits=Limits(max_mb=1))
    assert str(caught.value) == (
        f"image {str(path)!r}, 20000 × 10 pixels, takes 2 MB to decode, more than the limit of 1 MB; make it smaller, "
        "or raise --max-image-mb (in Python: max_image_mb)"
    )


_PEAK = """
import re, sys
from pathlib import Path
from partlabel.images.decode import decode
from partlabel.images.limits import Limits

def peak():  # of this program alone, unlike getrusage
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6

decode(Path(sys.argv[1]), at_least=10)
before = peak()
decode(Path(sys.argv[2]), limits=Limits(max_mb=float(sys.argv[3])))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rgba.png", "float.tif", "alpha.webp", "scans.jpg", "deep.heic"])
def test_what_decoding_takes_is_what_was_estimated(tmp_path: Path, name: str):
    """Measured in a process of its own at 9 megapixels: no more than what was announced."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))
    photo = noise.resize((3000, 3000))
    path, small = tmp_path / name, tmp_path / ("small" + Path(name).suffix)
    made = {
        "rgba.png": lambda: png(path, 3000, 3000, 16, 6),
        "float.tif": lambda: photo.convert("F").save(path, compression="tiff_adobe_deflate"),
        "alpha.webp": lambda: photo.convert("RGBA").save(path, quality=20, method=0),
        "scans.jpg": lambda: photo.save(path, progressive=True, subsampling=0),
        "deep.heic": lambda: pillow_heif.from_bytes("RGBA;16", (3000, 3000), bytes(72_000_000)).save(path, chroma=444),
    }
    made[name]()
    pillow_heif.from_pillow(noise).save(small) if name == "deep.heic" else noise.save(small)
    with pytest.raises(ImageTooLargeError) as caught:
        decode(path, limits=Limits(max_mb=1e-6))
    estimate = float(re.search(r"takes ([\d,]+) MB", str(caught.value))[1].replace(",", ""))
    run = subprocess.run(
        [sys.executable, "-c", _PEAK, str(small), str(path), str(estimate + 1)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert estimate * 0.4 < float(run.stdout) < estimate * 1.1 + 8
