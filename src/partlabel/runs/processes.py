"""Several processes of one training: the first one writes, the others open what it wrote.

There are several only where somebody asked for them: Lightning started them because of `devices` and `strategy`, or
torchrun did. What Slurm, torchrun or a platform left in the environment besides decides nothing.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from partlabel.errors import RunError, UsageError

_ADDRESS = ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_TORCHRUN = ("RANK", *_ADDRESS)
_LIGHTNING = ("NODE_RANK", *_ADDRESS)
_NAMES = ("RANK", "NODE_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "SLURM_PROCID", *_ADDRESS)


class Group(NamedTuple):
    """The processes that train together.

    Args:
        rank: number of this process.
        size: how many there are; 1 too for a process that may start others itself.
        torchrun: whether torchrun, or somebody who sets all that it sets, started them.
    """

    rank: int
    size: int
    torchrun: bool


def process_group() -> Group:
    """Who this process is."""
    for names in (_TORCHRUN, _LIGHTNING):
        found = [os.environ.get(name, "") for name in names]
        rank, size = (
            os.environ.get("RANK" if names is _TORCHRUN else "LOCAL_RANK", ""),
            os.environ.get("WORLD_SIZE", ""),
        )
        if all(found) and rank.isdigit() and size.isdigit() and int(rank) < int(size) > 1:
            return Group(int(rank), int(size), names is _TORCHRUN)
    return Group(0, 1, False)


def process_rank() -> int:
    """Number of this process; 0 if it is the only one."""
    return process_group().rank


@contextmanager
def only_what_was_asked() -> Iterator[Group]:
    """Within, the environment holds of all such variables only those of a group that was asked for."""
    group, before = process_group(), {name: os.environ[name] for name in _NAMES if name in os.environ}
    kept: tuple[str, ...] = ()
    if group.size > 1:
        kept = (*_TORCHRUN, "LOCAL_WORLD_SIZE", "GROUP_RANK") if group.torchrun else _LIGHTNING
    try:
        for name in before.keys() - {*kept}:
            del os.environ[name]
        yield group
    finally:
        for name in _NAMES:
            os.environ.pop(name, None)
        os.environ.update(before)


def check_group(devices: int | str, *, on_cpu: bool) -> None:
    """Refuse torchrun's processes where the settings make one process.

    Raises:
        UsageError: several processes would train the same run, each by itself.
    """
    group = process_group()
    if group.torchrun and (str(devices) == "1" or (devices == "auto" and on_cpu)):
        raise UsageError(
            f"torchrun started {group.size} processes, but the settings are for one; start it without torchrun, or "
            f"take --set devices={group.size} --set strategy=ddp (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and "
            "MASTER_PORT together stand for torchrun)"
        )


def wait_for(path: Path, seconds: float = 120) -> None:
    """Wait until the first process has written a file.

    Raises:
        RunError: it did not come.
    """
    deadline = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() > deadline:
            raise RunError(f"{path} did not appear within {seconds:g} seconds; has the first process stopped?")
        time.sleep(0.1)
