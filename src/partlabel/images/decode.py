"""Reading one image file into 8-bit RGB, within limits, or saying in one sentence why not."""

import io
import os
from pathlib import Path
from typing import IO, Literal

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from pydantic import BaseModel, ConfigDict, Field

from partlabel.errors import ImageError

Format = Literal["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]

# The classes are called by name instead of through PIL.Image.open, which warns or raises by the process-wide
# Image.MAX_IMAGE_PIXELS before a caller can look at the size.
_READERS: dict[Format, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
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


class Limits(BaseModel):
    """What an image file may be. The size is checked on the header, before any pixel is decoded.

    Args:
        max_pixels: most width × height; the default, 178,956,970, is 512 MiB as 8-bit RGB, and where Pillow itself
            gives up.
        formats: file formats, told by content and never by extension.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_pixels: int = Field(default=178_956_970, ge=1)
    formats: tuple[Format, ...] = tuple(_READERS)


DEFAULT_LIMITS = Limits()


class MissingImageError(ImageError):
    """There is no file at the path of an image."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than the limits allow."""


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
        ImageTooLargeError: it has more pixels than `limits.max_pixels`.
        ImageError: it is empty, cut short, damaged, not an image, or of a format that the limits leave out.
    """
    shown = repr(str(path))
    if not os.path.exists(path):
        raise MissingImageError(f"image {shown} does not exist; correct its name or take it out of the table")
    if not os.path.isfile(path):  # a pipe would block for ever
        raise ImageError(f"image {shown} is not a file; correct its name or take it out of the table")
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as stream:
            return _to_rgb(_load(stream, shown, limits, at_least))
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # some readers look at Pillow's own limit first
        raise ImageTooLargeError(f"image {shown} has more pixels than Pillow allows; make it smaller") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile bytes
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"image {shown} cannot be decoded: {cause}; replace the file or take it out of the table"
        ) from error


def _load(stream: IO[bytes], shown: str, limits: Limits, at_least: int | None) -> ImageFile.ImageFile:
    kind = _format(stream.read(16), shown, limits)
    stream.seek(0)
    image = _READERS[kind](stream)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"image {shown} has {width} × {height} = {width * height:,} pixels, more than the limit of "
            f"{limits.max_pixels:,}; make it smaller or raise the limit"
        )
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    image.load()
    return image


def _format(head: bytes, shown: str, limits: Limits) -> Format:
    if not head:
        raise ImageError(f"image {shown} is empty (0 bytes); replace the file or take it out of the table")
    found = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        found = "WEBP"
    if found is None or found not in limits.formats:
        what = f"begins with {head!r}" if found is None else f"is {found}"
        raise ImageError(
            f"image {shown} is not one of {', '.join(limits.formats)}: its content {what}; convert or remove it"
        )
    return found


def _to_rgb(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    if image.mode.startswith(("I", "F")):
        image = _grey_8_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    else:
        image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not spoil the image: viewers ignore it too
        return 1


def _grey_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 255):  # written so that NaN is refused too
            raise ValueError(f"floating-point values from {low:g} to {high:g} are neither 0..1 nor 0..255")
        return Image.fromarray(np.rint(values * 255 if high <= 1 else values).astype(np.uint8))
    if low < 0 or high > 65535:
        raise ValueError(f"integer values from {low} to {high} are not 0..65535")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
