import json
import os
import socket
import time
from pathlib import Path

import pytest

from partlabel.grids import claims
from partlabel.grids.claims import Checked, ClaimLost, Claims
from partlabel.progress import SILENT
from partlabel.runs.ownership import OwnedError, forget_other_hosts, is_ownership, owned


def owner_elsewhere(folder: Path) -> Path:
    owner = {"host": "elsewhere", "pid": 1, "since": "2026-01-01 00:00:00", "started": "1", "folder": "/"}
    path = folder / ".owner-1"
    path.write_text(json.dumps(owner))
    return path


@pytest.mark.parametrize("clock", [-1e6, 0.0, 1e6])
def test_an_owner_on_another_host_is_dead_after_a_silence_that_was_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    monkeypatch.setattr(claims, "SILENCE", 0.2)
    path, watcher = owner_elsewhere(tmp_path), Claims()
    for sign in range(3):  # signs of life by a clock that differs
        os.utime(path, (0, time.time() + clock + sign))
        with pytest.raises(OwnedError, match="process 1 on elsewhere"), watcher.claim(tmp_path):
            pass
        time.sleep(0.15)
    time.sleep(0.1)
    with watcher.claim(tmp_path):
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_who_has_a_claim_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with Claims().claim(tmp_path) as claim:
        before = claim.ownership.path.stat().st_mtime_ns
        deadline = time.monotonic() + 10
        while claim.ownership.path.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        claim.confirm()


def test_who_was_silent_too_long_loses_his_claim_and_leaves_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SILENCE", 0.2)
    monkeypatch.setattr(claims, "BEAT", 1000.0)
    here, other = socket.gethostname(), Claims()
    with Claims().claim(tmp_path) as claim:
        claim.check()
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(OwnedError, match=f"on {here} since"), other.claim(tmp_path):
            pass
        time.sleep(0.3)
        with other.claim(tmp_path) as taken:
            monkeypatch.setattr(socket, "gethostname", lambda: here)
            with pytest.raises(ClaimLost):
                claim.confirm()
            checked = Checked(SILENT, claim)
            with pytest.raises(ClaimLost):
                checked.say("a line")
            with checked.track("steps") as tick, pytest.raises(ClaimLost):
                tick(1, 2)
            taken.confirm()
            assert [path for path in tmp_path.iterdir() if is_ownership(path)] == [taken.ownership.path]


def test_the_end_of_a_lost_claim_leaves_the_file_of_another_owner(tmp_path: Path) -> None:
    with owned(tmp_path) as ownership:
        ownership.path.write_text(json.dumps({"token": "of somebody else"}))
    assert ownership.path.exists()


def test_whoever_has_the_cell_takes_its_run_from_other_hosts_only(tmp_path: Path) -> None:
    path = owner_elsewhere(tmp_path)
    forget_other_hosts(tmp_path)
    assert not path.exists()
    with owned(tmp_path) as ownership:
        forget_other_hosts(tmp_path)
        assert ownership.holds()
    forget_other_hosts(tmp_path / "nowhere")


def test_taking_turns_waits_and_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LOOK", 0.1)
    path, said = owner_elsewhere(tmp_path), []

    class Said:
        track = SILENT.track

        def say(self, text: str) -> None:
            said.append(text)
            path.unlink()

    with Claims().in_turn(tmp_path, "writes the tables", Said()):
        assert said == ["waiting while process 1 on elsewhere since 2026-01-01 00:00:00 writes the tables"]
        with pytest.raises(OwnedError, match="from within"):
            raise OwnedError("from within")
