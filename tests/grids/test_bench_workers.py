import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from partlabel.api.bench import bench
from partlabel.cli.app import app
from partlabel.errors import UsageError

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
STARTED = ('pseudo = "none"', 'pseudo = "none"\nstart = "bce"')

# Imports once, and forks before torch computes anything. Two workers at a time; one of them is killed at a random
# moment, five times, and another one takes its place.
DRIVER = """
import os, random, signal, sys, time
import torch
from partlabel.api.bench import bench
from partlabel.grids import claims

claims.LOOK = 0.1
moments = random.Random(int(sys.argv[3]))

def start(out):
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        bench(sys.argv[1], out=out)
        os._exit(0)
    return child

whole = start(sys.argv[2] + "/whole")
assert os.waitpid(whole, 0)[1] == 0
out, killed = sys.argv[2] + "/killed", 0
workers = [start(out), start(out)]
while workers:
    if killed < 5:
        time.sleep(moments.uniform(0.05, 1.0))
        victim = moments.choice(workers)
        os.kill(victim, signal.SIGKILL)
        status = os.waitpid(victim, 0)[1]
        workers.remove(victim)
        if os.WIFSIGNALED(status):
            killed += 1
            workers.append(start(out))
            continue
    else:
        status = os.waitpid(workers.pop(), 0)[1]
    assert status == 0, status
print(killed)
"""


def shown(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.*") if path.name != "costs.md"}


def test_workers_killed_at_any_moment_give_the_tables_of_an_undisturbed_run(write_grid: Write, tmp_path: Path) -> None:
    grid = write_grid(STARTED, ("seeds = [0, 1]", "curves = ['bce']\nseeds = [0, 1]"))
    command = [sys.executable, "-c", DRIVER, str(grid), str(tmp_path), "7"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 3
    assert shown(tmp_path / "killed") == shown(tmp_path / "whole")
    assert {"table.md", "table.csv", "curves.png", "plot-mAP.png"} < set(shown(tmp_path / "whole"))


def command(grid: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "partlabel", "bench", str(grid), "--out", str(out), *more]


def test_jobs_are_workers_here_that_stop_together_and_go_on(write_grid: Write, tmp_path: Path) -> None:
    grid, out = write_grid(STARTED, ("lr = [0.001, 0.01]", "lr = 0.01")), tmp_path / "out"
    running = subprocess.Popen(
        command(grid, out, "--jobs", "2"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    said = []
    for line in running.stderr:
        said.append(line)
        if "epoch 1/1" in line:
            running.send_signal(signal.SIGINT)
            break
    text, rest = running.communicate(timeout=120)
    said += rest.splitlines(keepends=True)
    assert running.returncode == 130, said
    assert text == ""
    assert re.search(r"stopped; go on with: partlabel bench .*grid.toml --out .*out --jobs 2", said[-1])
    assert {line[:3] for line in said[:-1] if line.startswith("[")} <= {"[1]", "[2]"}
    assert any("cell 1 of 4" in line for line in said)
    deadline = time.monotonic() + 10
    while list(out.glob("cells/*/.owner-*")):  # nobody is left
        assert time.monotonic() < deadline
    done = subprocess.run(command(grid, out, "--jobs", "2"), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (out / "table.md").read_text().strip()
    bench(grid, out=tmp_path / "alone")
    assert shown(out) == shown(tmp_path / "alone")
    helper = CliRunner().invoke(app, ["bench", str(grid), "--out", str(out), "--worker"])
    assert (helper.exit_code, helper.output) == (0, "")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--slurm", "partition=x"], "--slurm gives options of jobs; add --submit slurm"),
        (["--submit", "slurm", "--ray", "num_gpus=1"], "--ray gives options of jobs; add --submit ray"),
        (["--worker", "--jobs", "2"], "--worker is one process that helps"),
        (["--submit", "slurm", "--slurm", "partition"], "'partition' is no option of a cluster"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, more: list[str], sentence: str) -> None:
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "no.toml"), "--out", str(tmp_path), *more])
    assert isinstance(result.exception, UsageError)
    assert sentence in str(result.exception)


def test_a_number_of_processes_is_one_or_more(write_grid: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="jobs is 0; it must be 1 or more"):
        bench(write_grid(), out=tmp_path / "out", jobs=0)
