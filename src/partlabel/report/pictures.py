"""Pictures made small enough to be carried inside a page."""

import io
from pathlib import Path

from PIL import Image

from partlabel.errors import PictureError
from partlabel.images.decode import decode
from partlabel.images.paths import resolve
from partlabel.report.parts import data_uri

_THUMBNAIL_SIDE = 160
_QUALITY = 82


class Thumbnails:
    """Small copies of the pictures under an image folder.

    Args:
        root: the image folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, image: str) -> str | None:
        """The picture of that name as a data URI; None if it cannot be shown."""
        picture = read_picture(self.root, image, _THUMBNAIL_SIDE)
        if picture is None:
            return None
        return jpeg(picture if max(picture.size) <= _THUMBNAIL_SIDE else fitted(picture, _THUMBNAIL_SIDE))


def read_picture(root: Path, image: str, at_least: int) -> Image.Image | None:
    """The decoded picture; None if it is missing, broken or outside the folder, so that one file cannot spoil a report."""
    try:
        return decode(resolve(root, image), at_least=at_least)
    except PictureError:
        return None


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture with its longer side resized to `side` pixels."""
    scale = side / max(picture.size)
    width, height = (max(1, round(scale * length)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image) -> str:
    """The picture as a JPEG in a data URI."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return data_uri("image/jpeg", stream.getvalue())
