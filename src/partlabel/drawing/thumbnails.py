"""Images made small enough to be carried inside a page."""

import base64
import io
from pathlib import Path

from PIL import Image

from partlabel.errors import ImageError
from partlabel.images.decode import decode
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import resolve

_THUMBNAIL_SIDE = 160
_QUALITY = 82


class Thumbnails:
    """Small copies of the images under an image folder.

    Args:
        root: the image folder.
        limits: what an image may be.
    """

    def __init__(self, root: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.root = root
        self.limits = limits

    def __call__(self, image: str) -> str | None:
        """The image of that name as a data URI; None if it cannot be shown."""
        decoded = read_image(self.root, image, _THUMBNAIL_SIDE, self.limits)
        if decoded is None:
            return None
        return jpeg(decoded if max(decoded.size) <= _THUMBNAIL_SIDE else fitted(decoded, _THUMBNAIL_SIDE))


def read_image(root: Path, image: str, at_least: int, limits: Limits = DEFAULT_LIMITS) -> Image.Image | None:
    """The decoded image; None if it is missing, broken or outside the folder, so that one file cannot spoil a
    report.
    """
    try:
        return decode(resolve(root, image), limits=limits, at_least=at_least)
    except ImageError:
        return None


def data_uri(kind: str, content: bytes) -> str:
    """A file as an address that holds its bytes; `kind` is the media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def fitted(decoded: Image.Image, side: int) -> Image.Image:
    """The image with its longer side resized to `side` pixels."""
    scale = side / max(decoded.size)
    width, height = (max(1, round(scale * length)) for length in decoded.size)
    return decoded.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(decoded: Image.Image) -> str:
    """The image as a JPEG in a data URI."""
    stream = io.BytesIO()
    decoded.save(stream, "JPEG", quality=_QUALITY)
    return data_uri("image/jpeg", stream.getvalue())
