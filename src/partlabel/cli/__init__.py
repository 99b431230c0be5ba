"""The command line: one file per verb; parses, calls the api, prints."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from partlabel.errors import Interrupted, PartlabelError, StorageError
from partlabel.stopping import Stop, stoppable_command
from partlabel.wording import printable


def main() -> None:
    """Entry point of `partlabel`: expected errors become one sentence and an exit code."""
    try:
        with stoppable_command():
            _run()
    except BrokenPipeError:  # `| head` has seen enough
        _discard_output()
        sys.exit(0)
    except Stop as stop:
        _end(Interrupted(str(stop)))


def _run() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal's encoding lacks is shown as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        _run_verb()
    except PartlabelError as error:
        _end(error)


def _run_verb() -> None:
    from partlabel.cli.app import app

    try:
        with _printing():
            app(prog_name="partlabel")
    except SystemExit:
        with _printing():
            sys.stdout.flush()  # while an error can still be told in a sentence
        raise


def _end(error: PartlabelError) -> None:
    print(f"partlabel: {printable(str(error))}", file=sys.stderr)
    sys.exit(error.exit_code)


@contextmanager
def _printing() -> Iterator[None]:
    """A full disk behind standard output is a sentence; files have their own (`files.storage_errors`)."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO} or isinstance(error, StorageError):
            raise
        _discard_output()
        raise StorageError(f"what was printed could not be written: {error.strerror}") from error


def _discard_output() -> None:
    """Python flushes standard output once more when it ends, and would complain about the same thing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
