"""Who runs a cell of a grid, among processes on one host or on several that share a folder.

A claim is the ownership of the cell's folder (`partlabel.runs.ownership`) with signs of life: its owner touches the
file every few seconds. A dead owner on this host is told by its process. One on another host counts as dead when its
file has not changed for `SILENCE` seconds while somebody looked on, by the clock of whoever looks: the clocks of hosts
and file servers are never compared, so that they may differ.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from partlabel.progress import Reporter, Tick
from partlabel.runs.ownership import OwnedError, Ownership, is_owned, owned

BEAT = 15.0
"""Seconds between two signs of life."""
SILENCE = 180.0
"""Seconds without a sign of life after which a process on another host counts as dead. Network file systems may show a
change as late as after a minute.
"""
LOOK = 3.0
"""Seconds between two looks at what others do."""


class ClaimLost(BaseException):
    """This process was silent for so long (asleep, or stopped) that another one has taken its cell.

    Nothing that is caught as `Exception` on the way may go on writing.
    """


class Claims:
    """What one process sees of the claims of others."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    @contextmanager
    def claim(self, folder: Path) -> Iterator["Claim"]:
        """Have a folder to oneself, with signs of life, while the block runs.

        Raises:
            OwnedError: another process has it.
            StorageError: the folder cannot be made or written.
        """
        with owned(folder, self._silent) as ownership:
            claim = Claim(ownership)
            beating = threading.Thread(target=claim.beat_on, name="signs of life", daemon=True)
            beating.start()
            try:
                yield claim
            finally:
                claim.ended.set()
                beating.join()

    @contextmanager
    def in_turn(self, folder: Path, what: str, reporter: Reporter) -> Iterator[None]:
        """Like `claim`, but wait for others.

        Args:
            folder: the folder.
            what: what others do with it, for the line that says what is waited for.
            reporter: where that line goes.
        """
        with ExitStack() as stack:
            told = False
            while True:
                try:
                    stack.enter_context(self.claim(folder))
                    break
                except OwnedError as error:
                    if not told:
                        reporter.say(f"waiting while {error.owner} {what}")
                    told = True
                    time.sleep(LOOK / 10)
            yield

    def is_claimed(self, folder: Path) -> bool:
        """Whether another process has a folder, as far as can be told by now."""
        return is_owned(folder, self._silent)

    def _silent(self, path: Path) -> bool:
        """Whether nothing has changed about a file for as long as a dead owner takes to be believed dead."""
        try:
            state = path.stat()
        except FileNotFoundError:
            return True
        now, sign = time.monotonic(), (state.st_mtime_ns, state.st_ino)
        seen = self._seen.get(path)
        if seen is None or seen[0] != sign:
            self._seen[path] = sign, now
            return False
        return now - seen[1] > SILENCE


class Claim:
    """A folder that this process has.

    Args:
        ownership: what the file system holds of it.
    """

    def __init__(self, ownership: Ownership) -> None:
        self.ownership, self.ended = ownership, threading.Event()
        self._lost, self._last_sign = False, time.monotonic()

    def beat_on(self) -> None:
        """Give signs of life until the claim ends or is lost; for a thread of its own."""
        while not self.ended.wait(BEAT) and not self._lost:
            with suppress(OSError):  # the share may be back at the next one
                self._beat()

    def check(self) -> None:
        """Go on only if the claim still stands; cheap unless this process was silent for long.

        Raises:
            ClaimLost: another process has taken it.
        """
        if not self._lost and time.monotonic() - self._last_sign > SILENCE / 2:
            with suppress(OSError):
                self._beat()
        if self._lost:
            raise ClaimLost

    def confirm(self) -> None:
        """Like `check`, with a look at the file system: for the moment before a result is written.

        Raises:
            ClaimLost: another process has taken the claim.
        """
        with suppress(OSError):
            self._beat()
        self.check()

    def _beat(self) -> None:
        if self.ownership.holds():
            os.utime(self.ownership.path)
            self._last_sign = time.monotonic()
        else:
            self._lost = True


class Checked:
    """A reporter that looks at every line and step whether a claim still stands.

    Args:
        reporter: where progress goes.
        claim: the claim.
    """

    def __init__(self, reporter: Reporter, claim: Claim) -> None:
        self.reporter, self.claim = reporter, claim

    def say(self, text: str) -> None:
        """Pass the line on."""
        self.claim.check()
        self.reporter.say(text)

    @contextmanager
    def track(self, what: str) -> Iterator[Tick]:
        """Pass the steps on."""
        with self.reporter.track(what) as tick:

            def checked(done: int, total: int) -> None:
                self.claim.check()
                tick(done, total)

            yield checked
