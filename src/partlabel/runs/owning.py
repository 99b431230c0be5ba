"""A run folder while it trains: one process has it, and what fails before it has trained leaves nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from partlabel.errors import Interrupted
from partlabel.runs.folder import RunFolder
from partlabel.runs.ownership import owned
from partlabel.runs.processes import process_rank


@contextmanager
def new_run(path: Path | str) -> Iterator[None]:
    """A new or empty folder, owned while the block creates the run and trains it.

    A block that fails before the first checkpoint leaves no trace, so that the same command can be given again. One
    that is stopped leaves a run to go on with.

    Raises:
        OwnedError: another process has the folder.
        RunError: the folder holds something.
        StorageError: the folder cannot be written.
    """
    run = RunFolder(path)
    if process_rank():
        yield
        return
    made = not run.path.exists()
    try:
        with owned(run.path):
            run.check_new()
            try:
                yield
            except BaseException as error:
                stopped = isinstance(error, Interrupted) or not isinstance(error, Exception)
                if not stopped or not (run.path / "run.json").is_file():
                    run.discard_unless_begun()
                raise
    finally:
        if made:
            with suppress(OSError):
                run.path.rmdir()  # only if nothing is left in it


@contextmanager
def earlier_run(run: RunFolder) -> Iterator[None]:
    """Own the folder of a run that goes on.

    Raises:
        OwnedError: another process has it, perhaps because it still trains.
        StorageError: the folder cannot be written.
    """
    if process_rank():
        yield
        return
    with owned(run.path):
        yield
