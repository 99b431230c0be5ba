"""Writing files: whole or not at all, wherever they stand, with what the file system offers."""

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from partlabel.errors import StorageError
from partlabel.files import atomic_path, write_json, write_text


def fails(code: int, when: Callable[..., bool], real: Callable[..., None]) -> Callable[..., None]:
    """What a file system answers that does not offer a call."""

    def call(*arguments: object, **options: object) -> None:
        if when(*arguments):
            raise OSError(code, os.strerror(code))
        real(*arguments, **options)

    return call


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS])
def test_a_folder_that_cannot_be_synced_costs_nothing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_folder = lambda descriptor: stat.S_ISDIR(os.fstat(descriptor).st_mode)  # noqa: E731
    monkeypatch.setattr(os, "fsync", fails(code, of_folder, os.fsync))
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_file_that_cannot_be_synced_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("before")
    monkeypatch.setattr(os, "fsync", fails(errno.EIO, lambda descriptor: True, os.fsync))
    with pytest.raises(StorageError, match=r"cannot write .*a\.txt"):
        write_text(tmp_path / "a.txt", "after")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_permissions_that_cannot_be_set_cost_nothing(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "chmod", fails(code, lambda *arguments: True, os.chmod))
    monkeypatch.setattr(Path, "chmod", fails(code, lambda *arguments: True, Path.chmod))
    write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_replaced_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    path.chmod(mode)
    write_text(path, "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    while True:  # until the reader has opened its end
        try:
            write_json(pipe, {"a": 1})
            break
        except StorageError:
            continue
    reader.join(10)
    assert read == ['{\n  "a": 1\n}\n']
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_that_nobody_reads_is_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="nobody reads from this pipe"):
        write_text(tmp_path / "pipe", "lost")


def test_devices_are_written_to() -> None:
    write_text("/dev/null", "nothing")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(StorageError, match="no space left on the disk while writing /dev/full"):
        write_text("/dev/full", "too much")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_names_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    longest = "n" * 251 + ".csv"
    write_text(tmp_path / longest, "whole")
    assert (tmp_path / longest).read_text() == "whole"
    with pytest.raises(StorageError, match="File name too long"):
        write_text(tmp_path / f"n{longest}", "lost")
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_left_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(StorageError), atomic_path(tmp_path / "a.txt") as temporary:
        (temporary / "impossible").write_text("half")
    assert not list(tmp_path.iterdir())
    with pytest.raises(StorageError, match="Is a directory"):
        write_text(tmp_path, "")


def command(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    code = "from partlabel.cli import main; main()"
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code, *words],
        text=True,
        errors="replace",
        timeout=120,
        check=False,
        **{"capture_output": True, **options},
    )


def test_output_that_cannot_be_printed_is_a_sentence() -> None:
    with open("/dev/full", "w") as full:
        done = command("methods", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 8
    assert done.stderr == "partlabel: what was printed could not be written: No space left on device\n"


def test_names_that_a_terminal_cannot_show_or_would_obey(tmp_path: Path) -> None:
    name = "\x1b[31mr\u202eé"
    done = command("look", f"{name}.csv", env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"})
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
    labels = tmp_path / "labels.csv"
    labels.write_text("image,日本\na.jpg,1\nb.jpg,0\n", encoding="utf-8")
    done = command(
        "look", str(labels), "--codes", "1=present,0=absent", env={**os.environ, "PYTHONIOENCODING": "latin-1"}
    )
    assert "Traceback" not in done.stderr
    assert "\\u65e5\\u672c" in done.stdout


def test_a_reader_that_has_seen_enough_ends_the_command_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from partlabel.cli import main; main()", "methods"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=120)
    assert b"Traceback" not in said
    assert b"Exception ignored" not in said
