"""Content hashes of pictures, remembered from one session to the next, so that a picture is not read to be known."""

import hashlib
import os
import re
import time
from pathlib import Path
from threading import Lock

from partlabel.cache import trusted
from partlabel.images.fingerprint import content_hash

_LINE = re.compile(r"([0-9a-f]{32}) ([0-9a-f]{32})")
_SETTLED = 2_000_000_000
"""Nanoseconds after which a change of a file has another time, by the coarsest clock of a file system (FAT)."""


class KnownHashes:
    """`content_hash`, with an index by place, size and times of a file. Safe in threads.

    Args:
        path: the index, to which lines are appended; None: nothing is remembered. A line that is lost, or cut short,
            costs reading a picture once more.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = Lock()
        self._known: dict[str, str] = {}
        if path is not None and trusted(path):
            try:
                lines = path.read_text(encoding="ascii", errors="replace").splitlines()
            except OSError:
                lines = []
            self._known = {found[1]: found[2] for line in lines if (found := _LINE.fullmatch(line))}

    def __call__(self, file: Path) -> str:
        """The content hash of a file.

        Raises:
            ImageError: it cannot be read.
            OSError: there is no such file.
        """
        state = file.stat()
        times = state.st_mtime_ns, state.st_ctime_ns
        place = f"{state.st_dev} {state.st_ino} {state.st_size} {times} {os.path.realpath(file)}"
        key = hashlib.blake2b(place.encode(errors="surrogateescape"), digest_size=16).hexdigest()
        if (known := self._known.get(key)) is not None:
            return known
        digest = content_hash(file)
        if time.time_ns() - max(times) > _SETTLED:
            self._remember(key, digest)
        return digest

    def _remember(self, key: str, digest: str) -> None:
        with self._lock:
            self._known[key] = digest
            if self.path is None:
                return
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="ascii") as file:
                    file.write(f"{key} {digest}\n")
            except OSError:  # a full or read-only cache costs time, not the page
                self.path = None
