"""Pictures as the page shows them: small ones, made once and kept in the cache folder by content, and large ones."""

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from PIL import Image, ImageDraw

from partlabel.cache import default_cache, trusted
from partlabel.drawing.thumbnails import fitted
from partlabel.errors import ImageError, StorageError
from partlabel.files import write_bytes
from partlabel.images.decode import decode
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import resolve
from partlabel.reviewing.hashes import KnownHashes

SIZES = (160, 320, 640)
LARGE = 2048
_QUALITY = {160: 80, 320: 82, 640: 85, LARGE: 90}
_KEPT_LARGE = 8
_VERSION = "1"
"""Part of every key: another one where thumbnails come out differently."""
_START, _END = b"\xff\xd8", b"\xff\xd9"


class Picture(NamedTuple):
    """A JPEG, and the name by which a browser knows it again; `etag` is None where it should not be kept."""

    content: bytes
    etag: str | None


class Large(NamedTuple):
    """A JPEG of at most 2,048 pixels, and width and height of the upright picture in its file."""

    picture: Picture
    size: tuple[int, int] | None


class Pictures:
    """The pictures below an image folder. Safe in threads.

    Args:
        root: the image folder.
        limits: what a picture may be.

    Attributes:
        unreadable: names of the pictures that are there and could not be shown so far.
    """

    def __init__(self, root: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.root, self.limits = root, limits
        self.unreadable: set[str] = set()
        self.folder: Path | None = None
        try:
            self.folder = default_cache() / "thumbnails"
        except StorageError:  # no home folder: they are made each time
            self.folder = None
        self._hash = KnownHashes(None if self.folder is None else self.folder / "hashes.txt")
        self._large: OrderedDict[str, Large] = OrderedDict()
        self._lock = Lock()

    def etag(self, name: str, size: int) -> str | None:
        """What a browser that has this picture was told; None for one that cannot be read."""
        found = self._found(name)
        return None if found is None else _etag(found[1], size)

    def thumbnail(self, name: str, size: int) -> Picture:
        """The picture with a longer side of at most `size` pixels, one of `SIZES`; a drawn sign where it cannot be
        shown.
        """
        found = self._found(name)
        if found is None:
            return Picture(_sign(size), None)
        path, digest = found
        kept = None if self.folder is None else self.folder / digest[:2] / f"{digest}-{size}-{_VERSION}.jpg"
        content = None if kept is None else _read(kept)
        if content is None:
            try:
                content = _encoded(decode(path, limits=self.limits, at_least=size), size)
            except (ImageError, MemoryError):
                self.unreadable.add(name)
                return Picture(_sign(size), None)
            if kept is not None:
                _keep(kept, content)
        return Picture(content, _etag(digest, size))

    def large(self, name: str) -> Large:
        """The picture, upright, at most 2,048 pixels; the last few are kept in memory."""
        there = self._found(name)
        if there is None:
            return Large(Picture(_sign(640), None), None)
        path, digest = there
        with self._lock:
            if digest in self._large:
                self._large.move_to_end(digest)
                return self._large[digest]
        try:
            decoded = decode(path, limits=self.limits)
            found = Large(Picture(_encoded(decoded, LARGE), _etag(digest, LARGE)), decoded.size)
        except (ImageError, MemoryError):
            self.unreadable.add(name)
            return Large(Picture(_sign(640), None), None)
        with self._lock:
            self._large[digest] = found
            while len(self._large) > _KEPT_LARGE:
                self._large.popitem(last=False)
        return found

    def missing(self, names: Sequence[str]) -> list[str]:
        """Those of the names at which there is no file; a glance, in seconds for a million of them."""
        gone = [name for name in names if not os.path.isfile(os.path.join(self.root, name))]
        return [name for name in gone if "\\" not in name or self._found(name) is None]

    def _found(self, name: str) -> tuple[Path, str] | None:
        """Path and content hash of a picture; None if there is no such file below the folder."""
        try:
            path = resolve(self.root, name)
            return (path, self._hash(path)) if path.is_file() else None  # a pipe would block for ever
        except (ImageError, OSError):
            return None


def _etag(digest: str, size: int) -> str:
    return f'"{digest}-{size}-{_VERSION}"'


def _encoded(decoded: Image.Image, size: int) -> bytes:
    stream = io.BytesIO()
    small = decoded if max(decoded.size) <= size else fitted(decoded, size)
    small.save(stream, "JPEG", quality=_QUALITY[size])
    return stream.getvalue()


def _read(kept: Path) -> bytes | None:
    """A kept thumbnail; None if there is none, or what is there is not whole."""
    if not trusted(kept):
        return None
    try:
        content = kept.read_bytes()
    except OSError:
        return None
    return content if content.startswith(_START) and content.endswith(_END) else None


def _keep(kept: Path, content: bytes) -> None:
    try:
        write_bytes(kept, content)
    except StorageError:  # a full or read-only cache costs time, not the page
        return


def _sign(size: int) -> bytes:
    """A grey picture with a crossed frame: there is no picture to show."""
    width, height = size, size * 3 // 4
    image = Image.new("RGB", (width, height), (226, 226, 226))
    draw = ImageDraw.Draw(image)
    inset, line = size // 8, max(2, size // 80)
    frame = (inset, inset, width - inset, height - inset)
    draw.rectangle(frame, outline=(140, 140, 140), width=line)
    draw.line(frame, fill=(140, 140, 140), width=line)
    draw.line((inset, height - inset, width - inset, inset), fill=(140, 140, 140), width=line)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()
