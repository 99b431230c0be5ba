"""What decoding one image may cost, estimated from its header before any pixel is decoded."""

import io
import math
import mmap
import re
from typing import IO, NamedTuple

from PIL import ImageFile, JpegImagePlugin, TiffImagePlugin
from pydantic import BaseModel, ConfigDict, Field

from partlabel.errors import UsageError
from partlabel.images.kinds import READERS, ImageFormat

_MB = 10**6
DEFAULT_MAX_IMAGE_MB = 1024

# Bytes per pixel of an image in Pillow's memory; all other modes take four.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_RGB = 4
# Bytes per pixel that a decoder holds besides the image itself, measured at 50 to 150 megapixels.
_DECODER: dict[ImageFormat, int] = {"WEBP": 14, "AVIF": 12, "JPEG2000": 20, "HEIC": 16}
# Each pass over the coefficients of a JPEG takes time. So much may be read for each byte of the limit: at the default
# about 2,700 megapixels of a colour JPEG, which ordinary files of ten scans reach only beyond the limit of memory.
_PASSES = 16

# In compressed data 0xff is followed by zero or by a restart marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, 0xD8})


class Limits(BaseModel):
    """What an image file may be. Checked on the header, before any pixel is decoded.

    Args:
        max_mb: most memory, in units of a million bytes, that decoding one image may take. The default is enough for
            256 megapixels in 8-bit RGB and for 64 of the WebP format; `--max-image-mb` on the command line.
        formats: file formats, told by content and never by extension.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_mb: float = Field(default=DEFAULT_MAX_IMAGE_MB, gt=0)
    formats: tuple[ImageFormat, ...] = tuple(READERS)

    def excess(
        self, image: ImageFile.ImageFile, kind: ImageFormat, full: tuple[int, int], turned: bool, stream: IO[bytes]
    ) -> str:
        """What of an opened image goes beyond the limits, as the end of a sentence; empty if nothing does.

        Args:
            image: the image before it is loaded, its size as it will be decoded.
            kind: its format.
            full: width and height in the file.
            turned: whether it will be turned upright afterwards.
            stream: the file.
        """
        limit = self.max_mb * _MB
        scans = _jpeg_scans(image, full, stream)
        needed = max(_decoding(image, kind, full, scans, stream), _converting(image, turned))
        if needed > limit:
            return f"takes {needed / _MB:,.0f} MB to decode, more than the limit of {self.max_mb:,g} MB"
        if scans is not None and scans.number * scans.coefficients > limit * _PASSES:
            return f"has {scans.number:,} scans, which take too long to decode under the limit of {self.max_mb:,g} MB"
        return ""


class _Scans(NamedTuple):
    """Scans of a JPEG that keeps its coefficients until the last of them, and the bytes that these take."""

    number: int
    coefficients: int


def _decoding(
    image: ImageFile.ImageFile, kind: ImageFormat, full: tuple[int, int], scans: _Scans | None, stream: IO[bytes]
) -> int:
    """Bytes that the image and its decoder take."""
    needed = _STORED.get(image.mode, 4) * image.width * image.height
    if kind in _DECODER:  # these read the whole file at once, too
        needed += _DECODER[kind] * full[0] * full[1] + 2 * _size(stream)
    if scans is not None:
        needed += scans.coefficients
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        needed += _strip(image)
    return needed


def _converting(image: ImageFile.ImageFile, turned: bool) -> int:
    """Bytes of the image and its copy in RGB, or of that copy before and after it is turned."""
    stored = _STORED.get(image.mode, 4)
    if image.mode != "RGB" or image.has_transparency_data:
        stored += _RGB
    return image.width * image.height * max(stored, 2 * _RGB * turned)


def _strip(image: TiffImagePlugin.TiffImageFile) -> int:
    """Bytes of a strip or tile of a TIFF, which is decompressed whole; it may be larger than the image."""
    tags = image.tag_v2
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    bands = max(len(bits), int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)))
    width, height = image.size
    if TiffImagePlugin.TILEWIDTH in tags:
        width = int(tags[TiffImagePlugin.TILEWIDTH])
        height = int(tags.get(TiffImagePlugin.TILELENGTH, height))
    else:
        height = min(height, int(tags.get(TiffImagePlugin.ROWSPERSTRIP, height)))
    return width * height * -(-int(max(bits)) * bands // 8)


def _jpeg_scans(image: ImageFile.ImageFile, full: tuple[int, int], stream: IO[bytes]) -> _Scans | None:
    """None for a file that is no JPEG, or one that is decoded row by row."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    number = 0
    with _bytes_of(stream) as content:
        found = _MARKER.search(content, 2)
        while found is not None and content[found.end() - 1] != _END_OF_IMAGE:
            start = found.end()
            if content[start - 1] == _START_OF_SCAN and start + 2 < len(content):
                number += 1
                if "progressive" not in image.info and content[start + 2] == image.layers:
                    return None
            has_length = content[start - 1] not in _WITHOUT_LENGTH
            found = _MARKER.search(content, start + has_length * int.from_bytes(content[start : start + 2], "big"))
    across, down = (max(1, *(layer[axis] for layer in image.layer)) for axis in (1, 2))
    blocks = sum(layer[1] * layer[2] for layer in image.layer)
    units = -(-full[0] // (8 * across)) * -(-full[1] // (8 * down))
    return _Scans(number, 2 * 64 * blocks * units)


def _bytes_of(stream: IO[bytes]) -> mmap.mmap | memoryview:
    if isinstance(stream, io.BytesIO):
        return stream.getbuffer()
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _size(stream: IO[bytes]) -> int:
    position = stream.tell()
    size = stream.seek(0, 2)
    stream.seek(position)
    return size


def limits_of(max_image_mb: float) -> Limits:
    """Limits with so much memory.

    Raises:
        UsageError: it is no positive number.
    """
    if isinstance(max_image_mb, bool) or not isinstance(max_image_mb, int | float) or not 0 < max_image_mb < math.inf:
        raise UsageError(f"max_image_mb {max_image_mb!r} is not a number of megabytes above 0")
    return Limits(max_mb=max_image_mb)


DEFAULT_LIMITS = Limits()
