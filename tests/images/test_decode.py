import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from partlabel.errors import ImageError
from partlabel.images.decode import ImageTooLargeError, MissingImageError, decode, decode_with_depth
from partlabel.images.kinds import READERS
from partlabel.images.limits import Limits

MakePhoto = Callable[..., Image.Image]


def difference(first: Image.Image, second: Image.Image) -> float:
    assert first.mode == second.mode == "RGB"
    assert first.size == second.size
    return float(np.abs(np.asarray(first, int) - np.asarray(second, int)).mean())


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options", "loss"),
    [
        ("a.png", {}, 0),
        ("a.bmp", {}, 0),
        ("a.tif", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.webp", {"lossless": True}, 0),
        ("a.webp", {"quality": 90}, 4),
        ("a.gif", {}, 8),
        ("a.jpg", {"quality": 95}, 3),
        ("a.jpg", {"quality": 95, "progressive": True}, 3),
    ],
)
def test_formats_are_told_by_content(tmp_path: Path, photo: Image.Image, name: str, options: dict, loss: float):
    image = decode(saved(tmp_path / name, photo, **options))
    assert image.mode == "RGB"
    assert difference(image, photo) <= loss
    disguised = (tmp_path / name).rename(tmp_path / "disguised.txt")
    assert decode(disguised).tobytes() == image.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_as_pillow_itself_applies_it(
    tmp_path: Path, photo: Image.Image, orientation: int, suffix: str
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", photo, exif=exif)
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    assert expected.size == (photo.size if orientation < 5 else photo.size[::-1])
    assert difference(decode(path), expected) == 0


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_exif_does_not_spoil_the_image(tmp_path: Path, photo: Image.Image, exif: bytes):
    path = saved(tmp_path / "a.jpg", photo, exif=exif)
    assert difference(decode(path), photo) < 5


def png_chunk(kind: bytes, body: bytes, sound: bool = True) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ (not sound))


@pytest.mark.parametrize(
    "note",
    [
        png_chunk(b"tEXt", b"Comment\0a cat", sound=False),
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**7))),
        png_chunk(b"iCCP", b"profile\0\0no profile"),
        png_chunk(b"iCCP", b"", sound=False),
        png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff", sound=False),
        png_chunk(b"pHYs", b"\1"),
        png_chunk(b"gAMA", b""),
        png_chunk(b"cHRM", b"123"),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0rubbish"),
    ],
)
@pytest.mark.parametrize("where", ["before the pixels", "after the pixels"])
def test_a_png_is_not_refused_for_its_notes(tmp_path: Path, photo: Image.Image, note: bytes, where: str):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = saved(tmp_path / "plain.png", photo, exif=exif)
    whole = plain.read_bytes()
    cut = 33 if where == "before the pixels" else whole.rindex(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(whole[:cut] + note + whole[cut:])
    expected = decode(plain)
    image = decode(tmp_path / "a.png")
    assert difference(image, expected if image.size == expected.size else photo) == 0


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::RuntimeWarning:PIL")
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
def test_no_file_is_refused_for_what_is_not_its_pixels(tmp_path: Path, photo: Image.Image, suffix: str):
    """Bytes of the EXIF block, the colour profile and the comment are overwritten at random."""
    mark = b"".join(bytes([65 + position % 26]) for position in range(200))
    exif = Image.Exif()
    exif[0x010E] = mark.decode()
    options: dict[str, object] = {"icc_profile": mark, "exif": exif}
    options |= {"jpg": {"comment": mark}, "gif": {"comment": mark}, "tif": {"tiffinfo": {305: mark.decode()}}}.get(
        suffix, {}
    )
    whole = saved(tmp_path / f"a.{suffix}", photo, **options).read_bytes()
    expected = decode(tmp_path / f"a.{suffix}")
    generator = random.Random(0)
    notes = [position for position in range(len(whole)) if whole[position : position + 8] in mark]
    assert len(notes) > 100
    for _ in range(40):
        content = bytearray(whole)
        for position in generator.sample(notes, generator.randint(1, 40)):
            content[position : position + 8] = generator.randbytes(8)
        (tmp_path / "b").write_bytes(content)
        assert difference(decode(tmp_path / "b"), expected) == 0


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("width", "loss"), [(1200, 0.4), (1201, 2)]
)  # an eighth of 1201 is a last column that is not full
@pytest.mark.parametrize(
    ("at_least", "shorter"), [(800, 800), (799, 800), (401, 800), (400, 400), (150, 200), (1, 100)]
)
def test_scaled_decode_is_close_to_the_full_one(
    make_photo: MakePhoto, tmp_path: Path, at_least: int, shorter: int, width: int, loss: float, orientation: int
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", make_photo(width, 800), quality=92, exif=exif)
    full, scaled = decode(path), decode(path, at_least=at_least)
    assert min(scaled.size) == shorter
    assert (scaled.width > scaled.height) == (full.width > full.height)
    assert difference(scaled.resize((64, 64)), full.resize((64, 64))) < loss


@given(width=st.integers(1, 300), height=st.integers(1, 300), at_least=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_scaled_decode_never_falls_below_what_was_asked(tmp_path_factory, width: int, height: int, at_least: int):
    path = saved(tmp_path_factory.getbasetemp() / "scaled.jpg", Image.new("RGB", (width, height), "red"))
    assert min(decode(path, at_least=at_least).size) >= min(at_least, width, height)


def test_cmyk(tmp_path: Path, photo: Image.Image):
    for name, loss in (("a.jpg", 8), ("a.tif", 1)):
        image = decode(saved(tmp_path / name, photo.convert("CMYK")))
        assert difference(image, photo) < loss
    assert min(decode(tmp_path / "a.jpg", at_least=30).size) == 30


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_is_scaled_not_clipped(tmp_path: Path, name: str):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = np.asarray(decode(saved(tmp_path / name, Image.fromarray(values))))
    expected = np.rint(values / 257).astype(np.uint8)
    assert (image == expected[..., None]).all()


def test_16_bit_big_endian_and_32_bit_integers(tmp_path: Path):
    values = np.arange(65536, dtype=np.int32).reshape(256, 256)
    expected = np.rint(values / 257).astype(np.uint8)[..., None]
    assert (np.asarray(decode(saved(tmp_path / "a.tif", Image.fromarray(values)))) == expected).all()
    big = io.BytesIO()
    Image.fromarray(values.astype(">u2")).save(big, "TIFF")
    (tmp_path / "b.tif").write_bytes(big.getvalue())
    assert (np.asarray(decode(tmp_path / "b.tif")) == expected).all()
    for wrong in (values - 1, values * 2):
        with pytest.raises(ImageError, match=r"integer values from .* are not 0\.\.65535"):
            decode(saved(tmp_path / "c.tif", Image.fromarray(wrong)))


def test_float(tmp_path: Path):
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    expected = np.arange(256).reshape(16, 16, 1)
    for scale in (1, 255):
        assert (np.asarray(decode(saved(tmp_path / "a.tif", Image.fromarray(ramp * scale)))) == expected).all()
    for wrong in (ramp - 0.5, ramp * 1000, np.where(ramp > 0.5, np.float32("nan"), ramp)):
        with pytest.raises(ImageError, match=r"neither 0\.\.1 nor 0\.\.255"):
            decode(saved(tmp_path / "b.tif", Image.fromarray(wrong)))


def write_tiff(path: Path, values: np.ndarray, photometric: int, extra: int = 0) -> Path:
    """An uncompressed TIFF `[height, width, bands]` of whole or floating-point numbers."""
    height, width, bands = values.shape
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    bits, kind = values.dtype.itemsize * 8, 3 if values.dtype.kind == "f" else 1
    entries = [(256, 1, width), (257, 1, height), (258, bands, bits), (259, 1, 1), (262, 1, photometric), (273, 1, 8)]
    entries += [(277, 1, bands), (278, 1, height), (279, 1, len(data))] + [(338, extra, 0)] * bool(extra)
    entries.append((339, bands, kind))
    table, lists = b"", b""
    start = 8 + len(data) + 2 + 12 * len(entries) + 4
    for tag, count, value in entries:
        field = struct.pack("<I", value)
        if count > 1:
            field = struct.pack("<I", start + len(lists))
            lists += struct.pack(f"<{count}I", *[value] * count)
        table += struct.pack("<HHI", tag, 4, count) + field
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(entries)) + table + bytes(4) + lists)
    return path


@pytest.mark.parametrize(
    ("bands", "dtype", "photometric", "extra", "says"),
    [
        (5, "u1", 1, 4, "it has 5 bands of 8 bits; give grey or RGB of 8 or 16 bits"),
        (4, "u2", 1, 3, "it has 4 bands of 16 bits; give grey or RGB"),
        (3, "f4", 2, 0, "it has 3 bands of floating point of 32 bits; give grey or RGB"),
    ],
)
def test_bands_that_are_no_colours(tmp_path: Path, bands: int, dtype: str, photometric: int, extra: int, says: str):
    path = write_tiff(tmp_path / "a.tif", np.zeros((4, 6, bands), dtype), photometric, extra)
    with pytest.raises(ImageError, match=says):
        decode(path)


def test_files_of_16_bits_are_told(tmp_path: Path, photo: Image.Image):
    grey = np.asarray(photo.convert("L"))
    assert decode_with_depth(saved(tmp_path / "a.png", Image.fromarray(grey.astype(np.uint16) * 16))).from_16_bit
    assert decode_with_depth(saved(tmp_path / "a.tif", Image.fromarray(grey.astype(np.uint16) * 16))).from_16_bit
    rgb = write_tiff(tmp_path / "b.tif", np.asarray(photo).astype("u2") * 16, 2)
    assert decode_with_depth(rgb).from_16_bit
    assert np.asarray(decode(rgb)).max() == 255 * 16 >> 8
    for name in ("c.png", "c.tif", "c.jpg"):
        assert not decode_with_depth(saved(tmp_path / name, photo)).from_16_bit


@pytest.mark.parametrize(("suffix", "reader"), [("avif", "AVIF"), ("jp2", "JPEG2000")])
def test_formats_that_pillow_may_lack(
    tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, suffix: str, reader: str
):
    if reader not in READERS:
        pytest.skip("this Pillow does not write it")
    path = saved(tmp_path / f"a.{suffix}", photo)
    assert difference(decode(path), photo) < 5
    monkeypatch.delitem(READERS, reader)
    with pytest.raises(ImageError, match=f"its content is {reader}; install a Pillow that reads it"):
        decode(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\x0a" + bytes(50), "is JPEG XL; convert it to JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer; fetch the image itself"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, content: bytes, says: str):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=says):
        decode(tmp_path / "a.jpg")


def test_conversion_in_strips_is_seamless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image):
    layer = photo.convert("RGBA")
    layer.putalpha(Image.linear_gradient("L").resize(photo.size))
    paths = [saved(tmp_path / "alpha.png", layer), saved(tmp_path / "float.tif", photo.convert("F"))]
    paths.append(saved(tmp_path / "deep.png", Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)))
    whole = [decode(path).tobytes() for path in paths]
    monkeypatch.setattr("partlabel.images.decode._STRIP_PIXELS", 1000)
    assert [decode(path).tobytes() for path in paths] == whole


def test_one_bit_and_grey(tmp_path: Path):
    bits = np.random.default_rng(0).random((20, 30)) > 0.5
    for name in ("a.png", "a.tif", "a.bmp", "a.gif"):
        assert (np.asarray(decode(saved(tmp_path / name, Image.fromarray(bits)))) == bits[..., None] * 255).all()
    grey = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    assert (np.asarray(decode(saved(tmp_path / "b.png", Image.fromarray(grey)))) == grey[..., None]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_composited_on_white(tmp_path: Path, photo: Image.Image, mode: str):
    layer = photo.convert("L" if mode == "LA" else "RGB").convert("RGBA")
    layer.putalpha(Image.linear_gradient("L").resize(photo.size))
    if mode != "RGBA":
        layer = layer.convert(mode) if mode == "LA" else layer.quantize(64)
    path = saved(tmp_path / "a.png", layer)
    white = Image.new("RGBA", photo.size, "white")
    expected = Image.alpha_composite(white, layer.convert("RGBA")).convert("RGB")
    image = decode(path)
    assert np.abs(np.asarray(image, int) - np.asarray(expected, int)).max() <= 1
    assert difference(image, photo) > 20


@pytest.mark.parametrize(
    ("mode", "key"), [("P", 3), ("P", bytes([255, 0, 128, 255])), ("L", 200), ("RGB", (10, 20, 30)), ("1", 1)]
)
def test_transparent_colours_become_white(tmp_path: Path, mode: str, key: object):
    image = Image.new(mode, (8, 4), {"P": 1, "L": 200, "RGB": (10, 20, 30), "1": 1}[mode])
    if mode == "P":
        image.putpalette([0, 0, 0, 0, 0, 0, 100, 100, 100, 0, 0, 200])
        image.paste(3 if key == 3 else 1, (0, 0, 8, 2))
        image.paste(2, (0, 2, 8, 4))
    image = np.asarray(decode(saved(tmp_path / "a.png", image, transparency=key)))
    assert (image[:2] == 255).all()
    if mode == "P":
        half = 100 if key == 3 else round(100 * 128 / 255 + 255 * 127 / 255)
        assert np.abs(image[2:].astype(int) - half).max() <= 1


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_animations_give_their_first_frame(tmp_path: Path, photo: Image.Image, suffix: str):
    others = [Image.new("RGB", photo.size, colour) for colour in ("red", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", photo, save_all=True, append_images=others, **options)
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert difference(decode(path), photo) < (8 if suffix == "gif" else 0.01)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"hello, this is a list of tags\n", r"begins with b'hello"),
        (b"<!DOCTYPE html><html>", "not one of JPEG, PNG"),
        (b"\xff\xd8\xff", "cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
        (b"GIF89a", "cannot be decoded"),
        (b"BMW is a car", "cannot be decoded"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "cannot be decoded"),
        (b"II*\0\xff\xff\xff\x7f", "cannot be decoded"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, says: str):
    path = tmp_path / "tags.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=says) as caught:
        decode(path)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("at_least", [None, 1])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [("jpg", {}), ("jpg", {"progressive": True}), ("png", {}), ("webp", {}), ("bmp", {}), ("gif", {}), ("tif", {})],
)
def test_truncated_files(tmp_path: Path, suffix: str, options: dict, at_least: int | None):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    whole = saved(tmp_path / f"a.{suffix}", noise, **options).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for share in (0.1, 0.5, 0.9, 0.98):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ImageError, match="cannot be decoded"):
            decode(path, at_least=at_least)


def test_missing_file_folder_and_pipe(tmp_path: Path):
    with pytest.raises(MissingImageError, match=r"none\.jpg' does not exist"):
        decode(tmp_path / "none.jpg")
    with pytest.raises(MissingImageError, match="does not exist"):
        decode(tmp_path / ("x" * 5000))
    with pytest.raises(ImageError, match="is not a file"):
        decode(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="is not a file"):
        decode(tmp_path / "pipe.jpg")


def test_a_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(30_000, 30_000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(
        ImageTooLargeError, match=r"30000 × 30000 pixels, takes 3,600 MB to decode, more than the limit of 1,024 MB"
    ):
        decode(path)


def test_limits_do_not_follow_pillows_global(tmp_path: Path, photo: Image.Image, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path / "a.png", photo)
    with pytest.raises(ImageTooLargeError):
        decode(path, limits=Limits(max_mb=160 * 120 * 4e-6 - 1e-6))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(path, limits=Limits(max_mb=160 * 120 * 4e-6)).size == (160, 120)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageTooLargeError):
        decode(path, limits=Limits(max_mb=160 * 120 * 4e-6 - 1e-6))


def test_a_webp_bomb_is_refused(tmp_path: Path):
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16382).to_bytes(3, "little") * 2
    path = tmp_path / "bomb.webp"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)
    with pytest.raises(ImageError):
        decode(path)


def test_format_limit(tmp_path: Path, photo: Image.Image):
    path = saved(tmp_path / "a.gif", photo)
    with pytest.raises(ImageError, match="is not one of JPEG, PNG: its content is GIF"):
        decode(path, limits=Limits(formats=("JPEG", "PNG")))
    with pytest.raises(ImageError, match="is not one of"):
        decode(saved(tmp_path / "a.ico", photo))


def test_no_setting_of_pillow_is_changed(tmp_path: Path, photo: Image.Image):
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, dict(Image.OPEN)
    decode(saved(tmp_path / "a.jpg", photo))
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, dict(Image.OPEN)) == before


def test_threads_decode_the_same(make_photo: MakePhoto, tmp_path: Path):
    paths = [saved(tmp_path / f"{seed}.jpg", make_photo(200, 150, seed)) for seed in range(8)] * 4
    alone = [decode(path).tobytes() for path in paths]
    with ThreadPoolExecutor(8) as pool:
        assert [image.tobytes() for image in pool.map(decode, paths)] == alone


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_give_an_image_or_a_sentence(tmp_path: Path, photo: Image.Image, data: st.DataObject):
    suffix = data.draw(st.sampled_from(["jpg", "png", "webp", "bmp", "gif", "tif"]))
    content = bytearray(saved(tmp_path / f"whole.{suffix}", photo.resize((40, 30))).read_bytes())
    generator = random.Random(data.draw(st.integers(0, 2**32)))
    for _ in range(generator.randint(1, 20)):
        content[generator.randrange(min(len(content), generator.choice((64, 10**6))))] = generator.randrange(256)
    path = tmp_path / "damaged"
    path.write_bytes(content)
    try:
        assert decode(path, limits=Limits(max_mb=20), at_least=data.draw(st.none() | st.integers(1, 50))).mode == "RGB"
    except ImageError as error:
        sentence = str(error)
    else:
        return
    assert "\n" not in sentence
