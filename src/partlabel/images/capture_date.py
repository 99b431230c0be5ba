"""The day on which a photograph was taken, as its camera wrote it."""

import re
from pathlib import Path

from PIL import Image

from partlabel.errors import ImageError
from partlabel.images.paths import resolve

_EXIF, _ORIGINAL, _DIGITIZED = 0x8769, 0x9003, 0x9004
_DAY = re.compile(r"(\d{4})[:-](\d{2})[:-](\d{2})")


def capture_day(root: Path, name: str) -> str | None:
    """The day, such as `2024-05-31`, from EXIF DateTimeOriginal, else DateTimeDigitized; None where neither says it.

    The time when the file was last written is no such day: copying changes it.

    Args:
        root: the image folder.
        name: the image under it.
    """
    try:
        with Image.open(resolve(root, name)) as image:
            exif = image.getexif().get_ifd(_EXIF)
    except (ImageError, OSError, ValueError, SyntaxError, KeyError, TypeError, Image.DecompressionBombError):
        return None  # whatever is wrong with a picture, it says no day; `look` says what is wrong
    for tag in (_ORIGINAL, _DIGITIZED):
        if (found := _DAY.match(str(exif.get(tag, "")))) and found[1] != "0000":
            return "-".join(found.groups())
    return None
