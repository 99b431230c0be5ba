"""Real clusters of one machine: a Slurm started from Debian's packages, and a local Ray."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partlabel.api.bench import bench
from partlabel.errors import MissingDependencyError, UsageError
from partlabel.grids.hand_out import options_of
from partlabel.grids.ray_tasks import Ray
from partlabel.grids.slurm import Slurm

Write = Callable[..., Path]
STARTED = ('pseudo = "none"', 'pseudo = "none"\nstart = "bce"')
ONE_RATE = ("lr = [0.001, 0.01]", "lr = 0.01")

PACKAGES = ["slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins"]
LIBRARIES = ["libmunge2", "libhwloc15", "libjson-c5", "liblua5.1-0", "libnuma1", "libyaml-0-2", "libdbus-1-3"]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
PluginDir={plugins}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldPort={port}
SlurmdPort={other_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=60 State=UP
"""


def unpacked(root: Path) -> Path:
    """Debian's packages in a folder of their own; skips where they cannot be had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("no apt-get here to download Slurm with")
    (root / "packages").mkdir()
    download = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *PACKAGES, *LIBRARIES]
    for attempt in (download, ["apt-get", "update", "-qq"], download):
        done = subprocess.run(attempt, cwd=root / "packages", capture_output=True, text=True, check=False, timeout=120)
        if done.returncode == 0 and attempt is download:
            break
    else:
        pytest.skip(f"Slurm's packages cannot be downloaded: {done.stderr.strip()[-200:]}")
    for package in (root / "packages").glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(root / "unpacked")], check=True)
    return root / "unpacked"


def free_port() -> int:
    with socket.socket() as stream:
        stream.bind(("127.0.0.1", 0))
        return int(stream.getsockname()[1])


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables with which Slurm's commands reach a Slurm of one node; all its addresses are 127.0.0.1."""
    pytest.importorskip("submitit")
    root = tmp_path_factory.mktemp("slurm")
    there = unpacked(root)
    libraries = [there / "usr/lib/x86_64-linux-gnu", there / "usr/lib/x86_64-linux-gnu/slurm-wlm"]
    for folder in ("state", "spool", "bin"):
        (root / folder).mkdir()
    (root / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            user=subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip(),
            plugins=libraries[1],
            root=root,
            port=free_port(),
            other_port=free_port(),
        )
    )
    environment = {
        "PATH": f"{there / 'usr/bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "SLURM_CONF": str(root / "slurm.conf"),
    }
    daemons = []
    for name, more in (("slurmctld", []), ("slurmd", ["-d", str(there / "usr/sbin/slurmstepd-wlm")])):
        with open(root / f"{name}.log", "w") as log:
            command = [str(there / f"usr/sbin/{name}-wlm"), "-D", *more]
            daemons.append(
                subprocess.Popen(
                    command, env={**os.environ, **environment}, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )
            )
    try:
        deadline = time.monotonic() + 30
        while "idle" not in (state := run(["sinfo", "--noheader"], environment)):
            if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in daemons):
                logs = "".join((root / f"{name}.log").read_text()[-300:] for name in ("slurmctld", "slurmd"))
                pytest.skip(f"Slurm does not start here: {state}{logs}")
            time.sleep(0.2)
        yield environment
    finally:
        run(["scancel", "--full", "--state=RUNNING"], environment)
        for daemon in daemons:
            daemon.terminate()
            daemon.wait(timeout=30)


def run(command: list[str], environment: dict[str, str]) -> str:
    everything = {**os.environ, **environment}
    done = subprocess.run(command, env=everything, capture_output=True, text=True, check=False, timeout=180)
    return done.stdout + done.stderr


def started(grid: Path, out: Path, environment: dict[str, str], *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "partlabel", "bench", str(grid), "--out", str(out), *more]
    everything = {**os.environ, **environment}
    return subprocess.Popen(command, env=everything, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def claimed(out: Path, process: "subprocess.Popen[str]") -> int:
    """The process that runs a cell, as soon as there is one."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        for path in out.glob("cells/*/.owner-*"):
            try:
                return int(json.loads(path.read_text())["pid"])
            except (OSError, ValueError):
                continue
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"nobody runs a cell: {process.communicate()}")


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("*.*") if path.name != "costs.md"}


@pytest.mark.slow
def test_slurm_runs_a_grid_through_ctrl_c_and_a_killed_job(
    slurm: dict[str, str], write_grid: Write, tmp_path: Path
) -> None:
    grid, out = write_grid(STARTED, ONE_RATE, ("seeds = [0, 1]", "seeds = [0]")), tmp_path / "out"
    options = ("--submit", "slurm", "--slurm", "partition=main,cpus_per_task=1", "--slurm", "time=10")
    first = started(grid, out, slurm, *options)
    claimed(out, first)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=180)[1]
    assert first.returncode == 130, said
    assert "--submit slurm --slurm partition=main,cpus_per_task=1,time=10" in said.splitlines()[-1]
    deadline = time.monotonic() + 30
    while run(["squeue", "--noheader"], slurm).strip():
        assert time.monotonic() < deadline
        time.sleep(0.2)

    second = started(grid, out, slurm, *options)
    os.kill(claimed(out, second), signal.SIGKILL)
    table, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert "its job ended without a result; Slurm's job " in said
    assert "1 job handed out, from squares / half / saliency, no CR / seed 0 on" in said
    assert table.strip() == (out / "table.md").read_text().strip()
    bench(grid, out=tmp_path / "alone")
    assert tables(out) == tables(tmp_path / "alone")
    assert list((out / "jobs").glob("*_log.err"))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_ray_runs_a_grid_by_two_workers_through_a_killed_task(write_grid: Write, tmp_path: Path) -> None:
    grid, out = write_grid(ONE_RATE, ("seeds = [0, 1]", "seeds = [0]")), tmp_path / "out"
    running = started(grid, out, {}, "--submit", "ray", "--ray", "num_cpus=1", "--jobs", "2")
    os.kill(claimed(out, running), signal.SIGKILL)
    table, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert "its job ended without a result; Ray says: " in said
    assert table.strip() == (out / "table.md").read_text().strip()
    bench(grid, out=tmp_path / "alone")
    assert tables(out) == tables(tmp_path / "alone")


def test_what_is_not_installed_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'partlabel\[slurm\]'"):
        Slurm(tmp_path, print, {})
    with pytest.raises(MissingDependencyError, match=r"pip install 'partlabel\[ray\]'"):
        Ray(print, {})


def test_without_slurm_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"no jobs can be handed to Slurm: .*srun"):
        Slurm(tmp_path, print, {"partition": "gpu"})


def test_options_are_names_and_values() -> None:
    assert options_of(["a=1,b=x", "c=0.5, d=e=f"]) == {"a": 1, "b": "x", "c": 0.5, "d": "e=f"}
    for wrong in ("a", "=1", "a=1,,b=2"):
        with pytest.raises(UsageError, match="is no option of a cluster; write NAME=VALUE"):
            options_of([wrong])
