"""How many threads to compute with: what the user says, else what the machine has free and the work can use."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_USER_SAYS = "OMP_NUM_THREADS"


def threads_of_user() -> int | None:
    """OMP_NUM_THREADS, if it is set to a number."""
    first = os.environ.get(_USER_SAYS, "").split(",")[0].strip()
    return max(1, int(first)) if first.isdecimal() else None


def free_cores() -> int:
    """Cores that this process may use and that nothing else uses now, at least 1.

    What others use is the load average of the last minute, rounded down: a core that is half idle is taken.
    """
    cores = min(_allowed_cores(), _quota())
    try:
        busy = int(os.getloadavg()[0])
    except OSError:  # not every system tells
        busy = 0
    return max(1, cores - busy)


def cores_to_use() -> int:
    """Threads for work that splits into independent parts: the user's number, else the free cores."""
    return threads_of_user() or free_cores()


@contextmanager
def free_threads() -> Iterator[None]:
    """Compute in the block with no more of torch's threads than there are free cores, or as the user says.

    Torch starts with a thread per core. Where another program keeps a core busy, threads that wait for each other take
    several times as long as one.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, cores_to_use()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_for(multiplications: float) -> int:
    """Threads for one step of so many multiplications.

    A step of less than 200 million takes one core a few milliseconds. Splitting it gains nothing, and on a machine that
    does something else, threads that wait for each other at every operation cost several times the work.
    """
    return threads_of_user() or (1 if multiplications < 2e8 else free_cores())


def _allowed_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity
        return os.cpu_count() or 1


def _quota() -> int:
    """Cores that a container's limit on processor time amounts to."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or no limit
        return sys.maxsize
