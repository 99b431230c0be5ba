import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Imports once, and forks before torch computes anything. Each child kills itself at its sixth line or step: in a
# search, in a training, in scoring. The next one goes on with what is there.
DRIVER = """
import os, signal, sys
from contextlib import contextmanager
import torch
from partlabel.api.bench import bench

class Killer:
    def __init__(self, after):
        self.left = after
    def say(self, text):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    @contextmanager
    def track(self, what):
        yield lambda done, total: None if what.startswith("checking") else self.say(what)

def attempt(out, after):
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        bench(sys.argv[1], out=out, reporter=Killer(after))
        os._exit(0)
    return os.waitpid(child, 0)[1]

assert attempt(sys.argv[2] + "/whole", -1) == 0
killed = 0
while (status := attempt(sys.argv[2] + "/killed", 6)) != 0:
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    killed += 1
    assert killed < 40
print(killed)
"""


@pytest.mark.slow
def test_killed_again_and_again_gives_the_same_tables(write_grid: Callable[..., Path], tmp_path: Path) -> None:
    grid = write_grid(("seeds = [0, 1]", "top = 1\ncurves = ['bce', 'saliency, no CR']\nseeds = [0, 1]"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, str(grid), str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 4
    shown = {path.name for path in (tmp_path / "whole").glob("*.*")} - {"grid.toml", "costs.md"}
    assert shown >= {"table.md", "table.csv", "plot-mAP.png", "curves.png"}
    for name in shown:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    cells = [{path.name for path in (tmp_path / out / "cells").iterdir()} for out in ("whole", "killed")]
    assert cells[0] == cells[1]
    assert len(cells[0]) == 3
    for path in (tmp_path / "whole" / "cells").glob("*/cell.json"):
        whole = json.loads(path.read_text())
        killed = json.loads((tmp_path / "killed" / path.relative_to(tmp_path / "whole")).read_text())
        assert {**killed, "cost": 0} == {**whole, "cost": 0}
