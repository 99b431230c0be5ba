"""Kill commands at random moments, give them again, and compare the end with an undisturbed one.

    python benchmarks/kill.py 200            # kills; tests/resume/test_kills.py takes a handful

The real command is killed with SIGKILL, at times with its whole process group and at times alone, in which case its
workers have to end by themselves. What counts as wrong: a file that is not whole, a second call that refuses or ends
otherwise, a process that outlives its parent.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("red", "green", "blue")
TINY = (
    "--backbone test_resnet --from-scratch --epochs 3 --batch-size 8 --set size=32 --set accelerator=cpu "
    "--set checkpoint_every=1 --holdout 0.3 --quiet"
)
HIDE = "hide full.csv --codes 1=present,0=absent --set ratio=0.5"
GRID = """
seeds = [0]
[data.squares]
images = "images"
train = "train.csv"
test = "test.csv"
codes = "1=present,0=absent"
[masking.half]
name = "known_ratio"
ratio = 0.5
[settings]
backbone = "test_resnet"
pretrained = false
size = 32
epochs = 2
batch_size = 8
accelerator = "cpu"
holdout = 0.3
[method.bce]
lr = 0.003
"""


@dataclass
class Case:
    """A command, how to give it again after a kill, and what its end is compared by.

    Args:
        name: what is counted.
        first: the words of the command.
        again: the words of the command after a kill, from the folder it was killed in.
        end: a digest of what the command has to leave.
        seconds: how long it takes undisturbed.
        reference: the digest of an undisturbed call.
    """

    name: str
    first: str
    end: Callable[[Path], str]
    again: Callable[[Path], str] | None = None
    seconds: float = 0.0
    reference: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Run the kills and print the counts; exit code 1 if something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases to kill, by the beginnings of their names, with commas")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        wrong = kill_all(Path(scratch), arguments.kills, arguments.seed, tuple(arguments.only.split(",")))
    print("\n".join(wrong) or "nothing torn, same end")
    sys.exit(bool(wrong))


def kill_all(scratch: Path, kills: int, seed: int, only: tuple[str, ...] = ("",)) -> list[str]:
    """Make the data, take the reference of each case, and kill; returns what went wrong."""
    write_data(scratch)
    makes_a_run = only == ("",) or any("recover".startswith(name) for name in only)
    cases = [case for case in all_cases() if case.name.startswith(only) or (makes_a_run and case.name == "train")]
    for case in cases:
        folder = fresh(scratch, f"reference-{case.name}")
        started = time.monotonic()
        done = run(case.first, folder)
        case.seconds = time.monotonic() - started
        assert done.returncode == 0, f"{case.name}: {done.stderr}"
        case.reference = case.end(folder)
        if case.name == "train":
            shutil.copytree(folder / "run", scratch / "shared" / "run")
        print(f"{case.name}: {case.seconds:.1f} s undisturbed", flush=True)
    cases = [case for case in cases if case.name.startswith(only)]
    draw, wrong = random.Random(seed), list[str]()
    for number in range(kills):
        case = cases[number % len(cases)]
        fault = kill_once(case, fresh(scratch, f"{number}-{case.name}"), draw)
        if fault:
            wrong.append(f"kill {number}, {case.name}: {fault}")
            print(wrong[-1], flush=True)
        else:
            shutil.rmtree(scratch / f"{number}-{case.name}")
    for case in cases:
        print(f"{case.name}: {dict(case.outcomes)}", flush=True)
    return wrong


def kill_once(case: Case, folder: Path, draw: random.Random) -> str | None:
    """One kill and one more call; what went wrong, if anything."""
    alone = draw.random() < 0.5
    process = subprocess.Popen(
        words(case.first), cwd=folder, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    time.sleep(draw.uniform(0.2, 1.0) * case.seconds)
    (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
    ended = process.wait()
    case.outcomes["killed" if ended == -signal.SIGKILL else "had ended"] += 1
    if ended != -signal.SIGKILL:
        case.seconds *= 0.8  # the machine has become faster
    if left := still_there(process.pid):
        return f"processes {left} outlive the command"
    if fault := torn(folder):
        return fault
    if not still_whole(case, folder):
        done = run(case.again(folder) if case.again else case.first, folder)
        if done.returncode:
            return f"the second call ends with {done.returncode}: {done.stderr.strip()[-400:]}"
        case.outcomes["went on"] += 1
    if case.end(folder) != case.reference:
        return "the end is another"
    if leftovers := [str(path) for path in folder.rglob(".*.part*")]:
        case.outcomes["temporary files left"] += len(leftovers)
    return None


def still_whole(case: Case, folder: Path) -> bool:
    """Whether the command had finished before the kill."""
    try:
        return case.end(folder) == case.reference
    except (OSError, ValueError, KeyError):
        return False


def still_there(group: int) -> list[int]:
    """Processes of a group two seconds after its leader was killed; those that only wait to be reaped do not count."""
    deadline = time.monotonic() + 2
    while alive := [pid for pid, of_group, state in processes() if of_group == group and state != "Z"]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.05)
    return []


def processes() -> Iterator[tuple[int, int, str]]:
    """Process id, group and state of each process of this machine."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = path.read_text().split(" (", 1)
        except OSError:
            continue
        state, _, of_group = rest.rpartition(") ")[2].split()[:3]
        yield int(pid), int(of_group), state


def torn(folder: Path) -> str | None:
    """A file under its final name that is not whole."""
    for path in folder.rglob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            return f"{path} is torn: {error}"
    for path in folder.rglob("*.csv"):
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            return f"{path} is torn"
    return None


def all_cases() -> list[Case]:
    """Every command that writes."""
    train = f"train labels.csv --codes 1=present,-1=absent,=unknown --images images --out run {TINY}"
    return [
        Case("train", train, weights, resumed(train)),
        Case("train with workers", f"{train} --workers 2", weights, resumed(f"{train} --workers 2")),
        Case(
            "recover",
            "recover run labels.csv --codes 1=present,-1=absent,=unknown --images images --out found.csv --quiet",
            lambda folder: digest(folder / "found.csv"),
        ),
        Case(
            "hide",
            f"{HIDE} --out half.csv",
            lambda folder: digest(folder / "half.csv"),
        ),
        Case("merge", "merge half1.csv half2.csv --out whole.csv", lambda folder: digest(folder / "whole.csv")),
        Case("bench", "bench grid.toml --out out --quiet", scores),
    ]


def resumed(command: str) -> Callable[[Path], str]:
    """How to go on with a training."""
    return lambda folder: "train --resume run --quiet" if (folder / "run" / "run.json").is_file() else command


def weights(folder: Path) -> str:
    """Digest of a finished training."""
    if json.loads((folder / "run" / "run.json").read_text())["status"] != "done":
        raise ValueError("not finished")
    return digest(folder / "run" / "model" / "model.safetensors")


def scores(folder: Path) -> str:
    """The test results of a finished grid."""
    (cell,) = folder.glob("out/cells/*/cell.json")
    return json.dumps(json.loads(cell.read_text())["test"], sort_keys=True)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def words(command: str) -> list[str]:
    """A command as words; no word holds a space."""
    return [sys.executable, "-m", "partlabel", *command.split()]


def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A command to its end."""
    return subprocess.run(words(command), cwd=folder, capture_output=True, text=True, check=False, timeout=600)


def fresh(scratch: Path, name: str) -> Path:
    """A folder with the data, linked, and a finished run of its own."""
    folder = scratch / name
    folder.mkdir()
    for path in (scratch / "shared").iterdir():
        if path.name == "run":
            if "recover" in name:
                shutil.copytree(path, folder / "run")
        elif path.is_dir():
            (folder / path.name).symlink_to(path)
        else:
            shutil.copyfile(path, folder / path.name)
    return folder


def write_data(scratch: Path) -> None:
    """48 images of coloured squares; complete labels, and tables with gaps."""
    shared, draw = scratch / "shared", np.random.default_rng(0)
    (shared / "images").mkdir(parents=True)
    tables: dict[str, list[str]] = {name: [",".join(("image", *CLASSES))] for name in ("full", "labels")}
    for number in range(48):
        present, pixels = draw.random(3) < 0.5, draw.integers(0, 60, (32, 32, 3), dtype=np.uint8)
        for channel in np.flatnonzero(present):
            pixels[4:16, 4:16, channel] = 220
        name = f"{number:02d}.png"
        Image.fromarray(pixels).save(shared / "images" / name)
        states = ["1" if here else "-1" for here in present]
        tables["full"].append(",".join((name, *(state.replace("-1", "0") for state in states))))
        tables["labels"].append(",".join((name, *(state if draw.random() < 0.7 else "" for state in states))))
    tables["train"], tables["test"] = tables["full"][:33], tables["full"][:1] + tables["full"][33:]
    for name, lines in tables.items():
        (shared / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number in (1, 2):
        done = run(f"{HIDE} --seed {number} --out half{number}.csv", shared)
        assert done.returncode == 0, done.stderr
    (shared / "grid.toml").write_text(GRID, encoding="utf-8")


if __name__ == "__main__":
    main()
