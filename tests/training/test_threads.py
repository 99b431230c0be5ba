"""How many threads a run takes, and that it keeps them."""

import os
from pathlib import Path

import pytest
import torch

import partlabel
from partlabel.labels import LabelTable
from partlabel.progress import Silent
from partlabel.training.threads import cores_to_use, free_cores, free_threads, threads_for, threads_of_user

TINY = {"backbone": "test_resnet", "pretrained": False, "size": 32, "epochs": 1, "accelerator": "cpu"}


class Heard(Silent):
    def __init__(self) -> None:
        self.text = ""

    def say(self, text: str) -> None:
        self.text += text + "\n"


@pytest.mark.parametrize(("load", "free"), [(0.0, 8), (0.9, 8), (2.5, 6), (7.0, 1), (100.0, 1)])
def test_free_cores_are_those_that_nobody_uses(load: float, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 50.0, 50.0))
    assert free_cores() == free
    monkeypatch.setattr("partlabel.training.threads._quota", lambda: 2)
    assert free_cores() == max(1, 2 - int(load))


def test_the_users_word_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert threads_of_user() == cores_to_use() == threads_for(1) == threads_for(1e12) == 5
    for none in ("", "many", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", none)
        assert threads_of_user() is None
    assert threads_for(1) == 1
    assert threads_for(1e12) == free_cores()


def test_a_run_keeps_its_threads(
    color_images: tuple[Path, LabelTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, table = color_images
    monkeypatch.delenv("OMP_NUM_THREADS")
    before, heard = torch.get_num_threads(), Heard()
    run = partlabel.train(table, images=root, out=tmp_path / "run", freeze=True, report=False, reporter=heard, **TINY)
    assert run.info["threads"] == 1
    assert "training with 1 thread(s)" in heard.text
    assert torch.get_num_threads() == before
    run.update(status="training")
    (run.path / "model" / "model.json").unlink()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    again = partlabel.resume(run.path, report=False, reporter=heard)
    assert "the run began with 1 thread(s); with 2 the last bits of its weights may differ" in heard.text
    assert again.info["threads"] == 2


@pytest.mark.parametrize(("before", "cores", "inside"), [(4, 1, 1), (4, 3, 3), (2, 8, 2)])
def test_no_more_threads_than_free_cores(before: int, cores: int, inside: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partlabel.training.threads.cores_to_use", lambda: cores)
    earlier = torch.get_num_threads()
    torch.set_num_threads(before)
    try:
        with free_threads():
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(earlier)
