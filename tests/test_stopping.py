"""Ctrl-C and SIGTERM on a real process: always a sentence and 130, never a traceback, never lost."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BEGIN = """
import sys, time
from partlabel import stopping
from partlabel.errors import Interrupted
stopping._PATIENCE = 0.5
def command(body):
    try:
        with stopping.stoppable_command():
            body()
    except stopping.Stop as stop:
        print(stop)
        sys.exit(130)
    except Interrupted as error:
        print("interrupted:", error)
        sys.exit(130)
def ready():
    print("ready", flush=True)
"""


def _sent(tmp_path: Path, body: str, *signals: tuple[int, float]) -> tuple[int, str]:
    """Exit code and text of a script that gets signals, each with the seconds to wait before it."""
    script = tmp_path / "script.py"
    script.write_text(BEGIN + body)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    with process.stdout as stream:
        assert stream.readline() == "ready\n"
        for number, wait in signals:
            time.sleep(wait)
            process.send_signal(number)
        text = stream.read()
    return process.wait(timeout=30), text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_at_once(number: int, tmp_path: Path) -> None:
    body = """
def body():
    with stopping.way_on("go on with: this"), stopping.way_on("inner"):
        try:
            ready()
            time.sleep(60)
        except Exception:
            print("swallowed")
command(body)
"""
    assert _sent(tmp_path, body, (number, 0.1)) == (130, "stopped; go on with: this\n")


def test_where_nobody_can_catch_it(tmp_path: Path) -> None:
    """Python drops what is raised in `__del__`; the process ends all the same, and without a traceback."""
    body = """
class Late:
    def __del__(self):
        ready()
        time.sleep(5)
def body():
    Late()
    time.sleep(60)
command(body)
"""
    assert _sent(tmp_path, body, (signal.SIGTERM, 0.1)) == (130, "partlabel: stopped at once\n")


STEPS = """
def body():
    with stopping.finishing_steps("too late") as asked:
        ready()
        for step in range(STEPS):
            time.sleep(0.1)
            if asked() and step > LOOK:
                raise Interrupted(f"step {step}")
command(body)
"""


def test_between_steps_one_request_waits_for_the_step(tmp_path: Path) -> None:
    body = STEPS.replace("STEPS", "100").replace("LOOK", "9")
    assert _sent(tmp_path, body, (signal.SIGTERM, 0.0), (signal.SIGTERM, 0.01)) == (130, "interrupted: step 10\n")


def test_a_second_request_ends_at_once(tmp_path: Path) -> None:
    body = STEPS.replace("STEPS", "600").replace("LOOK", "1000")
    assert _sent(tmp_path, body, (signal.SIGINT, 0.0), (signal.SIGINT, 0.6)) == (130, "partlabel: stopped at once\n")


def test_a_request_after_the_last_look_is_not_lost(tmp_path: Path) -> None:
    body = STEPS.replace("STEPS", "10").replace("LOOK", "1000")
    assert _sent(tmp_path, body, (signal.SIGINT, 0.0)) == (130, "interrupted: too late\n")
