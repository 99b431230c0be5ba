"""Which files are images: by content when one is decoded, by name when a folder is listed."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal, NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from partlabel.file_tree import file_tree
from partlabel.names import image_suffix

ImageFormat = Literal["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000", "HEIC"]


def _heic(stream: IO[bytes]) -> ImageFile.ImageFile:
    """A HEIC, which turns upright as it is decoded, whatever its EXIF block says."""
    from pillow_heif import HeifImageFile

    return HeifImageFile(stream)  # type: ignore[no-untyped-call]


# The classes are called by name instead of through PIL.Image.open, which warns or raises by the process-wide
# Image.MAX_IMAGE_PIXELS before a caller can look at the size.
READERS: dict[ImageFormat, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
}
_OPTIONAL: dict[ImageFormat, str] = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}
for _kind, _feature in _OPTIONAL.items():
    if not features.check(_feature):  # Pillow may be built without it
        del READERS[_kind]
if find_spec("pillow_heif") is not None:
    READERS["HEIC"] = _heic

_SIGNATURES: tuple[tuple[bytes, ImageFormat], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"BM", "BMP"),
)

# What files are that no decoder here reads, by their first bytes or by the brand of their container.
_UNREAD: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "PSD"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"version https://", "a Git LFS pointer"),
)
ADVICE = {
    "AVIF": "install a Pillow that reads it (pip install --upgrade pillow)",
    "WEBP": "install a Pillow that reads it (pip install --upgrade pillow)",
    "JPEG2000": "install a Pillow that reads it (pip install --upgrade pillow)",
    "HEIC": "install what reads it (pip install 'partlabel[heic]'), or convert it to JPEG",
    "JPEG XL": "convert it to JPEG, for instance with djxl of libjxl",
    "a Git LFS pointer": "fetch the image itself with `git lfs pull`",
}
_CLOSED = "folder that may not be read"
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})


class Folder(NamedTuple):
    """The image files of a folder.

    Args:
        files: their paths relative to the folder, with `/`, sorted.
        left_out: how many other files and folders there are, by what they are: an ending, "hidden", ...
    """

    files: tuple[str, ...]
    left_out: Mapping[str, int]


def format_of(head: bytes) -> str | None:
    """The format of a file by its first bytes (64 are enough): one of `ImageFormat`, the name of a format that cannot
    be read here, or None.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[start : start + 4] for start in range(16, len(head) - 3, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & _HEIC_BRANDS else None
    return next((kind for signature, kind in (*_SIGNATURES, *_UNREAD) if head.startswith(signature)), None)


def image_files(root: Path) -> Folder:
    """The images below a folder: told by their ending, and by their content where a name has none.

    Hidden files and folders are left out. A linked folder is followed once, after the real ones, unless it holds the
    folder itself. A link to nowhere counts as a file, so that reading it says what is wrong.
    """
    tree = file_tree(root, linked=True)
    left_out = Counter({"hidden": tree.hidden, "linked folder met before": tree.again, _CLOSED: len(tree.closed)})
    files: list[str] = []
    for name in tree.files:
        path, ending = os.path.join(root, name), os.path.splitext(name)[1]
        if not os.path.isfile(path) and os.path.exists(path):
            left_out["neither file nor folder"] += 1
        elif image_suffix(name) or (not ending and _holds_image(path)):
            files.append(name)
        else:
            left_out[ending.casefold() or "without ending"] += 1
    return Folder(tuple(files), dict(sorted((+left_out).items())))


def others(left_out: Mapping[str, int]) -> str:
    """What was left out, in words: `3 .txt, 1 hidden`; the most frequent first, ten at most."""
    most = sorted(left_out.items(), key=lambda entry: -entry[1])
    more = [f"{sum(count for _, count in most[10:]):,} others"] if len(most) > 10 else []
    return ", ".join([*(f"{count:,} {what}" for what, count in most[:10]), *more])


def _holds_image(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return format_of(stream.read(64)) in READERS
    except OSError:
        return False
