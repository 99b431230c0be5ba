"""`partlabel review` as a command: how it starts, ends and refuses, and what it imports."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partlabel import LabelTable, review
from partlabel.cli import main
from partlabel.errors import LabelError, UsageError

pytestmark = pytest.mark.slow  # servers of their own

Serve = Callable[..., Any]


def run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "partlabel", "review", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **more}, check=False)


def test_ctrl_c_ends_it_with_the_way_on(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    with server.client() as page:
        sent = [{"cell": cell, "verdict": "present"} for cell in (0, 1)]
        assert page.post("/api/verdicts", json={"client": "a", "verdicts": sent}).status_code == 200
    said = server.interrupt()
    assert server.process.returncode == 0
    assert "Traceback" not in said
    assert f"2 verdicts in {server.journal}" in said
    command = said.partition("make labels of them: ")[2].splitlines()[0]
    assert command == f"partlabel review {suggestions} --images {photos} --export reviewed.csv"
    done = run(suggestions, "--images", photos, "--export", suggestions.with_name("reviewed.csv"))
    assert done.returncode == 0, done.stderr
    assert "in all: +2 present, +0 absent in 2 classes" in done.stdout
    assert "00.png" in suggestions.with_name("reviewed.csv").read_text()


def test_the_command_that_exports_runs_as_printed(served: Serve, tmp_path: Path, photos: Path) -> None:
    table = tmp_path / "my labels.csv"
    table.write_text("image,sky,a b,note,part\n00.png,1,,x,train\n01.png,0,0,y,test\n")
    words = {"codes": "1=present,0=absent,=unknown", "where": "part=train", "ignore": "note", "classes": "sky,a b"}
    server = served(table, photos, **words)
    with server.client() as page:
        body = {"client": "a", "verdicts": [{"cell": 1, "verdict": "present"}]}
        assert page.post("/api/verdicts", json=body).status_code == 200
    command = shlex.split(server.interrupt().partition("make labels of them: ")[2].splitlines()[0])
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "a b: +1 present" in done.stdout


def test_sigterm_ends_it_as_well(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0


def test_it_goes_on_where_it_was(served: Serve, suggestions: Path, photos: Path) -> None:
    first = served(suggestions, photos, journal=suggestions.with_name("mine.jsonl"))
    with first.client() as page:
        body = {"client": "a", "verdicts": [{"cell": 0, "verdict": "present"}]}
        page.post("/api/verdicts", json=body)
    first.interrupt()
    second = served(suggestions, photos, journal=suggestions.with_name("mine.jsonl"))
    with second.client() as page:
        assert page.get("/api/session").json()["seq"] == 1
        body = {"client": "a", "verdicts": [{"cell": 0, "verdict": "none"}]}
        assert page.post("/api/verdicts", json=body).json()["accepted"][0]["verdict"] is None
    said = second.interrupt()
    assert "1 verdict already" in said
    assert "--journal" in said


def test_a_second_server_is_told_who_has_the_journal(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    done = run(suggestions, "--images", photos, "--no-open")
    assert done.returncode == 8
    assert f"process {server.process.pid}" in done.stderr
    assert "whose help (?) gives an address for another browser" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    server.kill()
    again = served(suggestions, photos)  # a lock does not outlive its process
    again.interrupt()


def test_a_port_in_use_is_a_sentence(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    done = run(suggestions, "--images", photos, "--journal", suggestions.with_name("x"), "--port", server.port)
    assert done.returncode == 8
    assert f"port {server.port}" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.csv", "--images", "{photos}"], "does not exist"),
        (["{suggestions}", "--images", "nowhere"], "nowhere"),
        (["{suggestions}"], "--images"),
        (["{suggestions}", "--images", "{photos}", "--run", "nowhere"], "nowhere is no folder"),
        (["{suggestions}", "--images", "{photos}", "--codes", "1=present"], "read without --codes"),
        (["{suggestions}", "--images", "{photos}", "--prefer", "table"], "--prefer is for --export"),
        (["{folder}/empty.txt", "--images", "{photos}"], "lists no class"),
        (["{folder}/classes.txt", "--images", "{folder}/bare"], "no picture below"),
        (["{folder}/twice.csv", "--images", "{photos}"], "listed twice"),
        (["{folder}/more.csv", "--images", "{photos}"], "probability 1.5 is not between"),
        (["{folder}/short.csv", "--images", "{photos}"], "line 2 has 2 cells"),
        (["{folder}/state.csv", "--images", "{photos}"], "state 'maybe'"),
        (["{folder}/none.csv", "--images", "{photos}"], "holds no suggestion"),
        (["{folder}/none.csv", "--images", "{photos}", "--table", "{folder}/table.csv"], "partlabel review TABLE"),
        (
            ["{folder}/missed.csv", "--images", "{photos}"],
            "nothing could be promised at precision 0.99 (too few known)",
        ),
        (["{suggestions}", "--images", "{photos}", "--journal", "{suggestions}"], "overwritten"),
    ],
)
def test_what_cannot_be_reviewed_says_why(
    suggestions: Path,
    photos: Path,
    tmp_path: Path,
    words: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bare").mkdir()
    header = "image,class,probability"
    for name, text in {
        "empty.txt": "\n \n",
        "classes.txt": "sky",
        "twice.csv": f"{header}\na.png,sky,0.5\na.png,sky,0.6\n",
        "more.csv": f"{header}\na.png,sky,1.5\n",
        "short.csv": f"{header}\na.png,sky\n",
        "state.csv": f"{header},state\na.png,sky,0.5,maybe\n",
        "none.csv": f"{header}\n",
        "missed.csv": f"{header}\n",
        "missed.csv.json": '{"kind": "promise", "target_precision": 0.99, "left_out": [{"why": "too few known"}]}',
        "table.csv": "image,class,state\n00.png,sea,present\n",
    }.items():
        (tmp_path / name).write_text(text)
    places = {"suggestions": suggestions, "photos": photos, "folder": tmp_path}
    monkeypatch.setattr(sys, "argv", ["partlabel", "review", *(word.format(**places) for word in words), "--no-open"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in {2, 3, 4}
    assert said in capsys.readouterr().err


def test_images_without_a_picture_are_counted_and_a_few_named(served: Serve, tmp_path: Path, photos: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(5):
        (root / f"broken {number}.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
        (root / f"good {number}.png").write_bytes((photos / "00.png").read_bytes())
    names = [f"{kind} {number}.png" for kind in ("good", "broken", "missing") for number in range(5)]
    source = tmp_path / "s.csv"
    source.write_text("image,class,probability\n" + "".join(f"{name},sky,0.9\n" for name in names))
    server = served(source, root)
    with server.client() as page:
        for number in range(len(names)):
            assert page.get(f"/thumb/{number}").status_code == 200
            assert page.get(f"/image/{number}").status_code == 200
    lines = [line for line in server.interrupt().splitlines() if ".png" in line]
    assert lines == [
        f"5 images not found below {root}, shown as crossed frames: 'missing 0.png', 'missing 1.png', 'missing 2.png', "
        "...",
        "5 images not readable, shown as crossed frames (`partlabel look` says why): 'broken 0.png', 'broken 1.png', "
        "'broken 2.png', ...",
    ]


def test_a_table_in_memory_wants_a_journal(photos: Path) -> None:
    with pytest.raises(UsageError, match="--journal"):
        review(LabelTable.from_cells(["00.png"], ["sky"], [], [], []), images=photos)


def test_names_that_no_journal_could_hold_are_refused_or_left_out(served: Serve, tmp_path: Path) -> None:
    table = LabelTable.from_cells(["\udcff.png"], ["sky"], [], [], [])
    with pytest.raises(LabelError, match="Unicode"):
        review(table, images=tmp_path, journal=tmp_path / "journal")
    (tmp_path / "pictures").mkdir()
    for name in (b"good.png", b"bad\xff.png"):
        Path(os.fsdecode(os.fsencode(tmp_path / "pictures") + b"/" + name)).touch()
    (tmp_path / "classes.txt").write_text("sky")
    server = served(tmp_path / "classes.txt", tmp_path / "pictures", who=os.fsdecode(b"J\xfcrgen"))
    with server.client() as page:
        session = page.get("/api/session").json()
        assert (session["images"], session["who"]) == (1, "J\\udcfcrgen")
        body = {"client": "a", "verdicts": [{"cell": 0, "verdict": "present"}]}
        assert page.post("/api/verdicts", json=body).status_code == 200
    assert "1 picture left out" in server.interrupt()
    again = served(tmp_path / "classes.txt", tmp_path / "pictures")
    assert "1 verdict already" in again.interrupt()


def test_the_browser_is_opened_with_the_address(served: Serve, suggestions: Path, photos: Path) -> None:
    opened = suggestions.with_name("opened")
    browser = suggestions.with_name("browser")
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    program = (
        "import os, sys, threading, time, webbrowser, signal\n"
        "webbrowser.register('ours', None, webbrowser.BackgroundBrowser(sys.argv[1]), preferred=True)\n"
        "from partlabel.reviewing.serving import open_in_browser\n"
        "open_in_browser('http://127.0.0.1:1/?token=x')\n"
        "time.sleep(1)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(browser)], check=True, timeout=30)
    assert opened.read_text() == "http://127.0.0.1:1/?token=x\n"


def test_torch_is_not_imported_before_a_map_is_asked_for(suggestions: Path, photos: Path) -> None:
    program = (
        "import sys\n"
        "from partlabel import review\n"
        "import os, signal\n"
        "def opened(address): os.kill(os.getpid(), signal.SIGINT)\n"
        "review(sys.argv[1], images=sys.argv[2], run=sys.argv[2], opened=opened)\n"
        "import json\n"
        "print(json.dumps([name for name in ('torch', 'timm', 'scipy', 'matplotlib') if name in sys.modules]))\n"
    )
    words = [sys.executable, "-c", program, str(suggestions), str(photos)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []
