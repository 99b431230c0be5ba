"""The folder of a grid's results: for one process at a time, and without what is large."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from partlabel.errors import RunError, StorageError


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second process out of the folder."""
    lock = out / ".lock"
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror}") from error
    with open(lock, "w", encoding="utf-8") as stream:
        try:
            # Unlike flock, such a lock does not live on in worker processes that outlive a killed run.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another bench is writing to {out}; wait until it ends or choose another --out") from error
        yield


def shed_weights(run: Path) -> None:
    """Delete what is large and can be made again; settings, log and held-out cells stay."""
    for folder in (run, *run.glob("find_lr/*")):
        for name in ("checkpoints", "model"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "labels.parquet").unlink(missing_ok=True)
