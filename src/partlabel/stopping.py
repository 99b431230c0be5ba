"""Ctrl-C and SIGTERM: a sentence at any moment, and a checkpoint first where a training goes on from one.

Signals may reach every process of a group (Slurm, systemd, `timeout`, a terminal), and may come twice for one request.
Processes that decode images leave the answer to their parent.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from partlabel.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_ONE_REQUEST = 0.25
"""Seconds within which several signals are one request: `timeout` sends SIGTERM to its child and to the group."""
_PATIENCE = 10.0
"""Seconds that leaving in good order may take."""

_ways_on: list[str] = []


class Stop(BaseException):
    """A request to stop where no step has to be finished first, with the sentence to end with.

    No `except Exception` swallows it.
    """


@contextmanager
def way_on(text: str) -> Iterator[None]:
    """Say how to go on, should the block be stopped; the outermost way counts."""
    _ways_on.append(text)
    try:
        yield
    finally:
        _ways_on.pop()


def and_then(sentence: str) -> str:
    """A sentence with the way on, if there is one."""
    return f"{sentence}; {_ways_on[0]}" if _ways_on else sentence


class _Handler:
    """What SIGINT and SIGTERM do in this process.

    Args:
        at_once: called where no step has to be finished, or on a second request; True tells that it is the first.
    """

    def __init__(self, at_once: Callable[[bool], None]) -> None:
        self.process, self.at_once = os.getpid(), at_once
        self.asked_at: float | None = None
        self.finishing_steps = False

    def __call__(self, number: int, frame: Any) -> None:
        if os.getpid() != self.process:
            return  # forked from this process a moment ago
        now = time.monotonic()
        first = self.asked_at is None
        if self.asked_at is None:
            self.asked_at = now
            if self.finishing_steps:
                return
        elif now - self.asked_at < _ONE_REQUEST:
            return
        self.at_once(first)

    def asked(self) -> bool:
        """Whether somebody asked to stop."""
        return self.asked_at is not None


@contextmanager
def stoppable_command() -> Iterator[None]:
    """For the command line: a request to stop raises `Stop`, or ends the process if that takes too long or it comes
    again.
    """
    handler = _Handler(_stop_command)
    hook = sys.unraisablehook

    def quiet(unraisable: Any) -> None:
        if not handler.asked():  # a `Stop` that nobody could catch: the alarm ends the process
            hook(unraisable)

    sys.unraisablehook = quiet
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    alarm = signal.signal(signal.SIGALRM, lambda number, frame: _leave())
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, old in {**before, signal.SIGALRM: alarm}.items():
            signal.signal(number, old)
        if not handler.asked():
            sys.unraisablehook = hook
        atexit.register(_ignore_signals)  # all is said and written; what is left is taking down the interpreter


@contextmanager
def finishing_steps(instead: str) -> Iterator[Callable[[], bool]]:
    """Within, a first request only sets a flag, to be looked at between steps; a second one ends the block at once.

    Args:
        instead: the sentence of a second request, or of one that the steps did not see any more.

    Yields:
        A function that tells whether somebody asked to stop.

    Raises:
        Interrupted: a request came after the last look at the flag.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    installed = before[signal.SIGINT]
    handler = installed if isinstance(installed, _Handler) else _Handler(lambda first: _interrupt(instead))
    for number in SIGNALS:
        signal.signal(number, handler)
    outer, handler.finishing_steps = handler.finishing_steps, True
    try:
        yield handler.asked
    finally:
        handler.finishing_steps = outer
        for number, old in before.items():
            signal.signal(number, old)
    if handler.asked():
        raise Interrupted(instead)


def take_over_signals(asked: Callable[[], bool]) -> None:
    """Put the handler of `finishing_steps` back where a library has put its own in front of it."""
    handler = getattr(asked, "__self__", None)
    if isinstance(handler, _Handler):
        for number in SIGNALS:
            signal.signal(number, handler)


def leave_signals_to_the_parent() -> None:
    """For a worker process: whatever reaches the whole group, its parent decides when it ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(instead: str) -> NoReturn:
    raise Interrupted(instead)


def _stop_command(first: bool) -> None:
    if not first:
        _leave()
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    raise Stop(and_then("stopped"))


def _leave() -> NoReturn:
    """End this process now. Files are written whole or not at all, and workers end with their parent."""
    shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
    os.write(2, f"{shown}partlabel: {and_then('stopped at once')}\n".encode(errors="backslashreplace"))
    os._exit(Interrupted.exit_code)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
