"""Worker processes: what reaches the whole group does not end them, and one that dies is explained."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from partlabel.errors import WorkerError
from partlabel.images.loading import explained_workers, loader
from partlabel.stopping import way_on

BATCHES = [[(0, 4 * batch + number) for number in range(4)] for batch in range(6)]


class _Signalled(Dataset[Any]):
    """Sends its own process a signal at one image."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getitem__(self, item: tuple[int, int]) -> torch.Tensor:
        if item[1] == 9:
            os.kill(os.getpid(), self.number)
        return torch.tensor(item[1])

    def __len__(self) -> int:
        return 24


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_group_leaves_workers_alive(number: int) -> None:
    with explained_workers():
        read = torch.cat(list(loader(_Signalled(number), BATCHES, workers=2)))
    assert read.tolist() == list(range(24))


def test_a_killed_worker_is_a_sentence() -> None:
    with (
        way_on("go on with: this"),
        pytest.raises(WorkerError, match=r"was killed, probably for memory; take fewer .*; go on with: this"),
        explained_workers(),
    ):
        list(loader(_Signalled(signal.SIGKILL), BATCHES, workers=2))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that dataloader's workers are out "
         "of shared memory. Please try to raise your shared memory limit.", "--shm-size"),
        ("unable to allocate shared memory(shm) for file </torch_1>: Success (0)", "--shm-size"),
        ("DataLoader worker (pid(s) 5) exited unexpectedly", "was killed"),
    ],
)  # fmt: skip
def test_what_torch_says_of_dead_workers(message: str, said: str) -> None:
    with pytest.raises(WorkerError, match=said), explained_workers():
        raise RuntimeError(message)
    with pytest.raises(RuntimeError, match="another"), explained_workers():
        raise RuntimeError("another fault")


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, time, torch\n"
        "from partlabel.images.loading import loader\n"
        "class Slow(torch.utils.data.Dataset):\n"
        "    def __getitem__(self, item):\n"
        "        print(os.getpid(), flush=True)\n"
        "        time.sleep(600)\n"
        "next(iter(loader(Slow(), [[(0, 0)]], workers=1)))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout as stream:
        worker = int(stream.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
