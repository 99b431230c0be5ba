"""How long work tells where it is: a rich progress bar on a terminal, plain lines elsewhere, nothing by default."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from partlabel.wording import printable

Tick = Callable[[int, int], None]
"""Called with (done, total)."""


def unheard(done: int, total: int) -> None:
    """A `Tick` that nobody listens to."""


class Reporter(Protocol):
    """Where a verb says what it does."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def track(self, what: str) -> AbstractContextManager[Tick]:
        """A context that yields a `Tick` for one long step."""


class Silent:
    """Says nothing; the default in Python."""

    def say(self, text: str) -> None:
        """Ignore the line."""

    @contextmanager
    def track(self, what: str) -> Iterator[Tick]:
        """Ignore the steps."""
        yield unheard


SILENT = Silent()


class BarsOnly:
    """Passes on how long work goes on, and not what it says.

    Args:
        reporter: where progress goes.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.track = reporter.track

    def say(self, text: str) -> None:
        """Ignore the line."""


class Terminal:
    """For the command line: writes to standard error, so that standard output stays for results."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print the line."""
        self.console.print(printable(text), highlight=False, markup=False)

    @contextmanager
    def track(self, what: str) -> Iterator[Tick]:
        """A bar on a terminal; elsewhere a line at most every thirty seconds."""
        if not sys.stderr.isatty():
            yield _Lines(self, what)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """A line of progress at most every thirty seconds."""

    def __init__(self, terminal: Terminal, what: str) -> None:
        self.terminal, self.what, self.last = terminal, what, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.last >= 30:
            self.last = time.monotonic()
            self.terminal.say(f"{self.what}: {done} of {total}")
