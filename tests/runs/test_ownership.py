import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pytest

from partlabel.errors import RunError
from partlabel.runs.ownership import OwnedError, owned

_CONTENDER = """
import sys, time
from pathlib import Path
from partlabel.runs.ownership import OwnedError, owned
while time.time() < float(sys.argv[2]):
    pass
try:
    with owned(Path(sys.argv[1])):
        time.sleep(float(sys.argv[3]))
        print("won")
except OwnedError as error:
    print(error)
"""


def contenders(folder, count, hold=1.0):
    """What processes say that ask for one folder at one moment."""
    start = str(time.time() + 1.0)
    command = [sys.executable, "-c", _CONTENDER, str(folder), start, str(hold)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return [process.communicate(timeout=60)[0] for process in running]


@pytest.mark.slow
def test_one_of_several_processes_gets_a_folder(tmp_path):
    said = contenders(tmp_path / "new", 3, hold=3.0)
    assert [text.strip() for text in said].count("won") == 1
    assert all("is in use by process" in text for text in said if text.strip() != "won")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.slow
def test_one_of_several_takes_over_from_a_dead_process(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    owner = {"host": socket.gethostname(), "pid": dead.pid, "since": "yesterday", "started": "1", "folder": "/"}
    (tmp_path / ".owner-3").write_text(json.dumps(owner))
    said = contenders(tmp_path, 3, hold=3.0)
    assert [text.strip() for text in said].count("won") == 1
    assert list(tmp_path.iterdir()) == []


def test_owner_is_named_and_leaves_nothing(tmp_path):
    with owned(tmp_path):
        (path,) = tmp_path.iterdir()
        owner = json.loads(path.read_text())
        said = rf"process {os.getpid()} on {owner['host']} since {owner['since'][:10]}"
        with pytest.raises(OwnedError, match=said), owned(tmp_path):
            pass
        assert path.exists()  # whoever was refused has not let the owner go
    assert list(tmp_path.iterdir()) == []
    with owned(tmp_path):
        pass


def test_number_given_to_another_process_later_is_no_owner(tmp_path):
    owner = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": "before",
        "started": "not when this one began",
        "folder": "/",
    }
    (tmp_path / ".owner-1").write_text(json.dumps(owner))
    with owned(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".owner-2"]


def test_process_on_another_host_is_believed(tmp_path):
    owner = {"host": "elsewhere", "pid": 1, "since": "2026-01-01 00:00:00", "started": "1", "folder": "/"}
    path = tmp_path / ".owner-1"
    path.write_text(json.dumps(owner))
    with pytest.raises(RunError, match=r"process 1 on elsewhere since 2026-01-01.*delete .*\.owner-1"), owned(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1, "pid": "x"}'])
def test_unreadable_owner_counts_only_while_it_may_be_being_written(tmp_path, text):
    path = tmp_path / ".owner-1"
    path.write_text(text)
    with pytest.raises(OwnedError, match="another process"), owned(tmp_path):
        pass
    os.utime(path, (1, 1))
    with owned(tmp_path):
        assert not path.exists()


def test_copy_of_a_folder_in_use_is_free(tmp_path):
    (tmp_path / "run").mkdir()
    with owned(tmp_path / "run"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        with owned(tmp_path / "copy"):
            assert [path.name for path in (tmp_path / "copy").iterdir()] == [".owner-2"]
        with pytest.raises(OwnedError), owned(tmp_path / "run"):
            pass
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(OwnedError), owned(tmp_path / "moved"):
            pass
        (tmp_path / "moved").rename(tmp_path / "run")
