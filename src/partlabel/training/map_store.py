"""Maps on disk: one folder per (backbone, view, draw), in it segments that are written once and never changed.

A segment is a pair of files: `NAME.f16`, the values of one image after the other as float16, and `NAME.txt`, one line
per image in the same order: its key and the CRC-32 of its values. A line is written after its values and believed only
if they agree, so whatever a crash, a full disk or a stray write leaves behind is computed again. Every process writes a
segment of its own, so several may write at once; what they compute twice has the same bits.
"""

import os
import re
import shutil
import stat
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partlabel.errors import StorageError
from partlabel.files import storage_errors, write_json

_PATTERN = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{8})\n")
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_ADVICE = "set PARTLABEL_CACHE to a folder that you can write, or train without --freeze"

_compared: dict[tuple[Any, ...], tuple[tuple[int, ...], NDArray[np.bool_]]] = {}
"""What this process found when it compared checksums: by file, its state then and which rows were whole."""


@dataclass(frozen=True)
class MapStore:
    """Cached maps of some images.

    Args:
        segments: float16 `[stored, ...]` each, memory-mapped.
        rows: int64 `[N, 2]`, the segment and the row in it of each image.
    """

    segments: tuple[NDArray[np.float16], ...]
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the maps of one image."""
        return self.segments[0].shape[1:] if self.segments else ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: NDArray[np.int64]) -> Tensor:
        """Maps of images, float32 `[len(index), ...]`."""
        where = self.rows[index]
        values = np.empty((len(where), *self.shape), np.float32)
        for number, segment in enumerate(self.segments):
            mine = where[:, 0] == number
            if mine.any():
                values[mine] = segment[where[mine, 1]]
        return torch.from_numpy(values)


def make_cache(cache: Path) -> None:
    """Make the cache's folder if need be, and prove that it can be written.

    A folder made at the default place is for its user alone. One that someone else owns is used only where
    PARTLABEL_CACHE names it.

    Raises:
        StorageError: it cannot be made or written, or belongs to someone else.
    """
    named = "PARTLABEL_CACHE" in os.environ
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.mkdir(mode=0o777 if named else 0o700, exist_ok=True)
        probe = cache / f".partlabel-{os.getpid()}-{time.time_ns():x}"
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | _NO_LINKS, 0o600))
        probe.unlink()
        owner = cache.stat().st_uid
    except OSError as error:
        raise StorageError(f"maps cannot be kept in {cache} ({error.strerror}); {_ADVICE}") from error
    if not named and hasattr(os, "getuid") and os.getuid() and owner not in {0, os.getuid()}:
        raise StorageError(f"the folder {cache} belongs to another user; {_ADVICE}")


def check_room(cache: Path, needed: int) -> None:
    """Refuse to start what cannot end.

    Raises:
        StorageError: the disk has less room than the maps need, or the folder cannot be written.
    """
    make_cache(cache)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise StorageError(
            f"the maps need {needed / 1e9:.1f} GB but {cache} has {free / 1e9:.1f} GB free; point PARTLABEL_CACHE to "
            f"a larger disk, choose a smaller size, or train without --freeze"
        )


class MapFolder:
    """The segments of one folder.

    Args:
        path: the folder; it need not exist.
        shape: shape of the maps of one image.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = path, shape
        self.segments: tuple[NDArray[np.float16], ...] = ()
        self.rows: dict[str, tuple[int, int]] = {}
        self.damaged = 0
        self.reload()

    def reload(self) -> None:
        """Look what is there now.

        Raises:
            StorageError: the folder cannot be read.
        """
        segments: list[NDArray[np.float16]] = []
        rows: dict[str, tuple[int, int]] = {}
        damaged = 0
        try:
            names = sorted(entry.name for entry in os.scandir(self.path) if entry.name.endswith(".txt"))
            for name in names:
                keys, values, whole = self._segment(self.path / name)
                for row in np.flatnonzero(whole):
                    rows.setdefault(keys[row], (len(segments), int(row)))
                damaged += int((~whole).sum())
                segments.append(values)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise StorageError(
                f"the maps in {self.path} cannot be read ({error.strerror}); delete that folder or {_ADVICE}"
            ) from error
        self.segments, self.rows, self.damaged = tuple(segments), rows, damaged

    def missing(self, keys: Sequence[str]) -> list[str]:
        """The keys, each once, that have no maps here."""
        return [key for key in dict.fromkeys(keys) if key not in self.rows]

    def store(self, keys: Sequence[str]) -> MapStore:
        """The maps of these keys, all of which are here."""
        return MapStore(self.segments, np.asarray([self.rows[key] for key in keys], np.int64).reshape(-1, 2))

    @contextmanager
    def writer(self, description: Mapping[str, Any]) -> Iterator["Writer"]:
        """A new segment; what was appended stays, however the block ends.

        Raises:
            StorageError: the folder cannot be written.
        """
        if self.path.is_symlink():
            raise StorageError(f"{self.path} is a link, which maps are not written through; delete it")
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "description.json").is_file():
            write_json(self.path / "description.json", {**description, "shape": self.shape})
        writer = Writer(self.path / f"{time.time_ns():016x}-{os.getpid()}")
        try:
            yield writer
        finally:
            writer.close()

    def _segment(self, index: Path) -> tuple[list[str], NDArray[np.float16], NDArray[np.bool_]]:
        """Keys of a segment, its values, and which of them are as they were written."""
        values = index.with_suffix(".f16")
        nothing: tuple[list[str], NDArray[np.float16], NDArray[np.bool_]]
        nothing = [], np.empty((0, *self.shape), np.float16), np.empty(0, bool)
        try:
            with open(index, "rb", opener=_open) as lines, open(values, "rb", opener=_open) as stream:
                if not (self._trusted(lines) and self._trusted(stream)):
                    return nothing
                found = list(_PATTERN.finditer(lines.read()))
                size = os.fstat(stream.fileno())
                per_image = 2 * int(np.prod(self.shape))
                count = min(len(found), size.st_size // per_image)
                if not count:
                    return nothing
                maps = np.memmap(stream, np.float16, "r", shape=(count, *self.shape))
        except OSError:  # deleted half, a link, not ours to read: as good as not there
            return nothing
        state = (size.st_size, size.st_mtime_ns)
        before, whole = _compared.get((str(values), size.st_ino, self.shape), (state, np.empty(0, bool)))
        if before != state and size.st_size <= before[0]:  # it did not just grow
            whole = np.empty(0, bool)
        new = range(len(whole), count)
        sums = (zlib.crc32(maps[row].tobytes()) == int(found[row][2], 16) for row in new)
        whole = np.concatenate([whole, np.fromiter(sums, bool, len(new))])[:count]
        _compared[str(values), size.st_ino, self.shape] = state, whole
        return [match[1].decode() for match in found[:count]], maps, whole

    def _trusted(self, stream: BinaryIO) -> bool:
        """Whether a file is one whose writer the owner of the cache lets write there.

        In a folder that everybody may write, only what the user, root or the folder's owner wrote is read.
        """
        if not hasattr(os, "getuid"):
            return True
        cache, state = self.path.parent.stat(), os.fstat(stream.fileno())
        everybody = any(stat.S_IMODE(mode) & stat.S_IWOTH for mode in (cache.st_mode, self.path.stat().st_mode))
        return stat.S_ISREG(state.st_mode) and (not everybody or state.st_uid in {os.getuid(), 0, cache.st_uid})


class Writer:
    """One growing segment.

    Args:
        path: its path without ending.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self._streams: tuple[BinaryIO, BinaryIO] | None = None

    def append(self, keys: Sequence[str], maps: NDArray[np.float16]) -> None:
        """Keep the maps `[n, ...]` of n images.

        Raises:
            StorageError: there is no room.
        """
        if self._streams is None:
            self._streams = _create(self.path.with_suffix(".f16")), _create(self.path.with_suffix(".txt"))
        lines = "".join(f"{key} {zlib.crc32(one.tobytes()):08x}\n" for key, one in zip(keys, maps, strict=True))
        for stream, content in zip(self._streams, (maps.tobytes(), lines.encode()), strict=True):
            write(stream, content)
        self.count += len(keys)

    def close(self) -> None:
        """Bring the segment to the disk; an empty one is removed."""
        for stream in self._streams or ():
            with suppress(OSError):  # some shares cannot; the checksums tell what a crash lost
                os.fsync(stream.fileno())
            stream.close()
            if not self.count:
                Path(stream.name).unlink(missing_ok=True)


def write(stream: BinaryIO, content: bytes) -> None:
    """Write to a segment.

    Raises:
        StorageError: there is no room.
    """
    try:
        stream.write(content)
    except OSError as error:
        raise StorageError(
            f"no room for maps in {stream.name} ({error.strerror}); free some space and run again"
        ) from error


def _create(path: Path) -> BinaryIO:
    try:
        return open(path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags | _NO_LINKS, 0o666))
    except OSError as error:
        raise StorageError(f"maps cannot be written to {path} ({error.strerror}); {_ADVICE}") from error


def _open(path: str, flags: int) -> int:
    """Open without following a link and without waiting for a pipe."""
    return os.open(path, flags | _NO_LINKS | getattr(os, "O_NONBLOCK", 0))
