"""Several processes of one training: the first one writes, the others open what it wrote."""

import os
import time
from pathlib import Path

from partlabel.errors import RunError


def process_rank() -> int:
    """Number of this process, as torchrun, Slurm or Lightning's own launcher tell it; 0 if nobody does."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


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
