"""Reading one image file into 8-bit RGB, within limits, or saying in one sentence why not."""

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from partlabel.errors import ImageError
from partlabel.images.kinds import ADVICE, READERS, ImageFormat, format_of
from partlabel.images.limits import DEFAULT_LIMITS, Limits

# Bytes of a file that tell its format: a container lists its brands there.
_HEAD = 64
_STRIP_PIXELS = 1 << 18
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class MissingImageError(ImageError):
    """There is no file at the path of an image."""


class ImageTooLargeError(ImageError):
    """Decoding an image takes more memory or time than the limits allow."""


class Decoded(NamedTuple):
    """An image, 8-bit RGB, and whether its file has 16 bits per channel."""

    image: Image.Image
    from_16_bit: bool


def decode(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, at_least: int | None = None, content: bytes | None = None
) -> Image.Image:
    """Decode the first frame of an image, upright by its EXIF orientation, as 8-bit RGB.

    Transparency is composited on white, as a web page would show it. 16-bit grey (also held as 32-bit integers) is
    scaled from 0..65535 to 0..255; floating-point grey is taken as 0..1 where it fits there, as 0..255 where it fits
    there, and refused otherwise. CMYK is converted without colour profile. Changes no setting of Pillow; safe in
    threads and forks.

    Args:
        path: the file.
        limits: what the file may be.
        at_least: if given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size (scaled in the discrete cosine
            transform, several times faster) as long as its shorter side keeps at least this many pixels.
        content: the file's bytes, if they have been read already.

    Raises:
        MissingImageError: there is no such file.
        ImageTooLargeError: it takes more memory or time than `limits` allow.
        ImageError: it is empty, cut short, damaged, not an image, or of a format that the limits leave out.
    """
    return decode_with_depth(path, limits=limits, at_least=at_least, content=content).image


def decode_with_depth(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, at_least: int | None = None, content: bytes | None = None
) -> Decoded:
    """As `decode`, and whether the file has 16 bits per channel."""
    shown = repr(str(path))
    if not os.path.exists(path):
        raise MissingImageError(f"image {shown} does not exist; correct its name or take it out of the table")
    if not os.path.isfile(path):  # a pipe would block for ever
        raise ImageError(f"image {shown} is not a file; correct its name or take it out of the table")
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as stream:
            image, from_16_bit = _load(stream, shown, limits, at_least)
            return Decoded(_to_rgb(image), from_16_bit)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # some readers look at Pillow's own limit first
        raise ImageTooLargeError(f"image {shown} has more pixels than Pillow allows; make it smaller") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile bytes
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"image {shown} cannot be decoded: {cause}; replace the file or take it out of the table"
        ) from error


def _load(stream: IO[bytes], shown: str, limits: Limits, at_least: int | None) -> tuple[ImageFile.ImageFile, bool]:
    kind = _format(stream.read(_HEAD), shown, limits)
    stream.seek(0)
    if kind != "PNG":
        return _load_as(kind, stream, shown, limits, at_least)
    try:
        return _load_as(kind, stream, shown, limits, at_least)
    except ImageError:
        raise
    except Exception:
        return _load_as(kind, _png_without_notes(stream), shown, limits, at_least)


def _load_as(
    kind: ImageFormat, stream: IO[bytes], shown: str, limits: Limits, at_least: int | None
) -> tuple[ImageFile.ImageFile, bool]:
    try:
        image = READERS[kind](stream)
    except SyntaxError as error:
        if kind == "TIFF" and "unknown pixel mode" in str(error):
            raise ValueError(f"{_tiff_bands(stream)}; give grey or RGB of 8 or 16 bits") from error
        raise
    full = image.size
    if at_least is not None and kind == "JPEG":  # of a HEIC it would decode a thumbnail at once
        image.draft(None, (at_least, at_least))
    # Pillow looks for the EXIF block of a PNG by decoding it.
    turned = "exif" in image.info if kind == "PNG" else _orientation(image) in _UPRIGHT
    if excess := limits.excess(image, kind, full, turned, stream):
        raise ImageTooLargeError(
            f"image {shown}, {full[0]} × {full[1]} pixels, {excess}; make it smaller, or raise --max-image-mb (in "
            "Python: max_image_mb)"
        )
    from_16_bit = _has_16_bits(image)
    image.load()
    return image, from_16_bit


def _format(head: bytes, shown: str, limits: Limits) -> ImageFormat:
    if not head:
        raise ImageError(f"image {shown} is empty (0 bytes); replace the file or take it out of the table")
    found = format_of(head)
    for kind in limits.formats:
        if kind == found and kind in READERS:
            return kind
    what = f"begins with {head[:16]!r}" if found is None else f"is {found}"
    advice = "convert or remove it" if found in READERS else ADVICE.get(found or "", "convert or remove it")
    raise ImageError(f"image {shown} is not one of {', '.join(limits.formats)}: its content {what}; {advice}")


def _png_without_notes(stream: IO[bytes]) -> io.BytesIO:
    """A PNG with the chunks that hold pixels, and its EXIF block if that is sound.

    Pillow refuses a file for the checksum of a comment, or for a long one.
    """
    stream.seek(0)
    kept = io.BytesIO()
    kept.write(stream.read(8))
    while len(head := stream.read(8)) == 8:
        content = stream.read(int.from_bytes(head[:4], "big") + 4)
        sound = int.from_bytes(content[-4:], "big") == zlib.crc32(head[4:] + content[:-4])
        if head[4:] in _PIXEL_CHUNKS or (head[4:] == b"eXIf" and sound):
            kept.write(head + content)
    kept.seek(0)
    return kept


def _tiff_bands(stream: IO[bytes]) -> str:
    """What a TIFF holds that Pillow has no mode for, such as `has 5 bands of 16 bits`."""
    stream.seek(0)
    head = stream.read(8)
    if head[2:4] in {b"\x2b\0", b"\0\x2b"}:
        head += stream.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    stream.seek(tags.next)
    tags.load(stream)
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    number = "floating point of " if 3 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ()) else ""
    bands = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    return f"it has {bands} band{'s' * (bands != 1)} of {number}{bits} bits"


def _has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded yet has 16 bits per channel; Pillow keeps the higher eight of colours."""
    if not image.tile:
        return False
    how = image.tile[0].args
    raw = how[0] if isinstance(how, tuple) and how else how
    return isinstance(raw, str) and ";16" in raw


def _to_rgb(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode.startswith(("I", "F")):
        image = _grey_8_bit(image)
    elif image.has_transparency_data:
        image = _on_white(image)
    elif image.mode != "RGB":
        image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not spoil the image: viewers ignore it too
        return 1


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in parts of full width from the top, each with its row: what a conversion takes is bounded."""
    rows = max(1, _STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _on_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size, "white")
    for top, strip in _strips(image):
        layer = strip.convert("RGBA")
        result.paste(layer, (0, top), mask=layer.getchannel("A"))
    return result


def _grey_8_bit(image: Image.Image) -> Image.Image:
    ends = [(values.min(), values.max()) for values in (np.asarray(strip) for _, strip in _strips(image))]
    low, high = (float(end) for end in (np.min([low for low, _ in ends]), np.max([high for _, high in ends])))
    is_float = image.mode == "F"
    if is_float and not (low >= 0 and high <= 255):  # written so that NaN is refused too
        raise ValueError(f"floating-point values from {low:g} to {high:g} are neither 0..1 nor 0..255")
    if not is_float and (low < 0 or high > 65535):
        raise ValueError(f"integer values from {low:.0f} to {high:.0f} are not 0..65535")
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        values = np.asarray(strip)
        if is_float:
            grey = np.rint(values * 255 if high <= 1 else values).astype(np.uint8)
        else:
            grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
        result.paste(Image.fromarray(grey), (0, top))
    return result
