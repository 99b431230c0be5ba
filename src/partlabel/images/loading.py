"""Batches from worker processes: a worker ends with its parent, and one that dies is explained."""

import atexit
import ctypes
import errno
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from torch.utils.data import DataLoader, Dataset

from partlabel.errors import WorkerError
from partlabel.stopping import and_then, leave_signals_to_the_parent

_PR_SET_PDEATHSIG = 1


def loader(
    dataset: Dataset[Any],
    batches: Iterable[list[tuple[int, int]]],
    *,
    workers: int = 0,
    collate: Callable[[Any], Any] | None = None,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """A DataLoader over given batches. Read it within `explained_workers`.

    Args:
        dataset: takes (epoch, index) pairs.
        batches: the pairs of each batch.
        workers: processes that make batches; 0: this one.
        collate: how items become a batch; None: torch's way.
        pin_memory: copy batches to page-locked memory, for a GPU.
    """
    if workers:
        _end_workers_at_exit()
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=partial(_begin_worker, os.getpid()) if workers else None,
    )


@contextmanager
def explained_workers() -> Iterator[None]:
    """Turn the ways in which a worker process dies into a sentence.

    Raises:
        WorkerError: a worker was killed, could not be started, or found no shared memory.
    """
    try:
        yield
    except RuntimeError as error:
        if sentence := _why(str(error)):
            raise WorkerError(and_then(sentence)) from error
        raise
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.ENOMEM} and error.filename is None:
            raise WorkerError(
                and_then(f"no process can be started or fed ({error.strerror}); take fewer --workers")
            ) from error
        raise


def _why(message: str) -> str | None:
    """The sentence for an error of torch's DataLoader, if it is about a worker that died."""
    full = "No space left on device" in message and "torch_" in message
    if full or "out of shared memory" in message or "unable to allocate shared memory" in message:
        size = shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0
        return (
            f"/dev/shm, through which workers hand over images, has {size / 1e6:.0f} MB, which is too little; raise it "
            "(docker: --shm-size) or take fewer --workers (0 needs none)"
        )
    if "DataLoader worker" in message and ("killed by signal" in message or "exited unexpectedly" in message):
        return "a worker process was killed, probably for memory; take fewer --workers or a smaller batch_size"
    return None


@cache
def _end_workers_at_exit() -> None:
    """Before multiprocessing asks its daemons to end by a signal that ours ignore, and waits for them."""
    atexit.register(_kill_workers)


def _kill_workers() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler calls it an error
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def _begin_worker(parent: int, number: int) -> None:
    """End with the parent, even if it is killed; leave all other signals to it."""
    leave_signals_to_the_parent()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
