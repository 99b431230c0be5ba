"""Small pictures, tables and suggestions to review, and real servers to review them on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

CLASSES = ("sky", "sea", "boat")


@dataclass
class Served:
    """A real `partlabel review` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    port: int
    journal: Path
    seconds: float
    said: list[str] = field(default_factory=list)
    cookies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reader = Thread(target=self._listen, daemon=True)
        self._reader.start()

    @property
    def base(self) -> str:
        """Address without the token."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        """A browser, as it were, with the cookie; the token is used once, and its cookie shared."""
        if not self.cookies:
            answer = httpx.get(self.url)
            assert answer.status_code == 303, answer.text
            self.cookies = dict(answer.cookies)
        headers = {"Origin": self.base, **options.pop("headers", {})}
        return httpx.Client(base_url=self.base, cookies=self.cookies, headers=headers, timeout=60, **options)

    def kill(self) -> None:
        """As a power failure does."""
        self.process.kill()
        self.process.wait(10)

    def interrupt(self) -> str:
        """Ctrl-C; what it says then."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        self._reader.join(10)
        return "\n".join(self.said)

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._reader.join(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(line.rstrip("\n") for line in self.process.stderr)


Serve = Callable[..., Served]


def _option(name: str, value: Any) -> list[str]:
    option = "--" + name.replace("_", "-")
    return [option] if value is True else [] if value in (False, None) else [option, str(value)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(source: Path, images: Path | None, **options: Any) -> Served:
    port = options.pop("port", None) or _free_port()
    given = {"images": images, "port": port, "no_open": True, **options}
    words = [str(source), *(word for name, value in given.items() for word in _option(name, value))]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "partlabel", "review", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    url = process.stdout.readline().strip()
    if not url:
        _, said = process.communicate(timeout=20)
        pytest.fail(f"review did not start: {said}")
    journal = Path(options.get("journal") or f"{source}.verdicts.jsonl")
    return Served(process, url, port, journal, time.monotonic() - began)


@contextmanager
def _servers() -> Iterator[Serve]:
    running: list[Served] = []

    def start(source: Path, images: Path | None, **options: Any) -> Served:
        running.append(_start(source, images, **options))
        return running[-1]

    yield start
    for one in running:
        one.end()


@pytest.fixture
def served() -> Iterator[Serve]:
    """`served(source, images, **options)`: the command line with these options, as soon as it answers."""
    with _servers() as start:
        yield start


@pytest.fixture(scope="module")
def served_once() -> Iterator[Serve]:
    """`served` for servers that the tests of a file share."""
    with _servers() as start:
        yield start


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 small pictures, 00.png to 11.png, 64 × 48 pixels, each of a colour of its own."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(12):
        pixels = np.full((48, 64, 3), random.integers(0, 256, 3), np.uint8)
        pixels[number : number + 8, 8:40] = 255
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
    return root


def _write_suggestions(path: Path) -> Path:
    cells = [(image, column) for image in range(12) for column in range(3) if (image + column) % 3]
    lines = [
        f"{image:02d}.png,{CLASSES[column]},present,recovered,{0.99 - 0.005 * place:.6f},{4 - 0.1 * place:.6g},own"
        for place, (image, column) in enumerate(cells)
    ]
    path.write_text("\n".join(["image,class,state,source,probability,logit,rule", *lines]) + "\n")
    return path


@pytest.fixture
def suggestions(tmp_path: Path) -> Path:
    """A file as `recover` writes it, of 12 images and 3 classes, 24 lines, most probable first."""
    return _write_suggestions(tmp_path / "suggestions.csv")


@pytest.fixture(scope="module")
def shared_suggestions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`suggestions` for tests that share a server."""
    return _write_suggestions(tmp_path_factory.mktemp("shared") / "suggestions.csv")
