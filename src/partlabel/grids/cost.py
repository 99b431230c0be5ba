"""What a training took of the machine: time and memory."""

import platform
import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Measure the block; at its end the mapping holds `seconds`, `memory_mb`, `gpu_memory_mb` and `device`.

    `memory_mb` is the most that was resident of this process while the block ran, with the maps and libraries that it
    shares with others, without processes that decode images; where the system cannot say it anew, since the process
    began. `gpu_memory_mb` is the most that torch had allocated on the first GPU; None without a GPU.
    """
    import torch

    found: dict[str, Any] = {}
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    _forget_peak()
    started = time.monotonic()
    yield found
    found["seconds"] = round(time.monotonic() - started, 1)
    found["memory_mb"] = round(_peak() / 1e6)
    found["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6) if gpu else None
    found["device"] = torch.cuda.get_device_name() if gpu else f"CPU ({platform.machine()})"


def _forget_peak() -> None:
    """Let Linux count the largest resident size from here on."""
    with suppress(OSError):  # another system, or a container that forbids it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> float:
    """The largest resident size in bytes."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return 1024 * int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
